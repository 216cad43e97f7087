"""Exact look-ups across partitions with bounded memory.

Members are kept by the partition of their identity, but a phone or a device may be carried by
members of any partition. Questions are kept by the partition of their own digest; carriers that
pass a small filter are sent there, and each partition is settled on its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audience_sync.identifiers.kinds import DIGEST_WIDTH
from audience_sync.membership.digests import (
    Bytes,
    DigestFilter,
    Mask,
    Positions,
    match,
    present,
    rows_at,
    sort_order,
    starts,
)
from audience_sync.membership.location import StateLocation
from audience_sync.membership.sealed import Keyring
from audience_sync.membership.spill import Kept, Spill

NEVER = np.iinfo(np.int64).min  # no such decision
ALWAYS = np.iinfo(np.int64).max  # a denial at an unknown time outlasts every grant


class Denials:
    """Denials by identifier (L2): what each says, when, and for which partner groups.

    `denied_at` (n, groups) is in microseconds, NEVER where a group is not concerned; `reason`
    (n, groups) is the Reason of the denial. Identifiers that are `local`, carried by rows of their
    own partition only, are judged there and never asked to `carry`. `found` are denials that others
    took in and finished.
    """

    def __init__(
        self,
        location: StateLocation,
        path: str,
        keyring: Keyring,
        partitions: int,
        *,
        local: bool = False,
        found: Kept | None = None,
    ) -> None:
        self._spill = Spill(location, denials_path(path), keyring, partitions)
        self._found: Kept = self._spill if found is None else found
        self._carriers = Spill(location, f"{path}-carriers.sealed", keyring, partitions)
        self._passing = None if local else DigestFilter()
        self._lock = Lock()

    @property
    def empty(self) -> bool:
        """Whether nobody denied anything."""
        return self._found.rows == 0

    @property
    def rows(self) -> int:
        """How many denials there are."""
        return self._found.rows

    def deny(self, digests: Bytes, denied_at: NDArray[np.int64], reason: NDArray[np.int8]) -> None:
        """Take denials in, from any thread; rows without an identifier are left out."""
        there = np.flatnonzero(present(digests))
        digests = rows_at(digests, there)
        with self._lock:  # two threads that set bits of one byte would lose one of them
            if self._passing is not None:
                self._passing.add(digests)
        self._spill.put(
            digests,
            {
                "digest": digests,
                "denied_at": rows_at(denied_at, there),
                "reason": rows_at(reason, there),
            },
        )

    def finish(self) -> None:
        """No more denials come."""
        self._spill.finish()

    def prepare(self) -> None:
        """Look at denials that were found elsewhere, before anything is carried."""
        if self._passing is not None and self._passing.empty:
            for partition in range(self._found.partitions):
                digests = self._found.read(partition, "digest")
                if digests is not None:
                    self._passing.add(digests)

    def carry(
        self, digests: Bytes, granted_at: NDArray[np.int64], home: int, rows: Positions
    ) -> None:
        """Send rows of a partition that carry perhaps denied identifiers to be settled."""
        if self._passing is None:
            return
        passing = np.flatnonzero(self._passing.passes(digests) & present(digests))
        digests = rows_at(digests, passing)
        self._carriers.put(
            digests,
            {
                "digest": digests,
                "granted_at": rows_at(granted_at, passing),
                "home": np.full(len(passing), home, dtype=np.int32),
                "row": rows[passing],
            },
        )

    def settle(self) -> Iterator[tuple[NDArray[np.int32], Positions, NDArray[np.int8]]]:
        """The denied rows: home partition, row, reason by group (-1: not denied)."""
        self._carriers.finish()
        for partition in range(self._carriers.partitions):
            digests = self._carriers.read(partition, "digest")
            granted_at = self._carriers.read(partition, "granted_at")
            home = self._carriers.read(partition, "home")
            row = self._carriers.read(partition, "row")
            if digests is None or granted_at is None or home is None or row is None:
                continue
            reasons = self.judge(partition, digests, granted_at)
            denied = (reasons >= 0).any(axis=1)
            yield home[denied], row[denied], reasons[denied]

    def judge(
        self, partition: int, digests: Bytes, granted_at: NDArray[np.int64]
    ) -> NDArray[np.int8]:
        """The reason that denies each row, by group; -1 where the latest word is a grant.

        All rows that carry an identifier of this partition must be given at once, since a later
        grant on one of them lifts the denial for all.
        """
        reasons = np.full((len(digests), granted_at.shape[1]), -1, dtype=np.int8)
        denied = self.of(partition)
        if denied is None or not len(digests):
            return reasons
        keys, denied_at, reason = denied
        place = match(digests, keys)
        hit = np.flatnonzero(place >= 0)
        granted = np.full(denied_at.shape, NEVER, dtype=np.int64)
        np.maximum.at(granted, place[hit], granted_at[hit])
        stands = (denied_at != NEVER) & (denied_at >= granted)
        reasons[hit] = np.where(stands, reason, np.int8(-1))[place[hit]]
        return reasons

    def of(self, partition: int) -> tuple[Bytes, NDArray[np.int64], NDArray[np.int8]] | None:
        """The distinct denied identifiers of a partition with their latest denial by group."""
        digests = self._found.read(partition, "digest")
        at = self._found.read(partition, "denied_at")
        reason = self._found.read(partition, "reason")
        if digests is None or at is None or reason is None:
            return None
        order = sort_order(digests)
        digests, at, reason = (rows_at(column, order) for column in (digests, at, reason))
        first = starts(digests)
        latest = np.maximum.reduceat(at, first)
        owner = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(digests))))
        # Of several denials at the latest time the first in the order of judging is the reason.
        ranked = np.where(at == latest[owner], reason, np.int8(127))
        return rows_at(digests, first), latest, np.minimum.reduceat(ranked, first)

    def discard(self) -> None:
        """Delete the files."""
        self._spill.discard()
        self._carriers.discard()


def denials_path(path: str) -> str:
    """Where the denials of one kind are kept."""
    return f"{path}-denials.sealed"


class StillCarried:
    """Which leaving identifiers other members still carry, so that they are not removed (L4).

    First everything that leaves, then `prepare`, then everything that is carried, then `settle`.
    """

    def __init__(
        self, location: StateLocation, path: str, keyring: Keyring, partitions: int
    ) -> None:
        self._leaving = Spill(location, f"{path}-leaving.sealed", keyring, partitions)
        self._carriers = Spill(location, f"{path}-kept.sealed", keyring, partitions)
        self._passing: DigestFilter | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing leaves."""
        return self._leaving.rows == 0

    def leave(self, digests: Bytes, home: int) -> None:
        """Identifiers that are to leave, in the lines of a partition; blank ones are left out."""
        lines = np.flatnonzero(present(digests))
        digests = _filled(rows_at(digests, lines))
        columns: dict[str, NDArray[Any]] = {
            "digest": digests,
            "home": np.full(len(digests), home, dtype=np.int32),
            "line": lines,
        }
        self._leaving.put(digests, columns)

    def prepare(self) -> None:
        """Nothing else leaves."""
        self._leaving.finish()
        self._passing = DigestFilter()
        for partition in range(self._leaving.partitions):
            digests = self._leaving.read(partition, "digest")
            if digests is not None:
                self._passing.add(digests)

    def carry(self, digests: Bytes) -> None:
        """Identifiers that wanted members carry."""
        if self._passing is not None:
            digests = rows_at(digests, self._passing.passes(digests) & present(digests))
            digests = _filled(digests)
            self._carriers.put(digests, {"digest": digests})

    def settle(self) -> Iterator[tuple[NDArray[np.int32], Positions]]:
        """The identifiers that stay: partition and line where they stood."""
        self._carriers.finish()
        for partition in range(self._leaving.partitions):
            kept = self._carriers.read(partition, "digest")
            leaving = self._leaving.read(partition, "digest")
            home = self._leaving.read(partition, "home")
            line = self._leaving.read(partition, "line")
            if kept is None or leaving is None or home is None or line is None:
                continue
            ordered = rows_at(kept, sort_order(kept))
            stays: Mask = match(leaving, rows_at(ordered, starts(ordered))) >= 0
            yield home[stays], line[stays]

    def discard(self) -> None:
        """Delete the files, and give the memory back."""
        self._leaving.discard()
        self._carriers.discard()
        self._passing = None


def _filled(values: Bytes) -> Bytes:
    """Values of every width side by side."""
    if values.shape[1] == DIGEST_WIDTH:
        return values
    return np.pad(values, ((0, 0), (0, DIGEST_WIDTH - values.shape[1])))
