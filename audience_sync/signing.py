"""Signatures (Ed25519) under what others check later: checkpoints of the transfer log, bundles."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


@dataclass(frozen=True)
class Signer:
    """The project's signing key, and the public keys of those it had before. Prints no secret."""

    seed: bytes = field(repr=False)
    earlier: tuple[bytes, ...] = field(default=(), repr=False)

    @cached_property
    def public_key(self) -> str:
        """What others check a signature with, in base64."""
        return _public(_private(self.seed))

    @property
    def trusted(self) -> frozenset[str]:
        """The public keys whose signatures are this project's."""
        return frozenset({self.public_key, *(_public(_private(seed)) for seed in self.earlier)})

    def sign(self, message: bytes) -> str:
        """The signature in base64; the same message has the same one."""
        return b64encode(_private(self.seed).sign(message)).decode()


def is_signed(message: bytes, signature: str, public_key: str) -> bool:
    """Whether a signature is under just this message, and of just this key."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - keeps status light
    from cryptography.hazmat.primitives.asymmetric import (  # noqa: PLC0415 - the same
        ed25519,
    )

    try:
        key = ed25519.Ed25519PublicKey.from_public_bytes(_bytes_of(public_key))
        key.verify(_bytes_of(signature), message)
    except (InvalidSignature, binascii.Error, ValueError, TypeError):
        return False
    return True


def _bytes_of(text: str) -> bytes:
    """Base64 in its one usual writing: another text for the same bytes is no signature of ours."""
    found = b64decode(text, validate=True)
    if b64encode(found).decode() != text:
        raise ValueError("another writing of the same bytes")
    return found


def _private(seed: bytes) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric import (  # noqa: PLC0415 - keeps status light
        ed25519,
    )

    return ed25519.Ed25519PrivateKey.from_private_bytes(seed)


def _public(key: Ed25519PrivateKey) -> str:
    return b64encode(key.public_key().public_bytes_raw()).decode()
