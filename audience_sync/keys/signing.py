"""The keys that sign the transfer log."""

from __future__ import annotations

import os
import re
from base64 import b64encode
from pathlib import Path

from pydantic import SecretStr

from audience_sync.errors import ConfigurationError
from audience_sync.keys import KEY_LENGTH, SIGNING_FILE, SIGNING_KEY
from audience_sync.keys.files import own_text, write_once
from audience_sync.keys.written import key_of, referred


def parse_signing_keys(written: SecretStr) -> tuple[bytes, ...]:
    """The signing keys that the environment gives; the first signs."""
    parts = re.split(r"[,\s]+", referred(written, SIGNING_KEY).strip(" ,\r\n\t"))
    return tuple(key_of(part, SIGNING_KEY) for part in parts)


def load_or_make_signing_keys(state_folder: Path) -> tuple[tuple[bytes, ...], bool]:
    """The signing keys beside the state, and whether one was made just now."""
    path = state_folder / SIGNING_FILE
    try:
        made = not path.exists() and write_once(path, _new_signing_key())
        text = own_text(path)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "is not text"
        raise ConfigurationError(
            f"the signing key {path} cannot be read or made: {reason}"
        ) from None
    found = re.findall(r"(?m)^signing_key=(\S*)$", text)
    if not found:
        raise ConfigurationError(
            f"{path} is damaged: it needs a line signing_key=; restore it from a backup"
        )
    return tuple(key_of(part, str(path)) for part in found), made


def _new_signing_key() -> str:
    key = b64encode(os.urandom(KEY_LENGTH)).decode()
    return (
        "# The key that signs the transfer log. Whoever has it can sign another history.\n"
        "# Keep this file secret, and keep a copy in another place. To change the key, write a\n"
        "# new line above this one, and leave this one: what it signed is still this project's.\n"
        f"signing_key={key}\n"
    )
