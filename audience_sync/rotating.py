"""New keys for the state without a stop: made, used, and taken out once nothing needs them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from audience_sync.checking import (
    fingerprint_mark,
    key_known_since,
    know_fingerprint_key,
    know_state_keys,
    order_key,
    state_mark,
)
from audience_sync.errors import ConfigurationError
from audience_sync.holder import alive, this_process
from audience_sync.keys import KEY_FILE, Keys, StateKeys, new_key, with_new_key
from audience_sync.keys.beside import keep_keys
from audience_sync.ledger.ledger import Ledger
from audience_sync.membership.location import StateLocation
from audience_sync.membership.sealed import Keyring
from audience_sync.runs.progress import Progress
from audience_sync.runs.rekey import Rekeyed, keys_in_use, rekey
from audience_sync.settings import Settings

_MARK = 8  # characters of a fingerprint key's mark that name it
_FROM_OUTSIDE = (
    "the keys come from the environment: {}, start the workers anew, and run "
    "`audience-sync keys rotate` to write the files anew"
)


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """The keys of one project's state, and what is done with them. Shows names, never keys."""

    settings: Settings
    ledger: Ledger
    location: StateLocation
    keyring: Keyring
    progress: Progress

    def state_keys(self) -> Rekeyed:
        """Make a new state key and write all files anew under it.

        Where some still need an older one, no further key is made: what was begun is finished.
        """
        self._know()
        used = keys_in_use(self.location)
        current = self.keyring.now().current
        if not used.keys() - {current}:
            self._make_state_key()
        advance = self.progress.stage("Writing the state anew", sum(used.values()))
        return rekey(
            self.ledger, self.location, self.keyring, this_process(), alive=alive, advance=advance
        )

    def fingerprint_key(self) -> None:
        """Make a new fingerprint key; what the older ones made stays recognised."""
        folder = self._own("put a new key first in AUDIENCE_SYNC_FINGERPRINT_KEY")
        keys = self.settings.keys()[0]
        # Noted before the new key is: orders go on by the one that they were reported under.
        order_key(self.ledger, self.location, _fingerprints(keys), keep=True)
        older = (keys.fingerprint, *keys.older)
        made = replace(keys, fingerprint=new_key(), older=older)
        keep_keys(folder, made, keys)
        know_fingerprint_key(self.location, _fingerprints(made), keep=True)

    def drop(self, name: str, *, destroy: bool) -> None:
        """Take an older key out of the key file.

        Without `destroy` it is refused while a file, or the orders that were reported, need it.
        """
        folder = self._own(f"take {name} out of its variable")
        keys = self.settings.keys()[0]
        if name in keys.state.keys:
            self._refuse_needed(keys, name, destroy=destroy)
            left = {one: key for one, key in keys.state.keys.items() if one != name}
            keep_keys(folder, replace(keys, state=StateKeys(keys.state.current, left)), keys)
            return
        gone = next((key for key in keys.older if fingerprint_name(key) == name), None)
        if gone is None:
            raise ConfigurationError(
                f"there is no older key {name}; `audience-sync keys show` names them"
            )
        if order_key(self.ledger, self.location, _fingerprints(keys), keep=True) == gone:
            raise ConfigurationError(
                f"reported orders are known by {name}, and without it each would be counted "
                "twice; it can go once the last of them is out of the window of `orders:`"
            )
        keep_keys(folder, replace(keys, older=tuple(k for k in keys.older if k != gone)), keys)

    def _refuse_needed(self, keys: Keys, name: str, *, destroy: bool) -> None:
        if name == keys.state.current:
            raise ConfigurationError(
                f"{name} is the current key; `audience-sync keys rotate` makes another one first"
            )
        files = keys_in_use(self.location)[name]
        if files and not destroy:
            raise ConfigurationError(
                f"{files:,} files still need the key {name}; `audience-sync keys rotate` writes "
                "them anew, and --destroy makes them unreadable for ever"
            )

    def _make_state_key(self) -> None:
        folder = self._own("put a new one first in AUDIENCE_SYNC_STATE_KEYS")
        keys = self.settings.keys()[0]
        name = f"{datetime.now(UTC):%Y-%m-%d}"
        if name in keys.state.keys:
            name += f"-{os.urandom(2).hex()}"
        keep_keys(folder, replace(keys, state=with_new_key(keys.state, name)), keys)
        self._know()

    def _know(self) -> None:
        """Refuse keys that are not this state's, and note the current one."""
        know_state_keys(self.ledger, self.location, self.keyring.now(), keep=True)

    def _own(self, instead: str) -> Path:
        folder = self.settings.own_keys
        if folder is None:
            raise ConfigurationError(_FROM_OUTSIDE.format(instead))
        return folder

    def shown(self) -> Mapping[str, Any]:
        """Every key by name: what it does, since when the state knows it, the files it is for."""
        keys = self.settings.keys()[0]
        used = keys_in_use(self.location)
        listed = [*self._state(keys, used), *self._fingerprint(keys)]
        return {"keys": listed, "advice": list(self._advice(keys, used))}

    def _state(self, keys: Keys, used: Mapping[str, int]) -> Iterator[Mapping[str, Any]]:
        for name, key in keys.state.keys.items():
            current = name == keys.state.current
            yield {
                "name": name,
                "use": "encrypts" if current else "decrypts only",
                "since": key_known_since(self.location, state_mark(name, key)),
                "files": used.get(name, 0),
            }
        for name in sorted(used.keys() - keys.state.keys.keys()):
            yield {"name": name, "use": "is missing", "since": None, "files": used[name]}

    def _fingerprint(self, keys: Keys) -> Iterator[Mapping[str, Any]]:
        orders = order_key(self.ledger, self.location, _fingerprints(keys), keep=False)
        reported = self.ledger.any_reported()
        for key in _fingerprints(keys):
            use = "makes fingerprints" if key == keys.fingerprint else "recognises its own"
            yield {
                "name": fingerprint_name(key),
                "use": use + (", reported orders too" if reported and key == orders else ""),
                "since": key_known_since(self.location, fingerprint_mark(key)),
                "files": None,
            }

    def _advice(self, keys: Keys, used: Mapping[str, int]) -> Iterator[str]:
        for name in keys.state.keys:
            if name == keys.state.current:
                continue
            if used.get(name):
                yield f"{name} is still needed; `audience-sync keys rotate` writes its files anew."
            elif self.settings.own_keys is not None:
                yield f"Nothing needs {name}; `audience-sync keys drop {name}` takes it out."
            else:
                yield f"Nothing needs {name}; take it out of AUDIENCE_SYNC_STATE_KEYS."
        if len(keys.state.keys) > 1 or keys.older:
            where = self.settings.own_keys
            if where is not None:
                yield f"Keep a copy of {where / KEY_FILE}, and destroy the older copies."


def fingerprint_name(key: bytes) -> str:
    """What a fingerprint key, which has no name of its own, is called."""
    return f"fingerprint-{fingerprint_mark(key)[:_MARK]}"


def _fingerprints(keys: Keys) -> tuple[bytes, ...]:
    return keys.fingerprint, *keys.older
