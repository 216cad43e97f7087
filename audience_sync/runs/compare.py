"""Compare what is wanted with what is held, one partition of one list at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from typing import Self

import numpy as np
from numpy.typing import NDArray

from audience_sync.customers.policy import NO_REASON, Reason
from audience_sync.membership.crossing import NEVER
from audience_sync.membership.delta import Delta, diff
from audience_sync.membership.digests import (
    Bytes,
    Positions,
    leading,
    match,
    present,
    rows_at,
    sort_order,
    starts,
)
from audience_sync.membership.held import Membership
from audience_sync.membership.lines import Lines, join, merge, no_lines
from audience_sync.runs.seeding import Seeding
from audience_sync.runs.surveyed import Surveyed, read_form
from audience_sync.runs.targets import FormOf, Target
from audience_sync.runs.verdicts import Verdicts

Suppress = Callable[[str, Lines], NDArray[np.bool_]]  # destination, lines → rejected before


@dataclass
class Counts:
    """What the partitions of one list add up to, in rows for drops and in members for the rest."""

    drops: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(Reason), np.int64))
    merged: int = 0
    members: int = 0
    held: int = 0
    unchanged: int = 0
    additions: int = 0
    changed: int = 0
    left: int = 0
    refused: int = 0  # of those who left, the ones who refused
    must_leave: int = 0  # of those who left, the ones who may not be shared any more
    expired: int = 0  # of those who left, the ones who left by age
    barred: int = 0  # wanted, but they left by age
    rejected: int = 0  # wanted, but the partner rejected them not long ago
    canaries: int = 0  # on the list beside the members, and in none of the other numbers

    def __iadd__(self, other: Counts) -> Self:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)
        return self


@dataclass(frozen=True)
class Compared:
    """One partition of one list: its delta and its counts."""

    partition: int
    delta: Delta
    counts: Counts


@dataclass(frozen=True)
class Rows:
    """The rows of a partition in the order of their identities, read once for every target."""

    partition: int
    order: Positions  # where each row came from
    identity: Bytes
    granted_at: NDArray[np.int64]  # (n, groups)
    chosen: NDArray[np.uint8]  # (n, audiences)
    reasons: NDArray[np.int8]  # (n, groups)
    forms: dict[FormOf, Bytes | None] = field(default_factory=dict)  # as far as asked for


class Comparison:
    """Compares the rows of a partition with what each target holds."""

    def __init__(
        self,
        survey: Surveyed,
        verdicts: Verdicts,
        suppress: Suppress,
        now: datetime,
    ) -> None:
        self._survey = survey
        self._verdicts = verdicts
        self._suppress = suppress
        self._now = int(now.timestamp())
        self._seeding = Seeding(survey, self._now)

    def read(self, partition: int) -> Rows:
        """What the customers of a partition are and may."""
        rows = self._survey.rows
        identity = rows.read(partition, "identity")
        granted_at = rows.read(partition, "granted_at")
        selected = rows.read(partition, "selected")
        if identity is None or granted_at is None or selected is None:
            identity = np.zeros((0, 32), dtype=np.uint8)
            granted_at = np.zeros((0, self._survey.groups), dtype=np.int64)
            selected = np.zeros((0, 1), dtype=np.uint8)
        # In the order of identities once, so that every look-up and merge below is of sorted keys.
        order = sort_order(identity)
        identity = rows_at(identity, order)
        granted_at = rows_at(granted_at, order)
        selected = rows_at(selected, order)
        chosen = np.unpackbits(selected, axis=1, count=len(self._survey.audiences))
        reasons = self._verdicts.of(partition, identity, granted_at, order)
        return Rows(partition, order, identity, granted_at, chosen, reasons)

    def compare(self, rows: Rows, target: Target, membership: Membership) -> Compared:
        """The delta of one target in a partition; the rows of one partition by one thread."""
        for form in target.forms.items():
            if form not in rows.forms:
                survey, partition = self._survey, rows.partition
                values = read_form(survey.rows, partition, form, survey.identity)
                rows.forms[form] = None if values is None else rows_at(values, rows.order)
        group = self._survey.group_of[target.partner]
        counts = Counts()
        eligible = rows.granted_at[:, group] != NEVER
        reasons = rows.reasons[:, group]
        wanted = self._wanted(target, rows, eligible, reasons, counts)
        lines = membership.read(rows.partition, self._survey.rows.partitions)
        seeds = self._seeding.of(target, rows.partition)
        if seeds is not None:
            seeds = seeds.without(wanted.keys)
            ours = match(lines.keys, seeds.keys) >= 0
            moved = self._moved(target, lines.take(ours), seeds.lines)
            lines = lines.take(~ours)
        found = self._against(target, rows.partition, lines, wanted, counts)
        if seeds is not None:
            counts.canaries = moved.unchanged + moved.additions
            found = replace(found, delta=_beside(found.delta, moved))
        reached = rows.identity[eligible & (reasons != NO_REASON)]
        keys = found.delta.left_keys
        counts.refused = int(self._verdicts.refused(rows.partition, keys, reached).sum())
        permitted = rows.identity[eligible & (reasons == NO_REASON)]
        counts.must_leave = counts.expired + _must_leave(target, keys, permitted, lines)
        return found

    def _wanted(
        self,
        target: Target,
        rows: Rows,
        eligible: NDArray[np.bool_],
        reasons: NDArray[np.int8],
        counts: Counts,
    ) -> Lines:
        """Drop row by row for the first reason that applies, then merge people."""
        identity, forms = rows.identity, rows.forms
        chosen = rows.chosen[:, self._survey.audiences.index(target.audience)]
        denied = eligible & (reasons != NO_REASON)
        counts.drops += np.bincount(reasons[denied], minlength=len(Reason))
        left = eligible & ~denied
        columns = {kind: forms[kind, form] for kind, form in target.forms.items()}
        there = {kind: values for kind, values in columns.items() if values is not None}
        usable = np.zeros(len(identity), dtype=np.bool_)
        for values in there.values():
            usable |= present(values)
        drops = (
            (Reason.SUPPRESSED, held_out(identity, target)),
            (Reason.NOT_IN_AUDIENCE, chosen == 0),
            (Reason.NO_USABLE_IDENTIFIER, ~usable),
        )
        for reason, dropped in drops:
            counts.drops[reason] += int((left & dropped).sum())
            left &= ~dropped
        at = np.flatnonzero(left)
        if not len(at):
            return no_lines({kind: values.shape[1] for kind, values in there.items()})
        since = np.full(len(at), self._now, dtype=np.uint32)
        kept = {kind: rows_at(values, at) for kind, values in there.items()}
        lines = merge(rows_at(identity, at), kept, since, target.most_identifiers)
        counts.members = len(lines.starts)
        counts.merged = len(at) - counts.members
        return lines

    def _moved(self, target: Target, held: Lines, wanted: Lines) -> Delta:
        """What becomes of canaries, by the same steps as of any member."""
        before = 0 if target.expired_before is None else int(target.expired_before.timestamp())
        delta = diff(held, wanted, now=self._now, expired_before=before)
        suppressed = self._suppress(target.destination, delta.added)
        if suppressed.any():
            barred = delta.added.keys[suppressed]
            wanted = wanted.take(match(wanted.keys, barred[starts(barred)]) < 0)
            delta = diff(held, wanted, now=self._now, expired_before=before)
        return delta

    def _against(
        self, target: Target, partition: int, held: Lines, wanted: Lines, counts: Counts
    ) -> Compared:
        before = 0 if target.expired_before is None else int(target.expired_before.timestamp())
        delta = diff(held, wanted, now=self._now, expired_before=before)
        suppressed = self._suppress(target.destination, delta.added)
        if suppressed.any():
            barred = delta.added.keys[suppressed]
            wanted = wanted.take(match(wanted.keys, barred[starts(barred)]) < 0)
            counts.rejected = counts.members - len(wanted.starts)
            delta = diff(held, wanted, now=self._now, expired_before=before)
        counts.expired, counts.barred = delta.expired, delta.barred
        out = counts.rejected + counts.barred
        counts.drops[Reason.SUPPRESSED] += out
        counts.members -= out
        counts.held = len(held.starts) if not held.state.any() else _held_members(held)
        counts.unchanged, counts.additions = delta.unchanged, delta.additions
        counts.changed, counts.left = delta.changed, delta.left
        return Compared(partition, delta, counts)


def _must_leave(target: Target, left: Bytes, permitted: Bytes, held: Lines) -> int:
    """How many who left may not stay: all but those whom the source permits, if not for too long.

    Whoever closed an account, was erased from the source or changed the identity is in no row
    that may be sent, like whoever refused; whom the audience's own conditions leave out is.
    """
    if not len(left):
        return 0
    may = match(left, permitted[starts(permitted)]) >= 0
    if target.expired_before is not None:
        old = held.starts[held.since[held.starts] < int(target.expired_before.timestamp())]
        may &= match(left, rows_at(held.keys, old)) < 0
    return len(left) - int(may.sum())


def _beside(members: Delta, canaries: Delta) -> Delta:
    """The delta of members, with canaries on their way among them and not counted."""

    def together(some: Lines, others: Lines) -> Lines:
        if not len(others):
            return some
        return join([some, others]).sorted() if len(some) else others

    return replace(
        members,
        added=together(members.added, canaries.added),
        removed=together(members.removed, canaries.removed),
        following=together(members.following, canaries.following),
        same=members.same and canaries.same,
    )


def sizes_of(survey: Surveyed) -> dict[str, int]:
    """About how many rows of each audience may be sent, judged by the first partition."""
    selected = survey.rows.read(0, "selected")
    if selected is None:
        return dict.fromkeys(survey.audiences, 0)
    chosen = np.unpackbits(selected, axis=1, count=len(survey.audiences)).sum(axis=0)
    sizes = (chosen.astype(np.int64) * survey.rows.partitions).tolist()
    return dict(zip(survey.audiences, sizes, strict=True))


def held_out(identity: Bytes, target: Target) -> NDArray[np.bool_]:
    """Who is in the holdout: a share of people, the same ones whenever and wherever it is asked."""
    if not target.holdout:
        return np.zeros(len(identity), dtype=np.bool_)
    salt = np.uint64(int.from_bytes(sha256(target.audience.encode()).digest()[:8], "big"))
    mixed = (leading(identity) ^ salt) * np.uint64(0x9E3779B97F4A7C15)
    share = (mixed >> np.uint64(11)).astype(np.float64) / 2**53
    return np.asarray(share < target.holdout, dtype=np.bool_)


def _held_members(held: Lines) -> int:
    return int(held.alive[held.starts].sum())
