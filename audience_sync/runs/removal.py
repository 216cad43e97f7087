"""Takes people off one list outside a run's batches: those who withdrew (L11), or everybody.

Identifiers only and idempotent, so that after a crash it is simply made again; the transfer log
names the operation `withdraw`, or the one that the remover is given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import cast

from audience_sync.connector import Connector
from audience_sync.errors import PartnerError, RefusedError
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
from audience_sync.membership.lines import Lines, join
from audience_sync.membership.outbox import Outbox
from audience_sync.runs.announcing import OPERATION, Announcer
from audience_sync.runs.answers import of_members
from audience_sync.runs.departing import cut
from audience_sync.runs.leases import Held
from audience_sync.runs.link import Link
from audience_sync.runs.sending import send_batches
from audience_sync.runs.transfer import Transfer


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

    def named(self) -> Remover:
        """The same with one name for all that it does."""
        return replace(self, run=self.name)

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
            announcer = Announcer(self.ledger, link, run, remote, self.now)
            for part in cuts:
                announcer.tell(part, held, lease)


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
