"""What rests beside a project: its ledger, and the keys that encrypt, recognise and sign."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from audience_sync.errors import AudienceSyncError, StateError
from audience_sync.keys import STATE_KEYS
from audience_sync.ledger.ledger import Ledger
from audience_sync.settings import Settings
from audience_sync.signing import Signer

if TYPE_CHECKING:
    from audience_sync.membership.sealed import Keyring

_log = logging.getLogger(__name__)


def open_ledger(settings: Settings) -> Ledger:
    """The ledger, and the state folder around it, made where there are none."""
    folder = settings.state_folder
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            reason = error.strerror or "it is not a folder"
            raise StateError(
                f"the state folder {folder} cannot be made: {reason}; "
                "set AUDIENCE_SYNC_STATE_URL to a folder that can"
            ) from None
    return Ledger.open(settings.database_url.get_secret_value())


def keyring_and_fingerprint_key(settings: Settings) -> tuple[Keyring, bytes, bool]:
    """The state keys, the fingerprint key, and whether they were just made."""
    from audience_sync.membership.sealed import Keyring  # noqa: PLC0415 - keeps status light

    keys, made = settings.keys()
    watched = settings.watched_keys()
    origin = settings.keys_from(STATE_KEYS)

    def renewed() -> Keyring:
        state = watched.now().state
        return Keyring(state.current, state.keys, origin=origin)

    keyring = Keyring(keys.state.current, keys.state.keys, renewed, origin)
    return keyring, keys.fingerprint, made


def signer_and_made(settings: Settings) -> tuple[Signer | None, bool]:
    """What signs the transfer log, and whether its key was just made; none was given: None."""
    keys, made = settings.signing_keys()
    return (Signer(keys[0], keys[1:]) if keys else None), made


def sign_log(ledger: Ledger, signer: Callable[[], Signer]) -> None:
    """Sign what the transfer log holds by now; where that fails our own log says so.

    What was sent stays sent, so nothing ends for it.
    """
    if not ledger.unsigned():
        return
    try:
        ledger.make_checkpoints(signer())
    except AudienceSyncError as error:
        _log.error("%s", error)
