"""Keys as people write them: in variables, or in files that these name."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from pathlib import Path

from pydantic import SecretStr

from audience_sync.errors import ConfigurationError
from audience_sync.keys import (
    FINGERPRINT_KEY,
    KEY_LENGTH,
    KEY_NAME,
    REMEDY,
    STATE_KEYS,
    Keys,
    StateKeys,
)


def parse_keys(state_keys: SecretStr, fingerprint_key: SecretStr | None) -> Keys:
    """The keys that the environment gives; errors name the variable, never what is in it."""
    if fingerprint_key is None:
        raise ConfigurationError(
            f"{STATE_KEYS} is set without {FINGERPRINT_KEY}; set both, {REMEDY}"
        )
    written = referred(state_keys, STATE_KEYS)
    fingerprint = referred(fingerprint_key, FINGERPRINT_KEY)
    return keys_of(written, STATE_KEYS, fingerprint, FINGERPRINT_KEY)


def referred_file(secret: SecretStr | None) -> Path | None:
    """The file that a variable names, if it names one."""
    text = "" if secret is None else secret.get_secret_value().strip()
    if not text.startswith("file:"):
        return None
    return Path(text.removeprefix("file:").removeprefix("//")).expanduser()


def referred(secret: SecretStr, variable: str) -> str:
    """What a variable holds, or the file that it names."""
    path = referred_file(secret)
    if path is None:
        return secret.get_secret_value().strip()
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise ConfigurationError(f"{variable}: {path} cannot be read: {reason}") from None


def keys_of(state: str, where: str, fingerprint: str, where_fingerprint: str) -> Keys:
    """The keys that two texts hold; errors say where each text stands."""
    parts = [part for part in re.split(r"[,\s]+", fingerprint) if part] or [""]
    current, *older = (key_of(part, where_fingerprint) for part in parts)
    if current in older:
        raise ConfigurationError(f"{where_fingerprint}: one key stands there twice; take one out")
    return Keys(_state_keys(state, where), current, tuple(older))


def _state_keys(written: str, where: str) -> StateKeys:
    keys: dict[str, bytes] = {}
    for part in re.split(r"[,\s]+", written.strip(" ,\r\n\t")):
        name, colon, text = part.partition(":")
        if not colon or not KEY_NAME.fullmatch(name):
            raise ConfigurationError(
                f"{where}: write name:base64-of-32-bytes, several with commas between; {REMEDY}"
            )
        if name in keys:
            raise ConfigurationError(f"{where}: two keys have the same name; rename the newer one")
        keys[name] = key_of(text, where)
    return StateKeys(next(iter(keys)), keys)


def key_of(text: str, where: str) -> bytes:
    """A key from its base64; an error says where it stands."""
    try:
        key = b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_LENGTH:
        raise ConfigurationError(f"{where}: a key is base64 of 32 bytes; {REMEDY}")
    return key
