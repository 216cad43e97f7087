"""Deliver a planned run from its outbox, and what to do when it cannot be finished now."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from audience_sync.errors import (
    AudienceSyncError,
    AwayError,
    BusyError,
    ConfigurationError,
    PartnerError,
    RefusedError,
    StateError,
    TemporaryPartnerError,
)
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.runs import BatchState, Operation, Run, RunState
from audience_sync.ledger.records.work import Lease
from audience_sync.membership.location import StateLocation
from audience_sync.membership.outbox import Outbox, destroy_outbox
from audience_sync.membership.sealed import Keyring
from audience_sync.runs.answers import ANSWERED
from audience_sync.runs.escalation import Escalation
from audience_sync.runs.faults import faults_of
from audience_sync.runs.following import following_folder
from audience_sync.runs.forget import cure
from audience_sync.runs.generations import planned_on
from audience_sync.runs.leases import Held
from audience_sync.runs.link import Link
from audience_sync.runs.lists import Lists
from audience_sync.runs.owed import Owed
from audience_sync.runs.progress import Progress
from audience_sync.runs.screen import Screen
from audience_sync.runs.sending import OPEN, send_batches
from audience_sync.runs.settle import Settlement
from audience_sync.runs.standing import Standing
from audience_sync.runs.transfer import Transfer, unknown_lines
from audience_sync.runs.whole import STRANGERS, drop_stale, starts_afresh

_TRY_AGAIN = 300.0  # seconds, where the partner named no time
_STOPPED = "the delivery was given up before its end; the next sync sends the rest"
_STAYED = "the partner did not take {:,} members off; the next sync asks again"
_LOST = "its outbox cannot be read, so everybody it may have reached is sent again or removed"
_ALL_LOST = (
    "neither its outbox nor its plan can be read, so whom only this run sent is not known any "
    "more; empty the list at the partner by hand and sync again"
)
_POLL_AFTER = 1800.0  # seconds, where the connector named no time


@dataclass(frozen=True, kw_only=True)
class Deliverer:
    """Delivers runs; the ledger knows how far each batch is, so it can be called again."""

    ledger: Ledger
    location: StateLocation
    keyring: Keyring
    settlement: Settlement
    escalation: Escalation
    now: Callable[[], datetime]
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
                self.owed.refuse_again(run)
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
        return self._end(run, link, wait, held)

    def send_part(self, transfer: Transfer, positions: range, at_once: int) -> float | None:
        """Send some batches of a run; seconds until polling is worth while, where it is at all.

        The run was begun, and its list ensured, by whoever sends the other parts too.
        """
        lease = transfer.held[transfer.lease_name]
        self._note_unknown(transfer.run, lease, positions)
        batches = self.ledger.batches(transfer.run.id, positions)
        limits = transfer.link.connector.limits
        fewer = replace(limits, parallel_uploads=min(limits.parallel_uploads, at_once))
        send_batches(transfer, batches, fewer, lambda _batch: None)
        return max(transfer.waits, default=None)

    def close(self, run: Run, link: Link, remote_id: str, wait: float | None, held: Held) -> Run:
        """Put what was accepted into the membership once every batch was sent, and end the run."""
        if not self.settled(run):
            self._conclude(run, remote_id, self.outbox(run), held)
        return self._end(run, link, _POLL_AFTER if wait is None else wait, held)

    def postpone(self, run: Run, error: AudienceSyncError) -> None:
        """Note why a delivery does not go on, and when it is tried again without a person."""
        pause = getattr(error, "retry_after", None) or _TRY_AGAIN
        later = self.now() + timedelta(seconds=pause)
        temporary = isinstance(error, TemporaryPartnerError)
        self.ledger.change_run(
            run.id, reason=str(error), next_attempt_at=later if temporary else None
        )

    def _conclude(self, run: Run, remote_id: str, outbox: Outbox, held: Held) -> None:
        self.settlement.settle(run, outbox, held)
        self._completed(run, remote_id, held)

    @property
    def owed(self) -> Owed:
        """What happens where a partner refuses removals that people have a right to."""
        return Owed(settlement=self.settlement, escalation=self.escalation)

    def refused(self, run: Run, link: Link, error: RefusedError, held: Held) -> Run:
        """End a run that its partner refused; see `Owed` for removals that people have a right to.

        A partner that cannot answer meanwhile leaves the run `delivering`, as `deliver` does.
        """
        if not self.owed.concerns(run, error):
            return self.give_up(run, RunState.FAILED, f"{error}{self._cure(run, link)}", held)
        try:
            reason = self.owed.escalate(run, link, error, held)
        except (BusyError, StateError):
            raise
        except AudienceSyncError as stopped:
            self.postpone(run, stopped)
            raise
        return self.give_up(run, RunState.FAILED, reason, held)

    def give_up(self, run: Run, to: RunState, reason: str | None, held: Held) -> Run:
        """End a run before its end: what was accepted counts, the rest is planned anew."""
        lease = held[run.lease_name]
        if run.state is RunState.DELIVERING and not self.settled(run):
            self._note_unknown(run, lease)
            if any(batch.attempts for batch in self.ledger.batches(run.id)):
                lost = self._settle(run, held)
                reason = "; ".join(text for text in (reason, lost) if text) or None
        ended = self.ledger.move_run(
            run.id,
            to,
            expect=[run.state],
            lease=lease,
            reason=reason,
            finished_at=self.now(),
            next_attempt_at=None,
        )
        destroy_outbox(self.location, run.id)
        if not self.settled(run):
            self.location.delete(following_folder(run))
        return ended

    def _cure(self, run: Run, link: Link) -> str:
        """What to add to a refusal when the partner does not know our list any more."""
        remote = self.ledger.remote_list(run.audience, run.destination)
        if remote.remote_id is None or not self._lists.arrived(remote, run):
            return ""
        try:
            with faults_of(link.connector.name, TemporaryPartnerError):
                link.connector.statistics(remote.remote_id)
        except RefusedError:
            return f"; {cure(run.audience, run.destination)}"
        except AudienceSyncError:
            pass  # nobody knows, so nothing is advised
        return ""

    def outbox(self, run: Run) -> Outbox:
        """What the run sends; a StateError that names the way out where it cannot be read."""
        try:
            return Outbox(self.location, self.keyring, run.id, run.outbox)
        except StateError as error:
            lost = str(error)
        raise StateError(f"{lost}; if that is lost, `audience-sync cancel {run.id}` ends the run")

    def _settle(self, run: Run, held: Held) -> str | None:
        """Put what was accepted into the membership; what to say when the outbox is lost."""
        try:
            outbox = Outbox(self.location, self.keyring, run.id, run.outbox)
            self.settlement.settle(run, outbox, held)
        except AwayError:
            raise  # nothing is lost; it is read when it answers again
        except StateError:
            return _LOST if self.settlement.doubts.everybody(run, held) else _ALL_LOST
        return None

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
        self._note_unknown(begun, lease)
        return begun

    def _note_unknown(self, run: Run, lease: Lease, positions: range | None = None) -> None:
        """Log each intent without an answer as unknown; its batch waits to be sent again.

        Of the batches at some positions only, where other workers are at the others.
        """
        stuck = [
            replace(batch, state=BatchState.UNKNOWN)
            for batch in self.ledger.batches(run.id, positions)
            if batch.state is BatchState.SENDING
        ]
        if stuck or positions is None:
            lines = unknown_lines(self.ledger, run, self.now())
            mine = [one for one in lines if positions is None or one.batch in positions]
            if mine or stuck:
                self.ledger.record(mine, stuck, lease)

    def settled(self, run: Run) -> bool:
        """Whether the membership is already what the run made of it."""
        remote = self.ledger.remote_list(run.audience, run.destination)
        return bool(remote.manifest.get("run") == run.id)

    @property
    def _lists(self) -> Lists:
        return Lists(self.ledger, self.now)

    def ensure_list(self, run: Run, link: Link, adopted: str | None, held: Held) -> str:
        """See `Lists.ensure`."""
        return self._lists.ensure(run, link, adopted, held)

    def _completed(self, run: Run, remote_id: str, held: Held) -> None:
        """A list got further parts: nobody is surely on these, so everybody is sent again.

        The id is saved last; after a crash in between the parts are found again.
        """
        if self.ledger.remote_list(run.audience, run.destination).remote_id != remote_id:
            self.settlement.doubts.everybody(run, held)
            remote = self.ledger.remote_list(run.audience, run.destination)
            found = replace(remote, remote_id=remote_id)
            self._lists.save(found, remote.generation, run, held)

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

    def _end(self, run: Run, link: Link, wait: float, held: Held) -> Run:
        batches = self.ledger.batches(run.id)
        states = {batch.state for batch in batches}
        if not states <= ANSWERED:  # given up before, and stopped before that was on record
            return self.give_up(run, RunState.FAILED, self.owed.outcome(run) or _STOPPED, held)
        pending = BatchState.PENDING in states
        removals = [batch for batch in batches if batch.operation is Operation.REMOVE]
        stayed = sum(batch.rejected + batch.unattributed for batch in removals)
        reason = _STAYED.format(stayed) if stayed else self._dropped_stale(run, link, held)
        ended = self.ledger.move_run(
            run.id,
            RunState.DELIVERED if pending else RunState.CONFIRMED,
            expect=[RunState.DELIVERING],
            lease=held[run.lease_name],
            reason=reason,
            finished_at=self.now(),
            next_attempt_at=self.now() + timedelta(seconds=wait) if pending else None,
        )
        if not pending:
            destroy_outbox(self.location, run.id)
        return ended

    def _dropped_stale(self, run: Run, link: Link, held: Held) -> str | None:
        """Ask that whoever else is on the list leaves; what to say where that failed."""
        try:
            drop_stale(self.ledger, run, link, self.now, held)
        except PartnerError as error:
            return STRANGERS.format(error)
        return None


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
