"""What a checkpoint says, in the very bytes that are signed."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any

from audience_sync.ledger.chain import canonical
from audience_sync.ledger.records.log import Checkpoint
from audience_sync.signing import Signer, is_signed

ABOUT = "audience-sync transfer log, checkpoint, version 1"
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
_UNSIGNED = ("salt", "signature")
STATED = ("about", *(f.name for f in fields(Checkpoint) if f.name not in _UNSIGNED))
_TYPES = {
    f.name: int if f.name in ("number", "first", "sequence", "purged_through") else str
    for f in fields(Checkpoint)
}


def statement(checkpoint: Checkpoint) -> dict[str, Any]:
    """What is signed. The head is hidden by the salt: with it one could guess the last line."""
    stated = {n: v for n, v in asdict(checkpoint).items() if n not in _UNSIGNED}
    salt, head = bytes.fromhex(checkpoint.salt), checkpoint.head.encode()
    stated |= {"about": ABOUT, "head": hmac.digest(salt, head, "sha256").hex()}
    return stated


def sign(checkpoint: dict[str, Any], signer: Signer) -> Checkpoint:
    """The checkpoint with the signature under what it says."""
    unsigned = Checkpoint(**checkpoint, public_key=signer.public_key, signature="")
    return Checkpoint(
        **checkpoint,
        public_key=signer.public_key,
        signature=signer.sign(canonical(statement(unsigned))),
    )


def is_sound(stated: Mapping[str, Any], signature: str) -> bool:
    """Whether a statement is signed with the key that it names."""
    try:
        return is_signed(canonical(stated), signature, stated["public_key"])
    except (KeyError, TypeError):
        return False


def digest(stated: Mapping[str, Any]) -> str:
    """What the next checkpoint names as its previous one."""
    return hashlib.sha256(canonical(stated)).hexdigest()


def read_checkpoint(written: object) -> Checkpoint | None:
    """A checkpoint as it stands in a file; None where it is not one."""
    if not isinstance(written, dict) or written.keys() != _TYPES.keys():
        return None
    if any(type(written[name]) is not kind for name, kind in _TYPES.items()):
        return None
    try:
        at = datetime.strptime(written["at"], _TIME).replace(tzinfo=UTC)
        bytes.fromhex(written["salt"])
    except ValueError:
        return None
    return Checkpoint(**(written | {"at": at}))
