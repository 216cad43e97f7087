"""What a webhook says of the members that it could not use, as far as the settings tell where."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, model_validator

from audience_sync.connector import Answer, Members, Rejection, TemporaryPartnerError

REJECTED = "rejected"

# A code such as INVALID_HASH or E1042. Anything else might quote an identifier.
_CODE = re.compile(r"[A-Za-z_]{1,40}[0-9]{0,4}")
_NO_CONTENT = 204  # HTTP's own word


class Reading(BaseModel):
    """How an answer is read: where it names the rows that were rejected and counts those taken.

    Places are keys with dots between them, such as `result.errors`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    form: Literal["json", "any"] = "json"  # any: the status alone speaks
    rejected: str | None = None  # place of a list
    by: Literal["position", "identifier"] = "position"  # how the list names a row
    key: str | None = None  # of position or identifier within an entry; none: the entry itself
    reason: str | None = None  # key of a reason within an entry
    accepted: str | None = None  # place of the count of rows that were taken

    @model_validator(mode="after")
    def _readable(self) -> Self:
        if self.form == "any" and (self.rejected or self.accepted):
            raise ValueError("only an answer in JSON tells of rows; take `form: any` out")
        return self


class Verdict(NamedTuple):
    """Members of one request, by position in it, that are rejected; rows that are missing."""

    rejected: tuple[Rejection, ...]
    missing: int


def verdict(
    answer: Answer, reading: Reading, batch: Members, positions: NDArray[np.int64]
) -> Verdict:
    """What the answer says of a batch; `positions[i]` is the member in row i.

    A member counts as rejected when every row of it is.
    """
    if answer.status == _NO_CONTENT or not (reading.rejected or reading.accepted):
        return Verdict((), 0)
    content = answer.json()
    entries = _entries(content, reading)
    name = _by_position if reading.by == "position" else _by_identifier
    rows = np.bincount(positions, minlength=len(batch))
    lost = np.zeros(len(batch), dtype=np.int64)
    reasons: dict[int, str] = {}
    for member, reason in name(entries, reading, batch, positions):
        lost[member] += 1
        reasons[member] = reason
    named = np.flatnonzero((rows > 0) & (lost >= rows)).tolist()
    rejected = tuple(Rejection(position=at, reason=reasons[at]) for at in named)
    return Verdict(rejected, _missing(content, reading, len(positions), int(lost.sum())))


def _entries(content: Any, reading: Reading) -> list[Any]:
    found = _found(content, reading.rejected) if reading.rejected else None
    if not isinstance(content, Mapping) or not isinstance(found, list | None):
        raise TemporaryPartnerError(
            "the endpoint does not list rejected rows where `answer.rejected` says; "
            "check the setting, or try again"
        )
    return found or []


def _by_position(
    entries: Sequence[Any],
    reading: Reading,
    _: Members,
    positions: NDArray[np.int64],
) -> list[tuple[int, str]]:
    hits: dict[int, str] = {}
    for entry in entries:
        row = _value(entry, reading.key)
        if isinstance(row, bool) or not isinstance(row, int) or not 0 <= row < len(positions):
            raise TemporaryPartnerError(
                "the endpoint rejects a row that it was not sent; check `answer`, or try again"
            )
        hits.setdefault(row, _reason(entry, reading))
    return [(int(positions[row]), reason) for row, reason in hits.items()]


def _by_identifier(
    entries: Sequence[Any],
    reading: Reading,
    batch: Members,
    _: NDArray[np.int64],
) -> list[tuple[int, str]]:
    reasons: dict[str, list[str]] = {}
    for entry in entries:
        value = _value(entry, reading.key)
        if isinstance(value, str):
            reasons.setdefault(_reason(entry, reading), []).append(value)
    hits = []
    deepest = max((column.shape[1] for column in batch.values.values()), default=0)
    for slot in range(deepest):
        seen: set[int] = set()
        for reason, values in reasons.items():
            fresh = [at for at in batch.slot(slot).find(values) if at not in seen]
            seen.update(fresh)
            hits += [(at, reason) for at in fresh]
    return hits


def _value(entry: Any, key: str | None) -> Any:
    if key is None:
        return entry
    return entry.get(key) if isinstance(entry, Mapping) else None


def _reason(entry: Any, reading: Reading) -> str:
    found = entry.get(reading.reason) if isinstance(entry, Mapping) and reading.reason else None
    return found if isinstance(found, str) and _CODE.fullmatch(found) else REJECTED


def _missing(content: Any, reading: Reading, sent: int, rejected: int) -> int:
    """Rows that the endpoint neither took nor named."""
    if reading.accepted is None:
        return 0
    accepted = _found(content, reading.accepted)
    if isinstance(accepted, bool) or not isinstance(accepted, int):
        raise TemporaryPartnerError(
            "the endpoint does not count accepted members where `answer.accepted` says; try again"
        )
    return min(max(sent - rejected - accepted, 0), sent)


def _found(content: Any, path: str) -> Any:
    for key in path.split("."):
        content = content.get(key) if isinstance(content, Mapping) else None
    return content
