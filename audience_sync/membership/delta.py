"""The delta between what a partner holds and what is wanted, for one partition."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audience_sync.membership.digests import Bytes, Mask, Positions, as_void, match, rows_at
from audience_sync.membership.lines import DOUBTFUL, EXPIRED, Lines, join, widths_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """What has to travel, and what the partner will hold then.

    `added` are whole members (new or changed), `removed` only identifiers that leave: lines of
    members that left and of members that lost an identifier. Counts are members; `changed` ones
    are counted in `additions` too, so that wanted = unchanged + additions + barred.
    """

    added: Lines
    removed: Lines
    following: Lines
    unchanged: int
    additions: int
    changed: int
    left: int
    expired: int  # of those who left, the ones who left by age
    barred: int  # wanted members that are left out because they left by age, now or before
    left_keys: Bytes  # identity of those who left, to tell withdrawals from other reasons
    same: bool  # whether what is held stands as it is, tombstones included


def diff(held: Lines, wanted: Lines, *, now: int, expired_before: int = 0) -> Delta:
    """Compare two sorted sets of lines; both may have columns that the other lacks.

    An identifier of another width is another identifier: it leaves, and the new one is added.

    A member sent before `expired_before` (seconds since 1970) leaves although it is wanted, and
    is not added again until it was unwanted once.
    """
    own, widths = widths_of(wanted), widths_of(held, wanted)
    held, wanted = held.with_kinds(widths), wanted.with_kinds(widths)
    before = len(held)
    everybody = wanted
    gone, tombs, wanted, held, expired = _expire(held, wanted, expired_before)
    held_at, wanted_at = held.starts, wanted.starts
    place = match(rows_at(wanted.keys, wanted_at), rows_at(held.keys, held_at))
    same = _same(held, held_at, wanted, wanted_at, place)
    known = place >= 0
    kept = np.zeros(len(held_at), dtype=np.bool_)
    kept[place[known]] = True
    since = _carried_since(wanted, wanted_at, held, held_at, place, now)
    following = Lines(wanted.keys, wanted.slot, wanted.columns, since, wanted.state)
    left = _of_members(held, held_at, ~kept)
    lost = _lost(held, held_at, wanted, wanted_at, place, known & ~same)
    if widths != own:  # what is sent is never filled up
        following = following.cut(own)
    added = _of_members(following, wanted_at, ~same)
    removed = join([left, lost, gone]).sorted()
    if len(tombs):
        following = join([following, tombs]).sorted()
    return Delta(
        added=added,
        removed=removed,
        following=following,
        unchanged=int(same.sum()),
        additions=int((~same).sum()),
        changed=int((known & ~same).sum()),
        left=int((~kept).sum()) + expired,
        expired=expired,
        barred=0 if wanted is everybody else len(everybody.starts) - len(wanted_at),
        left_keys=rows_at(held.keys, held_at[~kept]),
        same=not (len(added) or len(removed)) and len(following) == before,
    )


def _expire(held: Lines, wanted: Lines, before: int) -> tuple[Lines, Lines, Lines, Lines, int]:
    """Lines that leave by age, tombstones, and what is left to compare on either side."""
    old = held.alive & (held.since < before)
    tomb = ~held.alive
    if not (old.any() or tomb.any()):
        nothing = held.take(slice(0, 0))
        return nothing, nothing, wanted, held, 0
    wanted_at = wanted.starts
    found = match(held.keys, wanted.keys[wanted_at])
    aged = held.take((old | tomb) & (found >= 0))
    aged = Lines(
        aged.keys, aged.slot, aged.columns, aged.since, np.full(len(aged), EXPIRED, np.uint8)
    )
    barred = np.zeros(len(wanted_at), dtype=np.bool_)
    barred[found[(old | tomb) & (found >= 0)]] = True
    gone = held.take(old & (found >= 0))
    rest = held.take(~tomb & ~(old & (found >= 0)))
    return gone, aged, _of_members(wanted, wanted_at, ~barred), rest, len(gone.starts)


def _counts(at: Positions, total: int) -> Positions:
    return np.diff(np.append(at, total))


def _of_members(lines: Lines, at: Positions, chosen: Mask) -> Lines:
    if len(at) == len(lines):
        return lines if chosen.all() else lines.take(chosen)
    return lines.take(np.repeat(chosen, _counts(at, len(lines))))


def _same(
    held: Lines, held_at: Positions, wanted: Lines, wanted_at: Positions, place: Positions
) -> Mask:
    """Which wanted members are surely held, with exactly the same identifiers."""
    height = _counts(wanted_at, len(wanted))
    same = place >= 0
    same[same] = held.state[held_at[place[same]]] != DOUBTFUL
    same[same] = height[same] == _counts(held_at, len(held))[place[same]]
    at = np.flatnonzero(same)
    if not len(at):
        return same
    member = np.repeat(at, height[at])
    offset = np.arange(len(member)) - np.repeat(np.cumsum(height[at]) - height[at], height[at])
    mine, theirs = wanted_at[member] + offset, held_at[place[member]] + offset
    differs = np.zeros(len(member), dtype=np.bool_)
    for kind, values in wanted.columns.items():
        ours, others = rows_at(values, mine), rows_at(held.columns[kind], theirs)
        if values.shape[1] % 8:
            differs |= (ours != others).any(axis=1)
        else:
            for one, other in zip(ours.view(np.uint64).T, others.view(np.uint64).T, strict=True):
                differs |= one != other
    same[member[differs]] = False
    return same


def _carried_since(
    wanted: Lines,
    wanted_at: Positions,
    held: Lines,
    held_at: Positions,
    place: Positions,
    now: int,
) -> NDArray[np.uint32]:
    since = np.full(len(wanted_at), now, dtype=np.uint32)
    known = place >= 0
    since[known] = held.since[held_at[place[known]]]
    return np.repeat(since, _counts(wanted_at, len(wanted)))


def _lost(
    held: Lines,
    held_at: Positions,
    wanted: Lines,
    wanted_at: Positions,
    place: Positions,
    changed: Mask,
) -> Lines:
    """The identifiers that changed members held and no longer have."""
    chosen = np.zeros(len(held_at), dtype=np.bool_)
    chosen[place[changed]] = True
    before = _of_members(held, held_at, chosen)
    if not len(before):
        return before
    return subtract(before, _of_members(wanted, wanted_at, changed))


def subtract(lines: Lines, leaving: Lines) -> Lines:
    """The lines without those identifiers that the same member has in `leaving`, equally wide."""
    for kind, values in lines.columns.items():
        if kind in leaving.columns:
            ours = as_void(np.concatenate([lines.keys, values], axis=1))
            theirs = as_void(np.concatenate([leaving.keys, leaving.columns[kind]], axis=1))
            lines = lines.blank(kind, _among(ours, theirs))
    return lines.without_blank()


def _among(values: NDArray[np.void], among: NDArray[np.void]) -> Mask:
    """np.isin for opaque values; numpy's own falls back to an object comparison for them."""
    if not len(among):
        return np.zeros(len(values), dtype=np.bool_)
    ordered = np.sort(among)
    place = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    return np.asarray(ordered[place] == values, dtype=np.bool_)
