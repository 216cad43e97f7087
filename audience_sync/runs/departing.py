"""Who leaves a list outside a run, and by which identifiers, in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from audience_sync.identifiers.kinds import Kind
from audience_sync.membership.digests import Bytes, Mask, match, rows_at
from audience_sync.membership.held import Membership
from audience_sync.membership.lines import Lines, join
from audience_sync.runs.holding import NOBODY, carried, filled, united, without

# Kinds that another member may still carry; see `runs.listplan`.
_SHARED = ((Kind.PHONE,), (Kind.IDFA, Kind.GAID), (Kind.EXTERNAL_ID,))


@dataclass(frozen=True)
class Leaving:
    """The members of a list who leave, and the partitions of the membership that hold any."""

    lines: Sequence[Lines]
    partitions: frozenset[int] = frozenset()

    def names(self, lines: Lines) -> Mask:
        """Which lines are of these members."""
        return match(lines.keys, self._keys) >= 0

    @cached_property
    def _keys(self) -> Bytes:
        return united([part.keys for part in self.lines])

    def __len__(self) -> int:
        return sum(len(part.starts) for part in self.lines)


def leaving(membership: Membership, named: Callable[[Lines], Mask]) -> Leaving:
    """Everybody named whom the membership holds, tombstones included."""
    found, partitions = [], set()
    for partition in range(membership.manifest.partitions):
        lines = membership.read(partition, membership.manifest.partitions)
        mask = named(lines)
        if mask.any():
            partitions.add(partition)
            found.append(lines.take(mask))
    return Leaving(found, frozenset(partitions))


def without_carried(
    lines: Sequence[Lines], withdrawn: Bytes, others: Callable[[], Iterator[Lines]]
) -> list[Lines]:
    """The identifiers to take off: not those that somebody who stays carries as well (L4).

    What was withdrawn itself is taken off in any case: whoever carries it does not stay (L2).
    """
    stays = {}
    for family in _SHARED:
        wanted = united([carried(part, family) for part in lines])
        stays[family] = without(wanted, withdrawn)
    if not any(map(len, stays.values())):
        return list(lines)
    kept = dict.fromkeys(_SHARED, NOBODY)
    for other in others():
        for family, digests in stays.items():
            if len(digests):
                theirs = carried(other, family)
                both = rows_at(theirs, match(theirs, digests) >= 0)
                kept[family] = united([kept[family], both])
    return [_blanked(part, kept) for part in lines]


def _blanked(lines: Lines, kept: dict[tuple[Kind, ...], Bytes]) -> Lines:
    for family, digests in kept.items():
        for kind in family:
            if len(digests) and kind in lines.columns:
                lines = lines.blank(kind, match(filled(lines.columns[kind]), digests) >= 0)
    return lines.without_blank()


def cut(lines: Sequence[Lines], limit: int) -> list[Lines]:
    """Batches of at most so many lines, whole members, values of one width each."""
    batches = []
    for lined in _by_width(lines):
        first, at = lined.starts, 0
        while at < len(lined):
            end = len(lined)
            if end - at > limit:
                whole = int(first[np.searchsorted(first, at + limit, side="right") - 1])
                end = whole if whole > at else at + limit
            batches.append(lined.take(slice(at, end)))
            at = end
    return batches


def _by_width(lines: Sequence[Lines]) -> list[Lines]:
    parts = [part for one in lines for part in one.by_width() if len(part)]
    by: dict[tuple[tuple[Kind, int], ...], list[Lines]] = {}
    for part in parts:
        widths = tuple(sorted((kind, v.shape[1]) for kind, v in part.columns.items()))
        by.setdefault(widths, []).append(part)
    return [join(some).sorted() for some in by.values()]
