"""Deliver a planned run from its outbox, as far as its partner lets us now."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from audience_sync.errors import (
    AudienceSyncError,
    BusyError,
    ConfigurationError,
    RefusedError,
    StateError,
)
from audience_sync.ledger.records.runs import Run, RunState
from audience_sync.membership.outbox import Outbox
from audience_sync.runs.ending import Ending
from audience_sync.runs.faults import faults_of
from audience_sync.runs.generations import planned_on
from audience_sync.runs.leases import Held
from audience_sync.runs.link import Link
from audience_sync.runs.progress import Progress
from audience_sync.runs.screen import Screen
from audience_sync.runs.sending import OPEN, send_batches
from audience_sync.runs.standing import Standing
from audience_sync.runs.transfer import Transfer
from audience_sync.runs.unanswered import note_unknown
from audience_sync.runs.whole import starts_afresh

_POLL_AFTER = 1800.0  # seconds, where the connector named no time


@dataclass(frozen=True, kw_only=True)
class Deliverer(Ending):
    """Delivers runs; the ledger knows how far each batch is, so it can be called again."""

    progress: Progress

    def deliver(self, run: Run, link: Link, adopted: str | None, held: Held) -> Run:
        """Send what has no answer yet; the run as it stands then.

        A partner that cannot answer now leaves the run `delivering`, to be resumed; a refusal ends
        it as `failed`, with what was accepted in the membership.
        """
        run = self.begin(run, held)
        wait = _POLL_AFTER
        try:
            outbox = None if self.settled(run) else self.outbox(run)
            if outbox is not None:
                self.owed.refuse_again(run, held)
                remote_id = self.ensure_list(run, link, adopted, held)
                wait = self._send(run, link, remote_id, outbox, held)
        except RefusedError as error:
            return self.refused(run, link, error, held)
        except (BusyError, StateError):
            raise
        except AudienceSyncError as error:
            self.postpone(run, error)
            raise
        if outbox is not None:
            self._conclude(run, remote_id, outbox, held)
        return self.end(run, link, wait, held)

    def send_part(self, transfer: Transfer, positions: range, at_once: int) -> float | None:
        """Send some batches of a run; seconds until polling is worth while, where it is at all.

        The run was begun, and its list ensured, by whoever sends the other parts too.
        """
        lease = transfer.held[transfer.lease_name]
        note_unknown(self.ledger, transfer.run, lease, self.now(), positions)
        batches = self.ledger.batches(transfer.run.id, positions)
        limits = transfer.link.connector.limits
        fewer = replace(limits, parallel_uploads=min(limits.parallel_uploads, at_once))
        send_batches(transfer, batches, fewer, lambda _batch: None)
        return max(transfer.waits, default=None)

    def close(self, run: Run, link: Link, remote_id: str, wait: float | None, held: Held) -> Run:
        """Put what was accepted into the membership once every batch was sent, and end the run."""
        if not self.settled(run):
            self._conclude(run, remote_id, self.outbox(run), held)
        return self.end(run, link, _POLL_AFTER if wait is None else wait, held)

    def _conclude(self, run: Run, remote_id: str, outbox: Outbox, held: Held) -> None:
        self.settlement.settle(run, outbox, held)
        self._completed(run, remote_id, held)

    def refuse_outdated(self, run: Run) -> None:
        """A ConfigurationError when the membership is not the one that the run was planned on."""
        remote = self.ledger.remote_list(run.audience, run.destination)
        if not planned_on(run, remote) and not self.settled(run):
            raise ConfigurationError(
                f"the membership of {run.audience} at {run.destination} has changed since run "
                f"{run.id} was planned; cancel it and plan again"
            )

    def begin(self, run: Run, held: Held) -> Run:
        """Let a run be delivered: what was under way when somebody stopped counts as unknown."""
        lease = held[run.lease_name]
        self.refuse_outdated(run)
        begun = self.ledger.move_run(
            run.id,
            RunState.DELIVERING,
            expect=[RunState.PLANNED, RunState.HELD, RunState.DELIVERING],
            lease=lease,
            started_at=run.started_at or self.now(),
            next_attempt_at=None,
        )
        note_unknown(self.ledger, begun, lease, self.now())
        return begun

    def ensure_list(self, run: Run, link: Link, adopted: str | None, held: Held) -> str:
        """See `Lists.ensure`."""
        return self.lists.ensure(run, link, adopted, held)

    def _completed(self, run: Run, remote_id: str, held: Held) -> None:
        """A list got further parts: nobody is surely on these, so everybody is sent again.

        The id is saved last; after a crash in between the parts are found again.
        """
        if self.ledger.remote_list(run.audience, run.destination).remote_id != remote_id:
            self.settlement.doubts.everybody(run, held)
            remote = self.ledger.remote_list(run.audience, run.destination)
            found = replace(remote, remote_id=remote_id)
            self.lists.save(found, remote.generation, run, held)

    def transfer(
        self,
        run: Run,
        link: Link,
        remote_id: str,
        outbox: Outbox,
        held: Held,
        *,
        lease: str | None = None,
    ) -> Transfer:
        """What sends batches of a run; `lease` fences what it writes, else the list's own."""
        remote = self.ledger.remote_list(run.audience, run.destination)
        return Transfer(
            ledger=self.ledger,
            run=run,
            link=link,
            remote_id=remote_id,
            outbox=outbox,
            held=held,
            held_forms=remote.forms,
            now=self.now,
            afresh=starts_afresh(remote, self.ledger.batches(run.id)),
            lease=lease,
            screen=Screen(self.standing, run.withdrawals, link.connector.name),
        )

    @property
    def standing(self) -> Standing:
        """The withdrawals, whose people no addition may bring."""
        return Standing(self.ledger, self.location, self.keyring)

    def _send(self, run: Run, link: Link, remote_id: str, outbox: Outbox, held: Held) -> float:
        batches = self.ledger.batches(run.id)
        transfer = self.transfer(run, link, remote_id, outbox, held)
        total = sum(batch.members for batch in batches if batch.state in OPEN)
        advance = self.progress.stage(f"Delivering {run.audience} to {run.destination}", total)
        with _opened(link, remote_id):
            send_batches(transfer, batches, link.connector.limits, lambda b: advance(b.members))
        return max(transfer.waits, default=_POLL_AFTER)


@contextmanager
def _opened(link: Link, remote_id: str) -> Iterator[None]:
    """The connector between `open` and `close`; of two errors the first one counts."""
    connector = link.connector
    with faults_of(connector.name):
        connector.open(remote_id)
    try:
        yield
    except BaseException:
        with suppress(AudienceSyncError), faults_of(connector.name):
            connector.close(remote_id)
        raise
    with faults_of(connector.name):
        connector.close(remote_id)
