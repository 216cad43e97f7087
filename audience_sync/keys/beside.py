"""The keys beside the state: made once, replaced whole."""

from __future__ import annotations

import re
from base64 import b64encode
from pathlib import Path

from audience_sync.errors import ConfigurationError
from audience_sync.keys import (
    FINGERPRINT_KEY,
    KEY_FILE,
    STATE_KEYS,
    STATE_MARKS,
    Keys,
    StateKeys,
    new_key,
)
from audience_sync.keys.files import own_text, replace, write_once
from audience_sync.keys.written import keys_of

_FIRST_NAME = "first"


def load_or_make_keys(state_folder: Path) -> tuple[Keys, bool]:
    """The keys beside the state, and whether they were made just now.

    Several processes may begin at once: one of them makes the file, all read the same keys. A state
    that was written with keys asks for those instead of getting new ones.
    """
    path = state_folder / KEY_FILE
    try:
        known = (state_folder / STATE_MARKS).exists()  # before the file: it comes after its keys
        if known and not path.exists():
            raise ConfigurationError(
                f"{path} is missing, and this state cannot be read without it; put it back from a "
                f"backup, or set {STATE_KEYS} and {FINGERPRINT_KEY} as they were"
            )
        made = not path.exists() and _make(path)
        text = own_text(path)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "is not text"
        raise ConfigurationError(f"the keys {path} cannot be read or made: {reason}") from None
    lines = dict(re.findall(r"(?m)^(state_keys|fingerprint_key)=(\S*)$", text))
    if len(lines) != 2:  # noqa: PLR2004 - the two lines just named
        raise ConfigurationError(
            f"{path} is damaged: it needs a line state_keys= and a line fingerprint_key=; "
            "restore it from a backup, the state cannot be read without it"
        )
    where = str(path)
    return keys_of(lines["state_keys"], where, lines["fingerprint_key"], where), made


def keep_keys(state_folder: Path, keys: Keys, before: Keys) -> None:
    """Replace the keys beside the state, whole; refused where they are not as they were `before`.

    Processes that run notice by themselves, see `Watched`.
    """
    path = state_folder / KEY_FILE
    if load_or_make_keys(state_folder)[0] != before:
        raise ConfigurationError(f"{path} was changed by another command meanwhile; run again")
    replace(path, _text_of(keys))


def _make(path: Path) -> bool:
    """Write new keys whole or not at all; false when another process was first."""
    return write_once(
        path, _text_of(Keys(StateKeys(_FIRST_NAME, {_FIRST_NAME: new_key()}), new_key()))
    )


def _text_of(keys: Keys) -> str:
    current = keys.state.current
    ordered = [current, *(name for name in keys.state.keys if name != current)]
    state = ",".join(f"{name}:{b64encode(keys.state.keys[name]).decode()}" for name in ordered)
    fingerprint = ",".join(b64encode(key).decode() for key in (keys.fingerprint, *keys.older))
    return (
        "# Keys of the state in this folder. Whoever has them can read it; "
        "without them nobody can.\n"
        "# Keep this file secret, and keep a copy in another place.\n"
        f"state_keys={state}\n"
        f"fingerprint_key={fingerprint}\n"
    )
