"""`/users`: one schema a request, lists of one hash each, and a count for an answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from audience_sync.sandbox.faults import Fault
from audience_sync.sandbox.membership import Column
from audience_sync.sandbox.snapchat.errors import only, wrong

MOST = 100_000  # identifiers a request
HASH_LENGTH = 64
HASH_OF_NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
KINDS = {"EMAIL_SHA256": "email", "PHONE_SHA256": "phone", "MOBILE_AD_ID_SHA256": "device"}

_HEX = b"0123456789abcdef"


@dataclass(frozen=True, slots=True)
class Upload:
    """The hashes of a request that are taken, and how many it had."""

    columns: dict[str, Column] = field(repr=False)
    taken: int
    received: int


def read(wanted: Any, segment: str, fault: Fault | None) -> Upload:
    """What a request changes, or the refusal of the whole."""
    users = only(wanted, "users").get("users")
    if not isinstance(users, list) or len(users) != 1:
        raise wrong("users must hold one object")
    user = only(users[0], "id", "schema", "data")
    if user.get("id", segment) != segment:
        raise wrong("id does not match the path")
    schema, rows = user.get("schema"), user.get("data")
    if not isinstance(schema, list) or len(schema) != 1 or schema[0] not in KINDS:
        raise wrong("schema must hold exactly one known type")
    if not isinstance(rows, list) or not rows:
        raise wrong("data must hold rows")
    if len(rows) > MOST:
        raise wrong(f"data must hold at most {MOST} rows")
    if set(map(type, rows)) != {list} or set(map(len, rows)) != {1}:
        raise wrong("Each row of data must hold one value")
    values = [row[0] for row in rows]
    if not _hashed(values):
        raise wrong("data must be lower-case SHA-256 in hex")
    kept = _kept(values, fault)
    return Upload({KINDS[schema[0]]: Column(kept, range(len(kept)))}, len(kept), len(values))


def _hashed(values: list[Any]) -> bool:
    if set(map(type, values)) != {str} or set(map(len, values)) != {HASH_LENGTH}:
        return False
    joined = "".join(values)
    lower = joined.isascii() and not joined.encode().translate(None, _HEX)
    return lower and HASH_OF_NOTHING not in values


def _kept(values: list[str], fault: Fault | None) -> list[str]:
    """The values that a fault lets through; Snapchat tells of the others by its count alone."""
    if fault is None:
        return values
    bad = set(fault.values) if fault.kind == "reject-values" else set()
    rejected = set(fault.rejected(len(values)))
    return [value for at, value in enumerate(values) if at not in rejected and value not in bad]
