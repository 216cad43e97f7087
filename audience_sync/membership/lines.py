"""Members as sorted lines: one line holds at most one identifier of each kind.

Most members are one line. A member with two phones is two lines of the same key, the second with
slot 1. Lines of one set are sorted by key, then slot; all-zero values mean none. Where values of
two widths meet, since a kind's form was changed, the narrow ones are filled up with zeros.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from audience_sync.identifiers.kinds import DEVICE_WIDTH, DIGEST_WIDTH, Kind
from audience_sync.members import Members
from audience_sync.membership.digests import (
    Bytes,
    Mask,
    Positions,
    as_void,
    is_sorted,
    present,
    rows_at,
    sort_order,
    starts,
)

_DEVICES = (Kind.IDFA, Kind.GAID)  # the only kinds that are sent raw in some form, hashed in others

HELD = 0
EXPIRED = 1  # taken off the partner's list by age; not sent again while the person stays wanted
DOUBTFUL = 2  # sent, but perhaps it never arrived: sent again if wanted, else taken off

_SLOTS = 255  # of a kind; what one byte can number


@dataclass(frozen=True, repr=False)
class Lines:
    """Lines of members: identity `keys` (n, 32), `slot` (n,), one column of values a kind.

    `since` is when the member was first sent, in seconds since 1970; `state` is HELD, EXPIRED or
    DOUBTFUL.
    """

    keys: Bytes
    slot: NDArray[np.uint8]
    columns: Mapping[Kind, Bytes]
    since: NDArray[np.uint32]
    state: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.keys)

    def __repr__(self) -> str:
        return f"Lines({len(self)}: {', '.join(self.columns)})"

    @property
    def starts(self) -> Positions:
        """Where each member's first line is."""
        return starts(self.keys)

    @property
    def alive(self) -> Mask:
        """Which lines the partner holds, or perhaps holds."""
        alive: Mask = self.state != EXPIRED
        return alive

    def take(self, at: Positions | Mask | slice) -> Lines:
        """Some of the lines, in the order named."""
        if not isinstance(at, slice) and at.dtype == np.bool_:
            at = np.flatnonzero(at)
        columns = {kind: rows_at(values, at) for kind, values in self.columns.items()}
        return Lines(
            rows_at(self.keys, at),
            rows_at(self.slot, at),
            columns,
            rows_at(self.since, at),
            rows_at(self.state, at),
        )

    def blank(self, kind: Kind, at: Mask) -> Lines:
        """The same lines without the identifiers of one kind where `at` says so."""
        values = self.columns[kind].copy()
        values[at] = 0
        columns = {**self.columns, kind: values}
        return Lines(self.keys, self.slot, columns, self.since, self.state)

    def marked(self, doubtful: Mask) -> Lines:
        """The same lines, doubtful where the mask says so."""
        if not doubtful.any():
            return self
        state = self.state.copy()
        state[doubtful] = DOUBTFUL
        return Lines(self.keys, self.slot, self.columns, self.since, state)

    def without_blank(self) -> Lines:
        """The lines that still hold an identifier."""
        used = np.zeros(len(self), dtype=np.bool_)
        for values in self.columns.values():
            used |= present(values)
        return self if used.all() else self.take(used)

    def with_kinds(self, widths: Mapping[Kind, int]) -> Lines:
        """The same lines with exactly these columns, at least so wide; new ones hold nothing."""
        columns = {kind: self._filled(kind, width) for kind, width in widths.items()}
        return Lines(self.keys, self.slot, columns, self.since, self.state)

    def cut(self, widths: Mapping[Kind, int]) -> Lines:
        """The same lines, where all values are known to be no wider than this."""
        columns = {
            kind: values[:, : widths.get(kind, values.shape[1])]
            for kind, values in self.columns.items()
        }
        return Lines(self.keys, self.slot, columns, self.since, self.state)

    def by_width(self) -> list[Lines]:
        """The same identifiers, apart where values of two widths are mixed, none filled up."""
        wide, narrow = dict(self.columns), dict[Kind, Bytes]()
        for kind in _DEVICES:
            values = self.columns.get(kind)
            if values is None:
                continue
            there = present(values)
            if not there.any():
                del wide[kind]
                continue
            if values.shape[1] == DEVICE_WIDTH:
                continue
            long = present(values[:, DEVICE_WIDTH:])
            if not long.any():
                wide[kind] = values[:, :DEVICE_WIDTH]
            elif (there & ~long).any():
                wide[kind] = np.where(long[:, None], values, np.uint8(0))
                narrow[kind] = np.where(long[:, None], np.uint8(0), values)[:, :DEVICE_WIDTH]
        return [
            Lines(self.keys, self.slot, columns, self.since, self.state).without_blank()
            for columns in (wide, narrow)
            if columns
        ]

    def _filled(self, kind: Kind, width: int) -> Bytes:
        values = self.columns.get(kind)
        if values is not None and values.shape[1] >= width:
            return values
        filled = np.zeros((len(self), width), dtype=np.uint8)
        if values is not None:
            filled[:, : values.shape[1]] = values
        return filled

    def sorted(self) -> Lines:
        """The lines by key, then slot."""
        lines = self if is_sorted(self.keys) else self.take(sort_order(self.keys))
        if len(lines.starts) == len(lines):
            return lines
        member = np.cumsum(_boundaries(lines)) - 1
        return lines.take(np.lexsort((lines.slot, member)))

    def members(self) -> Members:
        """The batch that a connector receives; members stay in order, slots become cells."""
        first = self.starts
        if len(first) == len(self):
            return Members({kind: values[:, None] for kind, values in self.columns.items()})
        member = np.cumsum(_boundaries(self)) - 1
        place = np.arange(len(self)) - first[member]
        slots = int(place.max()) + 1
        wide = {}
        for kind, values in self.columns.items():
            wide[kind] = np.zeros((len(first), slots, values.shape[1]), dtype=np.uint8)
            wide[kind][member, place] = values
        return Members(wide)


def no_lines(widths: Mapping[Kind, int]) -> Lines:
    """No lines, with the columns named."""
    columns = {kind: np.zeros((0, width), dtype=np.uint8) for kind, width in widths.items()}
    nothing = np.zeros(0, dtype=np.uint8)
    keys = np.zeros((0, DIGEST_WIDTH), dtype=np.uint8)
    return Lines(keys, nothing, columns, nothing.astype(np.uint32), nothing)


def widths_of(*parts: Lines) -> dict[Kind, int]:
    """How wide the values of each kind are, where they are widest."""
    widths: dict[Kind, int] = {}
    for part in parts:
        for kind, values in part.columns.items():
            widths[kind] = max(widths.get(kind, 0), values.shape[1])
    return widths


def join(parts: Sequence[Lines]) -> Lines:
    """Lines one after the other, with the columns of all parts."""
    if len(parts) == 1:
        return parts[0]
    widths = widths_of(*parts)
    parts = [part.with_kinds(widths) for part in parts]
    return Lines(
        np.concatenate([part.keys for part in parts]),
        np.concatenate([part.slot for part in parts]),
        {kind: np.concatenate([part.columns[kind] for part in parts]) for kind in widths},
        np.concatenate([part.since for part in parts]),
        np.concatenate([part.state for part in parts]),
    )


def merge(
    keys: Bytes, columns: Mapping[Kind, Bytes], since: NDArray[np.uint32], most: int | None = None
) -> Lines:
    """Rows of one identity become one member with the union of their identifiers.

    At most so many are kept, the same ones each time: the first of each kind, then the second ones,
    and so on. `since` is the earliest.
    """
    nothing = np.zeros(len(keys), dtype=np.uint8)
    rows = Lines(keys, nothing, columns, since, nothing)
    if not is_sorted(keys):
        rows = rows.take(sort_order(keys))
    first = rows.starts
    if len(first) == len(rows):
        return rows
    count = np.diff(np.append(first, len(rows)))
    alone = rows.take(first[count == 1])
    united = _unite(rows.take(np.repeat(count > 1, count)), most)
    return join([alone, united]).sorted()


class _Ranked(NamedTuple):
    """Identifiers of one kind: whose each is, which of theirs, and itself."""

    owner: Positions
    rank: Positions
    values: Bytes


def _unite(rows: Lines, most: int | None) -> Lines:
    first = rows.starts
    member = np.cumsum(_boundaries(rows)) - 1
    ranked = {kind: _ranked(member, values) for kind, values in rows.columns.items()}
    if most is not None:
        ranked = _first(ranked, len(first), most)
    height = np.ones(len(first), dtype=np.int64)
    for owner, rank, _ in ranked.values():
        np.maximum.at(height, owner, rank + 1)
    begin = np.cumsum(height) - height
    total = int(height.sum())
    columns = {}
    for kind, (owner, rank, values) in ranked.items():
        columns[kind] = np.zeros((total, values.shape[1]), dtype=np.uint8)
        columns[kind][begin[owner] + rank] = values
    slot = (np.arange(total) - np.repeat(begin, height)).astype(np.uint8)
    earliest = np.minimum.reduceat(rows.since, first)
    keys = np.repeat(rows.keys[first], height, axis=0)
    return Lines(keys, slot, columns, np.repeat(earliest, height), np.zeros(total, dtype=np.uint8))


def _ranked(member: NDArray[np.int64], values: Bytes) -> _Ranked:
    """Each member's distinct values in byte order, as many as there are slots."""
    at = np.flatnonzero(present(values))
    width = values.shape[1]
    tagged = np.empty((len(at), 8 + width), dtype=np.uint8)
    tagged[:, :8] = member[at].astype(">u8").view(np.uint8).reshape(-1, 8)
    tagged[:, 8:] = values[at]
    distinct = np.unique(as_void(tagged)).view(np.uint8).reshape(-1, 8 + width)
    owner = np.ascontiguousarray(distinct[:, :8]).view(">u8").ravel().astype(np.int64)
    rank = np.arange(len(owner)) - np.searchsorted(owner, owner)
    kept = rank < _SLOTS
    return _Ranked(owner[kept], rank[kept], distinct[kept, 8:])


def _first(ranked: Mapping[Kind, _Ranked], members: int, most: int) -> dict[Kind, _Ranked]:
    """Each member's first values of every kind before any second one, at most so many."""
    kinds = [kind for kind in Kind if kind in ranked]
    counts = {kind: np.bincount(ranked[kind].owner, minlength=members) for kind in kinds}
    found = {}
    for place, kind in enumerate(kinds):
        owner, rank, values = ranked[kind]
        before = np.zeros(len(owner), dtype=np.int64)
        for other, count in enumerate(counts[one][owner] for one in kinds):
            before += np.minimum(count, rank) + ((count > rank) & (other < place))
        kept = before < most
        found[kind] = _Ranked(owner[kept], rank[kept], values[kept])
    return found


def _boundaries(lines: Lines) -> NDArray[np.int64]:
    new = np.zeros(len(lines), dtype=np.int64)
    new[lines.starts] = 1
    return new
