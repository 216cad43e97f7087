"""What goes to Snapchat's segments and what its counts say, as plain values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audience_sync.connector import (
    Cell,
    Kind,
    Members,
    Receipt,
    RefusedError,
    Rejection,
    TemporaryPartnerError,
)
from connectors._snapchat_words import TOO_LARGE

IDENTIFIERS = 100_000  # per request
REFERENCES = 20  # requests of a batch that its receipt names
DEVICES = (Kind.IDFA, Kind.GAID)  # one schema at Snapchat
SCHEMAS = {
    Kind.EMAIL: b"EMAIL_SHA256",
    Kind.PHONE: b"PHONE_SHA256",
    Kind.IDFA: b"MOBILE_AD_ID_SHA256",
}

Positions = NDArray[np.int64]


def body_of(members: Members, kind: Kind) -> bytes:
    """One schema, and a list of lists of one identifier each."""
    rows = members.render([Cell(kind)], before=b"[", after=b"]")
    return b'{"users":[{"schema":["' + SCHEMAS[kind] + b'"],"data":[' + rows.body + b"]}]}"


class Counting:
    """A batch in several requests, one a schema: what Snapchat's counts say of its members.

    Each request holds a member once at most, so that a count of identifiers is one of members.
    """

    def __init__(self, members: Members, most: int) -> None:
        self._columns = members.merged(*DEVICES).only(*SCHEMAS)
        self._members, self._most = len(members), most
        self._missing: list[int] = []  # per kind and slot
        self._references: list[str] = []

    def send(self, call: Callable[[bytes], Any]) -> None:
        """Send everything, in halves where Snapchat finds a request too large."""
        for kind, column, places in self._slots():
            waiting = [places[at : at + self._most] for at in range(0, len(places), self._most)]
            self._missing.append(0)
            while waiting:
                part = waiting.pop(0)
                try:
                    found = call(body_of(column.take(part), kind))
                except RefusedError as error:
                    if error.status != TOO_LARGE or len(part) == 1:
                        raise
                    waiting[:0] = np.array_split(part, 2)
                    continue
                self._missing[-1] += max(len(part) - _uploaded(found), 0)
                self._references.append(_reference(found))

    def receipt(self, *, leaving: bool) -> Receipt:
        """Every member once; Snapchat names nobody that it did not take.

        Of those who leave, everybody who may have stayed is counted; of those who are added, at
        least so many are missing as one kind of identifier lacks.
        """
        rejected = tuple(
            Rejection(position=at, reason="no_usable_identifier")
            for at in np.flatnonzero(~self._columns.has(*SCHEMAS)).tolist()
        )
        usable = self._members - len(rejected)
        missing = sum(self._missing) if leaving else max(self._missing, default=0)
        missing = min(missing, usable)
        return Receipt(
            accepted=usable - missing,
            rejected=rejected,
            unattributed=missing,
            reference=",".join(filter(None, self._references[:REFERENCES])) or None,
            reason="number_uploaded_users" if missing else None,
        )

    def _slots(self) -> Iterator[tuple[Kind, Members, Positions]]:
        """Each slot of each kind, with the members that use it."""
        for kind in SCHEMAS:
            column = self._columns.only(kind)
            for slot in range(column.values[kind].shape[1] if column.kinds else 0):
                one = column.slot(slot)
                places = np.flatnonzero(one.has(kind))
                if len(places):
                    yield kind, one, places


def _uploaded(found: Any) -> int:
    counts = [
        (part.get("user") or {}).get("number_uploaded_users")
        for part in found.get("users") or ()
        if isinstance(part, dict)
    ]
    numbers = [count for count in counts if isinstance(count, int)]
    if not counts or len(numbers) < len(counts):
        raise TemporaryPartnerError("Snapchat did not say how many members it took; try again")
    return sum(numbers)


def _reference(found: Any) -> str:
    request = str(found.get("request_id", ""))
    return request if re.fullmatch(r"[0-9A-Za-z-]{1,48}", request) else ""
