"""What goes into Pinterest's lists, and what the counters say to it."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from audience_sync.connector import (
    Cell,
    Kind,
    Members,
    PartnerClient,
    Receipt,
    RefusedError,
    Rejection,
    TemporaryPartnerError,
)
from connectors._pinterest_calls import numbered
from connectors._pinterest_words import TOO_LARGE

Operation = Literal["ADD", "REMOVE"]

RECORDS = (Kind.EMAIL, Kind.IDFA, Kind.GAID)  # a list may mix them
COUNTERS = {"ADD": "num_uploaded_user_records", "REMOVE": "num_removed_user_records"}


def change(
    client: PartnerClient, url: str, operation: Operation, members: Members, most: int
) -> Receipt:
    """Send the records of members, so many at most in a request.

    Pinterest names no bad record. Its counters rise with each record that it took, also where the
    record was there already, so what they lack is what was not taken.
    """
    records = members.only(*RECORDS).merged(*RECORDS)
    counts = records.slots().sum(axis=1) if records.kinds else np.zeros(len(members), np.int64)
    rejected = tuple(
        Rejection(position=at, reason="no_usable_identifier")
        for at in np.flatnonzero(counts == 0).tolist()
    )
    waiting, lacking = records.parts(most), 0
    before = _count(numbered(client.request("GET", url)), operation) if waiting else 0
    while waiting:
        part = waiting.pop(0)
        body, sent = body_of(operation, records.take(part))
        try:
            found = numbered(client.request("PATCH", url, body=body))
        except RefusedError as error:
            if error.status != TOO_LARGE or len(part) == 1:
                raise
            waiting[:0] = np.array_split(part, 2)
            continue
        after = _count(found, operation)
        lacking, before = lacking + max(sent - (after - before), 0), after
    unattributed = missed(counts, lacking, operation)
    return Receipt(
        accepted=len(members) - len(rejected) - unattributed,
        rejected=rejected,
        unattributed=unattributed,
        reason=COUNTERS[operation] if unattributed else None,
    )


def body_of(operation: Operation, records: Members) -> tuple[bytes, int]:
    """The records as one comma-separated string, and how many they are."""
    rows = records.render_slots([Cell(RECORDS[0], b"", b"")], before=b"", after=b"")
    return _body(operation, rows.body), len(rows.positions)


def placeholder(marker: str) -> bytes:
    """A record that belongs to nobody: the hash of a text that is no e-mail address or device."""
    text = f"audience-sync placeholder {marker}".replace("@", " ")
    return hashlib.sha256(text.encode()).hexdigest().encode()


def without_placeholder(marker: str) -> bytes:
    """The body that takes the placeholder off again."""
    return _body("REMOVE", placeholder(marker))


def missed(records: NDArray[np.int64], lacking: int, operation: Operation) -> int:
    """How many members at most are not held, or not removed, when so many records are lacking.

    A member is held by any of its records, and removed only with all of them.
    """
    if operation == "REMOVE":
        return min(lacking, int((records > 0).sum()))
    spent = np.cumsum(np.sort(records[records > 0]))
    return int(np.searchsorted(spent, lacking, side="right"))


def _count(found: dict[str, Any], operation: Operation) -> int:
    count = found.get(COUNTERS[operation])
    if not isinstance(count, int):
        raise TemporaryPartnerError("Pinterest did not say how many records it took; try again")
    return count


def _body(operation: Operation, records: bytes) -> bytes:
    head = orjson.dumps({"operation_type": operation})[:-1]
    return b"".join((head, b',"records":"', records, b'"}'))
