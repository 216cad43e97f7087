"""Takes people off one list outside a run's batches: those who withdrew (L11), or everybody.

Identifiers only and idempotent, so that after a crash it is simply made again; the transfer log
names the operation `withdraw`, or the one that the remover is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import cast

import numpy as np

from audience_sync.connector import Connector, Receipt
from audience_sync.errors import AudienceSyncError, PartnerError, RefusedError
from audience_sync.identifiers.kinds import Kind
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.log import Event, TransferLine
from audience_sync.ledger.records.runs import (
    Batch,
    BatchState,
    Operation,
    RemoteList,
    Run,
    RunState,
)
from audience_sync.members import Members
from audience_sync.membership.digests import Bytes, Mask, match, rows_at
from audience_sync.membership.held import Membership
from audience_sync.membership.lines import Lines, join
from audience_sync.membership.outbox import Outbox
from audience_sync.runs.answers import of_members
from audience_sync.runs.faults import faults_of
from audience_sync.runs.holding import (
    NOBODY,
    carried,
    filled,
    united,
    without,
)
from audience_sync.runs.leases import Held
from audience_sync.runs.link import Link
from audience_sync.runs.sending import send_batches
from audience_sync.runs.transfer import Transfer

OPERATION = "withdraw"
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


@dataclass(frozen=True)
class _InMemory:
    """What `Transfer` asks of an outbox."""

    batches: Sequence[Lines]

    def batch(self, position: int) -> Lines:
        return self.batches[position]


@dataclass(frozen=True, kw_only=True)
class _Removing(Transfer):
    """Transfers of no run: what the log has of them is all that is kept."""

    operation: str

    def _line(self, event: Event, batch: Batch, members: Members) -> TransferLine:
        return replace(super()._line(event, batch, members), operation=self.operation)

    def _permit(self) -> None:
        """The list's own lease may be another's: a removal does not need it."""
        self.held.confirm(self.lease_name)

    def _write(
        self,
        entries: Sequence[tuple[TransferLine | None, Batch]],
        known: int | None = None,
    ) -> None:
        lines = [line for line, _ in entries if line is not None]
        self.ledger.record(lines, (), self.held[self.lease_name], withdrawals=known)


@dataclass(frozen=True)
class Removed:
    """What the partner answered: references that wait, members that stayed, when to ask.

    Where the list was `emptied` everybody was taken off; it is `gone` where it was deleted.
    """

    run: str
    pending: tuple[str, ...] = ()
    stayed: Lines | None = None
    wait: float | None = None  # seconds until asking is worth while
    emptied: bool = False
    gone: bool = False


@dataclass(frozen=True, kw_only=True)
class Remover:
    """Sends removals to lists, and tells partners of withdrawals who want to know.

    In the transfer log they stand under the id of a `run`, or under one of their own.
    """

    ledger: Ledger
    now: Callable[[], datetime] = field(repr=False)
    run: str | None = None
    operation: str = OPERATION
    announces: bool = True  # whether whoever is taken off withdrew, which partners may want to know

    @property
    def name(self) -> str:
        """What the next removal is called in the transfer log."""
        return self.run or "w" + self.ledger.new_run_id()[1:]

    def remove(
        self, link: Link, remote: RemoteList, lines: Sequence[Lines], held: Held, lease: str
    ) -> Removed:
        """Take identifiers off a list; the error of a partner that does not is raised, logged."""
        run = Run(
            id=self.name,
            audience=remote.audience,
            destination=remote.destination,
            state=RunState.DELIVERING,
            planned_at=self.now(),
            forms=remote.forms,
        )
        limits = link.connector.limits
        cuts = cut(lines, limits.members_per_request)
        batches = [
            Batch(run=run.id, position=at, operation=Operation.REMOVE, members=len(part.starts))
            for at, part in enumerate(cuts)
        ]
        transfer = _Removing(
            ledger=self.ledger,
            run=run,
            link=link,
            remote_id=remote.remote_id or "",
            outbox=cast("Outbox", _InMemory(cuts)),
            held=held,
            held_forms=remote.forms,
            now=self.now,
            lease=lease,
            operation=self.operation,
        )
        answered: list[Batch] = []
        try:
            send_batches(transfer, batches, limits, answered.append)
        except RefusedError:  # the list keeps them, and what else the partner can do it may do
            with suppress(PartnerError):
                self._announce_all(link, run, remote, cuts, held, lease)
            raise
        self._announce_all(link, run, remote, cuts, held, lease)
        return _removed(run.id, answered, cuts, max(transfer.waits, default=None))

    def _announce_all(
        self,
        link: Link,
        run: Run,
        remote: RemoteList,
        cuts: Sequence[Lines],
        held: Held,
        lease: str,
    ) -> None:
        """Tell a partner that has a use for it, of people whom it knows from us."""
        if self.announces and type(link.connector).withdraw is not Connector.withdraw:
            for part in cuts:
                self._announce(link, run, remote, part, held, lease)

    def _announce(
        self, link: Link, run: Run, remote: RemoteList, lines: Lines, held: Held, lease: str
    ) -> None:
        connector = link.connector
        members, recipient = lines.members(), connector.recipient
        line = TransferLine(
            event=Event.INTENT,
            run=run.id,
            audience=remote.audience,
            destination=remote.destination,
            recipient=recipient.name,
            recipient_country=recipient.country,
            purpose=link.purpose,
            operation=f"{OPERATION} everywhere",
            sent=len(members),
            attempts=1,
            started_at=self.now(),
        )
        self.ledger.record([line], (), held[lease])
        receipt, note = None, "the partner needs nothing more"
        with link.recording() as exchange:
            try:
                with faults_of(connector.name):
                    receipt = connector.withdraw(members)
            except AudienceSyncError as error:
                failed = replace(line, unattributed=line.sent, note=f"failed: {error}")
                self.ledger.record([self._outcome(failed)], (), held[lease])
                raise
        told = receipt or Receipt(accepted=0)
        ended = replace(
            line,
            sent=told.sent,
            accepted=told.accepted,
            rejected=len(told.rejected),
            unattributed=told.unattributed,
            reference=told.reference,
            status=exchange.status,
            code=exchange.code,
            body_sha256=exchange.body_sha256,
            note=note if receipt is None else told.reason,
        )
        self.ledger.record([self._outcome(ended)], (), held[lease])

    def _outcome(self, line: TransferLine) -> TransferLine:
        return replace(line, event=Event.OUTCOME, finished_at=self.now())


def _removed(
    run: str, answered: Sequence[Batch], cuts: Sequence[Lines], wait: float | None
) -> Removed:
    stayed = [
        cuts[batch.position]
        if batch.unattributed
        else cuts[batch.position].take(of_members(cuts[batch.position], batch.rejected_positions))
        for batch in answered
        if batch.unattributed or batch.rejected_positions
    ]
    pending = tuple(
        batch.reference
        for batch in answered
        if batch.state is BatchState.PENDING and batch.reference is not None
    )
    return Removed(run, pending, join(stayed) if stayed else None, wait)
