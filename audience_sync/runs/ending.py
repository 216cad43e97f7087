"""How a run ends: after its last batch, or before, when it was refused or given up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from audience_sync.errors import (
    AudienceSyncError,
    AwayError,
    BusyError,
    PartnerError,
    RefusedError,
    StateError,
    TemporaryPartnerError,
)
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.runs import BatchState, Operation, Run, RunState
from audience_sync.membership.location import StateLocation
from audience_sync.membership.outbox import Outbox, destroy_outbox
from audience_sync.membership.sealed import Keyring
from audience_sync.runs.answers import ANSWERED
from audience_sync.runs.escalation import Escalation
from audience_sync.runs.faults import faults_of
from audience_sync.runs.following import following_folder
from audience_sync.runs.forget import cure
from audience_sync.runs.leases import Held
from audience_sync.runs.link import Link
from audience_sync.runs.lists import Lists
from audience_sync.runs.owed import Owed
from audience_sync.runs.settle import Settlement
from audience_sync.runs.unanswered import note_unknown
from audience_sync.runs.whole import STRANGERS, drop_stale

_TRY_AGAIN = 300.0  # seconds, where the partner named no time
_STOPPED = "the delivery was given up before its end; the next sync sends the rest"
_STAYED = "the partner did not take {:,} members off; the next sync asks again"
_LOST = "its outbox cannot be read, so everybody it may have reached is sent again or removed"
_ALL_LOST = (
    "neither its outbox nor its plan can be read, so whom only this run sent is not known any "
    "more; empty the list at the partner by hand and sync again"
)


@dataclass(frozen=True, kw_only=True)
class Ending:
    """Ends runs; what was accepted becomes the membership, however a run ends."""

    ledger: Ledger
    location: StateLocation
    keyring: Keyring
    settlement: Settlement
    escalation: Escalation
    now: Callable[[], datetime]

    def end(self, run: Run, link: Link, wait: float, held: Held) -> Run:
        """End a run whose batches were all sent; `wait` seconds until its partner is asked."""
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
            note_unknown(self.ledger, run, lease, self.now())
            batches = self.ledger.batches(run.id)
            if any(batch.attempts or batch.state is BatchState.FAILED for batch in batches):
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

    def _cure(self, run: Run, link: Link) -> str:
        """What to add to a refusal when the partner does not know our list any more."""
        remote = self.ledger.remote_list(run.audience, run.destination)
        if remote.remote_id is None or not self.lists.arrived(remote, run):
            return ""
        try:
            with faults_of(link.connector.name, TemporaryPartnerError):
                link.connector.statistics(remote.remote_id)
        except RefusedError:
            return f"; {cure(run.audience, run.destination)}"
        except AudienceSyncError:
            pass  # nobody knows, so nothing is advised
        return ""

    def postpone(self, run: Run, error: AudienceSyncError) -> None:
        """Note why a delivery does not go on, and when it is tried again without a person."""
        pause = getattr(error, "retry_after", None) or _TRY_AGAIN
        later = self.now() + timedelta(seconds=pause)
        temporary = isinstance(error, TemporaryPartnerError)
        self.ledger.change_run(
            run.id, reason=str(error), next_attempt_at=later if temporary else None
        )

    @property
    def owed(self) -> Owed:
        """What happens where a partner refuses removals that people have a right to."""
        return Owed(settlement=self.settlement, escalation=self.escalation)

    def outbox(self, run: Run) -> Outbox:
        """What the run sends; a StateError that names the way out where it cannot be read."""
        try:
            return Outbox(self.location, self.keyring, run.id, run.outbox)
        except StateError as error:
            lost = str(error)
        raise StateError(f"{lost}; if that is lost, `audience-sync cancel {run.id}` ends the run")

    def settled(self, run: Run) -> bool:
        """Whether the membership is already what the run made of it."""
        remote = self.ledger.remote_list(run.audience, run.destination)
        return bool(remote.manifest.get("run") == run.id)

    @property
    def lists(self) -> Lists:
        """What makes lists at partners and finds them again."""
        return Lists(self.ledger, self.now)
