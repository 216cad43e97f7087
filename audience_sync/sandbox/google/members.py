"""Which members of a request Google takes: with hashes it is all of them or none.

The common shape of a member is read in a few passes of native code, others member by member.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, compress, repeat
from operator import itemgetter
from typing import Any

from audience_sync.sandbox.google import fields
from audience_sync.sandbox.google.errors import missing, wrong, wrong_fields
from audience_sync.sandbox.membership import Column, Columns

MAXIMUM_MEMBERS = 10_000
MAXIMUM_IDENTIFIERS = 10
HEX_LENGTH, BASE64_LENGTH = 64, 44
HASH_OF_NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
SHAPES = {
    "compositeData": "CONTACT_ID",
    "userData": "CONTACT_ID",
    "mobileData": "MOBILE_ID",
    "userIdData": "USER_ID",
    "pairData": "PAIR_ID",
    "ppidData": "PSEUDONYMOUS_ID",
}
HASHED_SHAPES = ("compositeData", "userData")
KINDS = {"emailAddress": "email", "phoneNumber": "phone"}
_ADDRESS = ("givenName", "familyName", "regionCode", "postalCode")
_PATHS = {
    "compositeData": ("compositeData", "userData", "userIdentifiers"),
    "userData": ("userData", "userIdentifiers"),
}
_FIELDS = {
    "compositeData": "composite_data.user_data.user_identifiers",
    "userData": "user_data.user_identifiers",
    "mobileData": "mobile_data.mobile_ids",
    "userIdData": "user_id_data.user_id",
}
_HEX = b"0123456789abcdefABCDEF"
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
Violation = tuple[str, str, str | None]


@dataclass(slots=True)
class Batch:
    """The members of a request, flat: `columns` by kind, and what single members said."""

    shape: str
    rows: int
    columns: Columns = field(repr=False)
    consents: dict[int, dict[str, str]] = field(default_factory=dict, repr=False)
    references: dict[int, list[str]] = field(default_factory=dict, repr=False)

    def without(self, rows: set[int]) -> Columns:
        """The identifiers of the members outside these rows."""
        if not rows:
            return self.columns
        return {kind: _skip(column, rows) for kind, column in self.columns.items()}


def path(row: int, shape: str) -> str:
    """Where a member stands in Google's odd, doubled notation."""
    return f"audience_members.audience_members[{row}].{_FIELDS.get(shape, shape)}"


def read(request: dict[str, Any]) -> Batch:
    """The members of a request, or the refusal of the whole request."""
    members = request.get("audienceMembers")
    if not members:
        raise missing("audience_members")
    if not isinstance(members, list):
        fields.check(members, [fields.MEMBER], "audience_members")
    if len(members) > MAXIMUM_MEMBERS:
        raise wrong(
            "TOO_MANY_AUDIENCE_MEMBERS", "audience_members", f"At most {MAXIMUM_MEMBERS} members."
        )
    batch = _read_fast(members) or _read_each(members)
    if batch.shape in HASHED_SHAPES:
        _check_hashes(batch, _encoding(request))
    return batch


def _encoding(request: dict[str, Any]) -> str:
    encoding = request.get("encoding", "ENCODING_UNSPECIFIED")
    if encoding == "ENCODING_UNSPECIFIED":
        raise missing("encoding")
    if encoding not in ("HEX", "BASE64"):
        raise wrong("INVALID_ENUM_VALUE", "encoding", "The encoding is unknown.")
    return str(encoding)


def _read_fast(members: list[Any]) -> Batch | None:
    """The batch when every member is nothing but e-mail addresses and phone numbers."""
    for shape, names in _PATHS.items():
        inner: list[Any] = members
        for name in names:
            if set(map(type, inner)) != {dict} or set(map(len, inner)) != {1}:
                return None
            if name not in inner[0]:
                break
            try:
                inner = list(map(itemgetter(name), inner))
            except KeyError:
                return None
        else:
            return _flatten(shape, inner)
    return None


def _flatten(shape: str, inner: list[Any]) -> Batch | None:
    if set(map(type, inner)) != {list}:
        return None
    lengths = list(map(len, inner))
    found = list(chain.from_iterable(inner))
    if min(lengths) < 1 or max(lengths) > MAXIMUM_IDENTIFIERS or set(map(type, found)) != {dict}:
        return None
    if set(map(len, found)) != {1}:
        return None
    names, values = zip(*chain.from_iterable(map(dict.items, found)), strict=True)
    if not set(names) <= set(KINDS) or set(map(type, values)) != {str}:
        return None
    count = len(inner)
    rows: Sequence[int] = range(count)
    if max(lengths) > 1:
        rows = list(chain.from_iterable(map(repeat, range(count), lengths)))
    columns = {}
    for name, kind in KINDS.items():
        chosen = list(map(name.__eq__, names))
        if any(chosen):
            columns[kind] = Column(list(compress(values, chosen)), list(compress(rows, chosen)))
    return Batch(shape, count, columns)


def _read_each(members: list[Any]) -> Batch:
    fields.check(members, [fields.MEMBER], "audience_members")
    shapes = {shape for member in members for shape in SHAPES if shape in member}
    if len(shapes) > 1:
        text = "All members must be of one kind."
        raise wrong("MULTIPLE_DATA_TYPES_NOT_ALLOWED", "audience_members", text)
    shape = next(iter(shapes), "compositeData")
    found: dict[str, tuple[list[str], list[int]]] = {}
    violations: list[Violation] = []
    batch = Batch(shape, len(members), {})
    for row, member in enumerate(members):
        found_here, trouble = cells(shape, member)
        if trouble is not None:
            violations.append((path(row, shape), trouble[1], trouble[0]))
        for kind, value in found_here:
            values, rows = found.setdefault(kind, ([], []))
            values.append(value)
            rows.append(row)
        if "consent" in member:
            batch.consents[row] = member["consent"]
        if member.get("destinationReferences"):
            batch.references[row] = member["destinationReferences"]
    if violations:
        raise wrong_fields(violations)
    batch.columns = {kind: Column(*pair) for kind, pair in found.items()}
    return batch


def cells(
    shape: str, member: dict[str, Any]
) -> tuple[list[tuple[str, str]], tuple[str, str] | None]:
    """The identifiers of a member as (kind, value), and what is wrong with it, if anything."""
    if shape == "mobileData":
        values = member.get(shape, {}).get("mobileIds", [])
        return [("device", value) for value in values], _count_trouble(values)
    if shape == "userIdData":
        value = member.get(shape, {}).get("userId")
        return ([("external_id", value)], None) if value else ([], _NOTHING)
    if shape in HASHED_SHAPES:
        inner = member.get(shape, {})
        inner = inner.get("userData", {}) if shape == "compositeData" else inner
        return _contact(inner.get("userIdentifiers", []))
    return [], ("INVALID_AUDIENCE_MEMBER", "The sandbox does not know this kind of member.")


_NOTHING = ("NO_IDENTIFIERS_PROVIDED", "The member has no identifier.")


def _count_trouble(values: Sequence[Any]) -> tuple[str, str] | None:
    if not values:
        return _NOTHING
    if len(values) > MAXIMUM_IDENTIFIERS:
        return "TOO_MANY_USER_IDENTIFIERS", f"At most {MAXIMUM_IDENTIFIERS} identifiers."
    return None


def _contact(
    identifiers: list[dict[str, Any]],
) -> tuple[list[tuple[str, str]], tuple[str, str] | None]:
    found: list[tuple[str, str]] = []
    for identifier in identifiers:
        if len(identifier) != 1:
            return [], ("INVALID_AUDIENCE_MEMBER", "An identifier is exactly one of its kinds.")
        name, value = next(iter(identifier.items()))
        if name != "address":
            found.append((KINDS[name], value))
            continue
        if any(not value.get(part) for part in _ADDRESS):
            return [], ("REQUIRED_FIELD_MISSING", "An address needs all of its four parts.")
        if not re.fullmatch("[A-Za-z]{2}", value["regionCode"]):
            return [], ("INVALID_REGION_CODE", "The region code is not ISO 3166-1 alpha-2.")
        found.append(("address", "|".join(value[part] for part in _ADDRESS)))
    return found, _count_trouble(identifiers)


def _check_hashes(batch: Batch, encoding: str) -> None:
    """Refuse the request when any hash is wrong; write all of them in lower-case hex."""
    violations: list[Violation] = []
    for kind, column in batch.columns.items():
        if kind == "address":
            _check_address(batch.shape, column, encoding, violations)
            continue
        values = _fast_hex(column.values) if encoding == "HEX" else None
        if values is None:
            values = _slow_hashes(batch.shape, kind, column, encoding, violations)
        batch.columns[kind] = Column(values, column.rows)
    if violations:
        raise wrong_fields(violations)


def _fast_hex(values: Sequence[str]) -> Sequence[str] | None:
    joined = "".join(values)
    if set(map(len, values)) != {HEX_LENGTH} or not joined.isascii():
        return None
    if joined.encode().translate(None, _HEX) or HASH_OF_NOTHING in joined:
        return None
    return values if joined == joined.lower() else [value.lower() for value in values]


def _slow_hashes(
    shape: str, kind: str, column: Column, encoding: str, violations: list[Violation]
) -> list[str]:
    written = []
    for value, row in zip(*column, strict=True):
        digest, reason = decode(value, encoding)
        if reason is not None:
            violations.append((path(row, shape), f"{kind} is not a usable hash.", reason))
        written.append(digest)
    return written


def decode(value: str, encoding: str) -> tuple[str, str | None]:
    """A hash in lower-case hex, or the reason why it is none."""
    try:
        if encoding == "HEX":
            digest = bytes.fromhex(value) if " " not in value else b""
        else:
            digest = base64.b64decode(value, validate=True)
    except (ValueError, binascii.Error):
        return "", f"INVALID_{encoding}_ENCODING"
    text = digest.hex()
    return text, "INVALID_SHA256_FORMAT" if len(text) != HEX_LENGTH or (
        text == HASH_OF_NOTHING
    ) else None


def _check_address(shape: str, column: Column, encoding: str, violations: list[Violation]) -> None:
    for value, row in zip(*column, strict=True):
        for part in value.split("|")[:2]:
            reason = decode(part, encoding)[1]
            if reason is not None:
                violations.append((path(row, shape), "A name is not a usable hash.", reason))


def wrong_devices(batch: Batch) -> set[int]:
    """Rows with a device ID of the wrong form; Google tells of them later, by count."""
    column = batch.columns.get("device")
    if column is None:
        return set()
    return {row for value, row in zip(*column, strict=True) if not _UUID.fullmatch(value)}


def _skip(column: Column, rows: set[int]) -> Column:
    taken = [row not in rows for row in column.rows]
    return Column(list(compress(column.values, taken)), list(compress(column.rows, taken)))
