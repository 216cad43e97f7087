"""The keys of the state: those that encrypt it, and the one that makes fingerprints.

They come from the environment, or from a file beside the state that only its owner may read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from audience_sync.errors import ConfigurationError

STATE_KEYS = "AUDIENCE_SYNC_STATE_KEYS"
FINGERPRINT_KEY = "AUDIENCE_SYNC_FINGERPRINT_KEY"
SIGNING_KEY = "AUDIENCE_SYNC_SIGNING_KEY"
KEY_FILE = "state.key"
SIGNING_FILE = "signing.key"
STATE_MARKS = "state-keys"  # in the state: which keys it knows, by name and fingerprint

KEY_LENGTH = 32  # bytes, for AES-256 and HMAC-SHA-256
KEY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
REMEDY = "make a key with `openssl rand -base64 32`"


@dataclass(frozen=True, slots=True)
class StateKeys:
    """State keys by name: `current` encrypts, all of them decrypt. Never prints a key."""

    current: str
    keys: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Keys:
    """All that must be kept secret and backed up; never prints a key.

    `fingerprint` makes fingerprints; what the `older` ones made, newest first, is recognised.
    """

    state: StateKeys
    fingerprint: bytes = field(repr=False)
    older: tuple[bytes, ...] = field(default=(), repr=False)


def new_key() -> bytes:
    """A new key of either sort."""
    return os.urandom(KEY_LENGTH)


def with_new_key(keys: StateKeys, name: str) -> StateKeys:
    """The same keys with a new one of this name, which encrypts from now on."""
    if not KEY_NAME.fullmatch(name) or name in keys.keys:
        raise ConfigurationError(
            f"{name!r} cannot name a new state key; choose letters and digits that no key has"
        )
    return StateKeys(name, {name: new_key(), **keys.keys})
