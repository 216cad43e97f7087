"""`/segment/mapping/`: people with several identifiers, matched to the schema by position."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import compress
from typing import Any

from audience_sync.sandbox.faults import Fault
from audience_sync.sandbox.membership import Column
from audience_sync.sandbox.tiktok.audiences import Audience, Audiences
from audience_sync.sandbox.tiktok.errors import (
    NOT_HASHED,
    TOO_MANY,
    TikTokError,
    only,
    wrong,
)
from audience_sync.sandbox.tiktok.files import hashes, width

KINDS = {
    "EMAIL_SHA256": "email",
    "PHONE_SHA256": "phone",
    "IDFA_SHA256": "idfa",
    "IDFA_MD5": "idfa",
    "AAID_SHA256": "gaid",
    "AAID_MD5": "gaid",
}


@dataclass(frozen=True, slots=True)
class Mapping:
    """A change of one audience, as it was read; `partial` says that rows were left out."""

    leave: bool
    audience: Audience
    columns: dict[str, Column] = field(repr=False)
    rows: int
    partial: bool


def read(
    wanted: dict[str, Any], audiences: Audiences, advertiser: str, most: int, fault: Fault | None
) -> list[Mapping]:
    """What a request changes, audience by audience, or the refusal of the whole."""
    only(wanted, "advertiser_ids", "action", "id_schema", "batch_data")
    if wanted.get("action") not in ("add", "delete"):
        raise wrong("action: add or delete.")
    schema, rows = wanted.get("id_schema"), wanted.get("batch_data")
    if not isinstance(schema, list) or not schema or not set(map(str, schema)) <= set(KINDS):
        raise wrong("id_schema: A list of known types is needed.")
    if len(set(schema)) != len(schema):
        raise wrong("id_schema: Each type once.")
    if not isinstance(rows, list) or not rows:
        raise wrong("batch_data: A list of people is needed.")
    if len(rows) > most:
        raise TikTokError(TOO_MANY, f"batch_data: At most {most} people.")
    if set(map(type, rows)) != {list} or set(map(len, rows)) != {len(schema)}:
        raise wrong("batch_data: Each person has one entry for each type of id_schema.")
    if not all(map(any, rows)):
        raise wrong("batch_data: A person needs an id.")
    leave = wanted["action"] == "delete"
    cells = zip(*rows, strict=True)
    columns = [_cells(kind, list(column)) for kind, column in zip(schema, cells, strict=True)]
    kept = _kept(columns, len(rows), fault)
    found = _by_audience(schema, columns, kept)
    return [
        Mapping(leave, audiences.get(number, advertiser), held, sum(kept), not all(kept))
        for number, held in found.items()
    ]


def _cells(kind: str, cells: list[Any]) -> list[Any]:
    if set(map(type, cells)) != {dict}:
        raise wrong("batch_data: An entry is an object.")
    used = [cell for cell in cells if cell]
    if any(set(cell) != {"id", "audience_ids"} for cell in used):
        raise wrong("batch_data: An entry has id and audience_ids.")
    named = [cell["audience_ids"] for cell in used]
    if any(not isinstance(ids, list) or not ids for ids in named):
        raise wrong("batch_data: audience_ids is a list.")
    if not hashes([cell["id"] for cell in used], width(kind)):
        raise TikTokError(NOT_HASHED, "An id is not hashed as its type says.")
    return cells


def _kept(columns: list[list[Any]], rows: int, fault: Fault | None) -> list[bool]:
    """Which rows a fault lets through."""
    kept = [True] * rows
    if fault is None:
        return kept
    for row in fault.rejected(rows):
        kept[row] = False
    if fault.kind == "reject-values":
        bad = set(fault.values)
        for cells in columns:
            for row, cell in enumerate(cells):
                kept[row] &= cell.get("id") not in bad
    return kept


def _by_audience(
    schema: list[str], columns: list[list[Any]], kept: list[bool]
) -> dict[str, dict[str, Column]]:
    """The identifiers by audience and kind; usually all go to one."""
    found: dict[str, dict[str, tuple[list[str], list[int]]]] = {}
    for kind, cells in zip(schema, columns, strict=True):
        for row, cell in compress(enumerate(cells), kept):
            for number in cell.get("audience_ids", ()):
                values, rows = found.setdefault(str(number), {}).setdefault(KINDS[kind], ([], []))
                values.append(cell["id"])
                rows.append(row)
    return {
        number: {kind: Column(*column) for kind, column in held.items()}
        for number, held in found.items()
    }
