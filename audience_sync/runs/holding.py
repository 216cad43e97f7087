"""Which lines are of some people: a look-up by digest, source or no source."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from audience_sync.identifiers.kinds import DIGEST_WIDTH, Kind
from audience_sync.membership.digests import (
    Bytes,
    Mask,
    as_void,
    match,
    present,
    rows_at,
    sort_order,
    starts,
)
from audience_sync.membership.lines import Lines

NOBODY: Bytes = np.zeros((0, DIGEST_WIDTH), dtype=np.uint8)


def members_with(lines: Lines, digests: Bytes) -> Mask:
    """Which lines are of members who carry one of these digests, in any line of theirs."""
    if not len(digests) or not len(lines):
        return np.zeros(len(lines), dtype=np.bool_)
    hit = lines_with(lines, digests)
    if not hit.any():
        return hit
    first = lines.starts
    whole = np.logical_or.reduceat(hit, first)
    return np.repeat(whole, np.diff(np.append(first, len(lines))))


def lines_with(lines: Lines, digests: Bytes) -> Mask:
    """Which lines carry one of these digests themselves."""
    hit: Mask = match(lines.keys, digests) >= 0
    for values in lines.columns.values():
        hit |= match(filled(values), digests) >= 0
    return hit


def carried(lines: Lines, kinds: Sequence[Kind]) -> Bytes:
    """The identifiers of some kinds that the lines carry, as digests; see `united`."""
    found = [filled(lines.columns[kind]) for kind in kinds if kind in lines.columns]
    return united(found)


def united(parts: Sequence[Bytes]) -> Bytes:
    """Digests sorted and each once, without blanks; raw device IDs are filled up with zeros."""
    full = [rows_at(part, present(part)) for part in map(filled, parts) if len(part)]
    if not full:
        return NOBODY
    digests = np.concatenate(full)
    digests = rows_at(digests, sort_order(digests))
    return rows_at(digests, starts(digests))


def without(digests: Bytes, others: Bytes) -> Bytes:
    """Those digests that are not among the others; both as `united` gives them."""
    return rows_at(digests, match(digests, others) < 0)


def filled(values: Bytes) -> Bytes:
    """Values of any width as wide as a digest."""
    if values.shape[1] == DIGEST_WIDTH:
        return values
    return np.pad(values, ((0, 0), (0, DIGEST_WIDTH - values.shape[1])))


def same(some: Bytes, others: Bytes) -> bool:
    """Whether two sets of digests are one and the same."""
    return len(some) == len(others) and bool((as_void(some) == as_void(others)).all())
