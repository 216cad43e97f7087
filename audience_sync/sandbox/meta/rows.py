"""Which rows of an upload Meta takes: column by column, in a few passes of native code."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any

from audience_sync.sandbox.faults import Fault
from audience_sync.sandbox.membership import Column, Columns
from audience_sync.sandbox.meta.errors import invalid

MAXIMUM_ROWS = 10_000
MAXIMUM_SAMPLES = 100
HASH_LENGTH = 64
HASH_OF_NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

SINGLE = {
    "EMAIL_SHA256": "EMAIL",
    "PHONE_SHA256": "PHONE",
    "MOBILE_ADVERTISER_ID": "MADID",
    "UID": "APPUID",
}
HASHED = {"EMAIL", "PHONE", "GEN", "DOBY", "DOBM", "DOBD", "LN", "FN", "FI", "CT", "ST", "ZIP"}
HASHED |= {"COUNTRY"}
RAW = {"EXTERN_ID", "MADID", "APPUID", "PAGEUID"}
OPTIONS = {
    "LOOKALIKE_VALUE",
    "DATA_PROCESSING_OPTIONS",
    "DATA_PROCESSING_OPTIONS_COUNTRY",
    "DATA_PROCESSING_OPTIONS_STATE",
}
REPLACEABLE = HASHED | {"MADID"}
NAMES = {"EMAIL": "email", "PHONE": "phone", "MADID": "device", "EXTERN_ID": "external_id"}

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_NO_DEVICE = "00000000-0000-0000-0000-000000000000"
_HEX = b"0123456789abcdef"


@dataclass(slots=True)
class Accepted:
    """The usable identifiers of an upload and the count of rows that were refused."""

    columns: Columns = field(repr=False)
    received: int
    refused: int
    samples: list[str] = field(repr=False)

    @property
    def rows(self) -> int:
        """How many rows were taken."""
        return self.received - self.refused


def read(payload: dict[str, Any], fault: Fault | None) -> tuple[tuple[str, ...], Accepted]:
    """The schema and the usable rows of a payload, or the refusal of the whole."""
    schema, rows = _shape(payload)
    columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in schema]
    identity = [at for at, name in enumerate(schema) if name in HASHED or name in RAW]
    if payload.get("is_raw") in (True, "true", 1, "1"):
        _hash(schema, columns)
    refused: dict[int, Any] = {}
    for name, column in zip(schema, columns, strict=True):
        for row in _check(name)(column):
            refused.setdefault(row, column[row])
    if all("" in columns[at] for at in identity):
        for row in range(len(rows)):
            if not any(columns[at][row] for at in identity):
                refused.setdefault(row, "")
    if fault is not None:
        _reject(fault, [columns[at] for at in identity], refused)
    named = [value for value in refused.values() if value is not None]
    return schema, Accepted(
        {
            NAMES.get(schema[at], schema[at].lower()): _column(columns[at], refused)
            for at in identity
        },
        len(rows),
        len(refused),
        [str(value) for value in named[:MAXIMUM_SAMPLES]],
    )


def _shape(payload: dict[str, Any]) -> tuple[tuple[str, ...], list[list[Any]]]:
    wanted, rows = payload.get("schema"), payload.get("data")
    missing = [name for name in ("schema", "data") if name not in payload]
    if missing:
        raise invalid(f"Missing parameter(s): {', '.join(missing)}")
    if not isinstance(rows, list) or not rows:
        raise invalid("Data is missing or does not match schema")
    if len(rows) > MAXIMUM_ROWS:
        raise invalid(f"Too many rows: at most {MAXIMUM_ROWS} are allowed in one request")
    if isinstance(wanted, str):
        schema = (_single(wanted, payload),)
        if set(map(type, rows)) == {str}:
            return schema, [[cell] for cell in rows]
    elif isinstance(wanted, list) and wanted and set(map(type, wanted)) == {str}:
        schema = tuple(wanted)
        strange = set(schema) - HASHED - RAW - OPTIONS
        if strange or len(set(schema)) != len(schema) or not set(schema) - OPTIONS:
            raise invalid("Param payload[schema] must be a list of different known columns")
    else:
        raise invalid("Param payload[schema] must be a key or a list of keys")
    if set(map(type, rows)) != {list} or set(map(len, rows)) != {len(schema)}:
        raise invalid("Data is missing or does not match schema")
    _check_scopes(schema, payload)
    return schema, rows


def _single(wanted: str, payload: dict[str, Any]) -> str:
    name = SINGLE.get(wanted, wanted)
    if name not in HASHED and name not in RAW:
        raise invalid("Param payload[schema] must be one of the known keys")
    _check_scopes((name,), payload)
    return name


def _check_scopes(schema: Sequence[str], payload: dict[str, Any]) -> None:
    if "APPUID" in schema and not payload.get("app_ids"):
        raise invalid("Missing parameter(s): app_ids")
    pages = payload.get("page_ids")
    if "PAGEUID" in schema and (not isinstance(pages, list) or len(pages) != 1):
        raise invalid("Exactly one of page_ids is needed")


def _hash(schema: Sequence[str], columns: list[list[Any]]) -> None:
    for name, column in zip(schema, columns, strict=True):
        if name in HASHED:
            column[:] = [
                hashlib.sha256(cell.strip().lower().encode()).hexdigest()
                if isinstance(cell, str) and cell
                else cell
                for cell in column
            ]


def _check(name: str) -> Callable[[Sequence[Any]], list[int]]:
    if name in HASHED:
        return _bad_hashes
    return {
        "MADID": _bad_devices,
        "EXTERN_ID": _bad_texts,
        "APPUID": _bad_texts,
        "PAGEUID": _bad_texts,
        "LOOKALIKE_VALUE": _bad_numbers,
        "DATA_PROCESSING_OPTIONS": _bad_options,
        "DATA_PROCESSING_OPTIONS_COUNTRY": _bad_places,
        "DATA_PROCESSING_OPTIONS_STATE": _bad_places,
    }[name]


def _bad_hashes(column: Sequence[Any]) -> list[int]:
    if set(map(type, column)) == {str} and set(map(len, column)) <= {0, HASH_LENGTH}:
        joined = "".join(column)
        if (
            joined.isascii()
            and not joined.encode().translate(None, _HEX)
            and HASH_OF_NOTHING not in joined
        ):
            return []
    return [row for row, cell in enumerate(column) if cell != "" and not _is_hash(cell)]


def _is_hash(cell: Any) -> bool:
    return (
        isinstance(cell, str)
        and len(cell) == HASH_LENGTH
        and cell.isascii()
        and not cell.encode().translate(None, _HEX)
        and cell != HASH_OF_NOTHING
    )


def _bad_devices(column: Sequence[Any]) -> list[int]:
    return [
        row
        for row, cell in enumerate(column)
        if cell != ""
        and (not isinstance(cell, str) or cell == _NO_DEVICE or not _UUID.fullmatch(cell))
    ]


def _bad_texts(column: Sequence[Any]) -> list[int]:
    return [row for row, cell in enumerate(column) if not isinstance(cell, str)]


def _bad_numbers(column: Sequence[Any]) -> list[int]:
    return [row for row, cell in enumerate(column) if type(cell) not in (int, float) or cell < 0]


def _bad_options(column: Sequence[Any]) -> list[int]:
    return [row for row, cell in enumerate(column) if cell not in ([], ["LDU"])]


def _bad_places(column: Sequence[Any]) -> list[int]:
    return [row for row, cell in enumerate(column) if type(cell) is not int or cell < 0]


def _reject(fault: Fault, columns: list[list[Any]], refused: dict[int, Any]) -> None:
    """Refuse rows that are right: by count alone (None), or with a value named."""
    named = fault.kind == "reject-values"
    for row in fault.rejected(len(columns[0])):
        value = next((column[row] for column in columns if column[row]), "")
        refused.setdefault(row, value if named else None)
    wanted = set(fault.values)
    if named and wanted:
        for column in columns:
            for row, value in enumerate(column):
                if value in wanted:
                    refused.setdefault(row, value)


def _column(column: list[Any], refused: dict[int, Any]) -> Column:
    if not refused and "" not in column:
        return Column(column, range(len(column)))
    taken = [bool(cell) and row not in refused for row, cell in enumerate(column)]
    return Column(list(compress(column, taken)), list(compress(range(len(column)), taken)))
