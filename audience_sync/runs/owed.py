"""Removals that a run owes to people and that its partner refuses: the run escalates, too.

Owed is the removal of whoever may not be shared any more: who refused, was erased or closed the
account, or was on the list for too long. Whom only the audience's own conditions leave out may
stay until the partner takes it off. Nobody looks into an outbox for the reasons: a run whose plan
counted any such member escalates, whichever of its removals was refused.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from audience_sync.errors import ConfigurationError, RefusedError
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.runs import (
    Batch,
    BatchState,
    Operation,
    RemoteList,
    Run,
    RunState,
)
from audience_sync.membership.held import Manifest, Membership
from audience_sync.runs.answers import ANSWERED
from audience_sync.runs.batch_states import UnaccountedError
from audience_sync.runs.escalation import REFUSALS, Escalation
from audience_sync.runs.late_refusals import LateRefusals
from audience_sync.runs.leases import Held
from audience_sync.runs.link import Link
from audience_sync.runs.removal import Remover
from audience_sync.runs.settle import Settlement
from audience_sync.runs.taken_away import OF_RUNS

_WHOM = "people who may not stay"
_GONE = (
    "so the list was deleted with all who were on it, as on_refused_removal says, "
    "and the next sync makes another for everybody who may be on it"
)
_EMPTIED = (
    "so everybody was taken off the list, as on_refused_removal says, "
    "and the next sync adds all who may be on it"
)
_LATER = (
    "so the partner was asked to take everybody off the list, as on_refused_removal says, "
    "and the next sync sends all who may be on it again"
)
_STAYED = (
    "so everybody was to be taken off, as on_refused_removal says, and the partner did not take "
    "all of them off; the next sync asks again"
)
_NEITHER = "what on_refused_removal says failed, too: {}; the next sync asks again"


@dataclass(frozen=True, kw_only=True)
class Owed:
    """Does what the project file decides, under the list's own lease."""

    settlement: Settlement
    escalation: Escalation

    @property
    def _ledger(self) -> Ledger:
        return self.settlement.ledger

    def concerns(self, run: Run, error: RefusedError) -> bool:
        """Whether a partner's refusal was of a removal, in a run that owes one.

        Additions follow the last removal, so that none was sent; where one was, nobody knows who
        is on the list.
        """
        if not run.delta.get("must_leave") or isinstance(error, UnaccountedError):
            return False
        batches = self._ledger.batches(run.id)
        sent = any(batch.attempts for batch in batches if batch.operation is Operation.ADD)
        words = str(error)
        return not sent and any(batch.error == words for batch in _unremoved(batches))

    def refused(self, run: Run) -> Batch | None:
        """The removal that the partner refused before the run was interrupted."""
        failed = (
            batch
            for batch in _unremoved(self._ledger.batches(run.id))
            if batch.state is BatchState.FAILED
        )
        return next(failed, None)

    def refused_late(self, run: Run) -> str | None:
        """Why a removal is of no use, which the partner took several times and refused later.

        None where it is to be tried, or where a person decides what becomes of the list.
        """
        if not run.delta.get("must_leave") or not self.escalation.decided(self._remote(run)):
            return None
        late = LateRefusals.before(run, self._ledger)
        return late.reason if late.since >= REFUSALS else None

    def refuse_again(self, run: Run, held: Held) -> None:
        """Raise what the partner refused before; its run ends, and sends nothing more."""
        batch = self.refused(run) or self._given_up(run, held)
        if batch is not None:
            raise RefusedError(batch.error or "the partner refused a removal")

    def _given_up(self, run: Run, held: Held) -> Batch | None:
        """The first removal of a run that sends none, once that is on record."""
        waiting = _unremoved(self._ledger.batches(run.id))
        if not waiting or any(batch.attempts for batch in waiting):
            return None
        reason = self.refused_late(run)
        if reason is None:
            return None
        batch = replace(waiting[0], state=BatchState.FAILED, error=reason)
        self._ledger.record([], [batch], held[run.lease_name])
        return batch

    def escalate(self, run: Run, link: Link, error: RefusedError, held: Held) -> str:
        """What became of the list, and what comes next; our membership is true then.

        Everybody is in doubt before the partner is asked for anything: whoever stops us, nobody
        is forgotten who may be on the list, nor taken for held who may be off it. Raises the
        error of a partner that cannot answer now; called again, it does all of it again.
        """
        remote = self._remote(run)
        decided = self.escalation.decided(remote)
        if decided:
            self.settlement.doubts.all_held(run, held)
            remote = self._remote(run)
        remover = Remover(
            ledger=self._ledger,
            now=self.escalation.now,
            run=run.id,
            operation=OF_RUNS,
            announces=False,
        )
        where = self.settlement.location, self.settlement.keyring, Manifest.of(remote.manifest)
        what = remover, link, remote, Membership(*where), error, held, run.lease_name
        try:
            empties = LateRefusals.before(run, self._ledger).in_all < 2 * REFUSALS
            removed = self.escalation.escalate(*what, whom=_WHOM, empties=empties)
        except (RefusedError, ConfigurationError) as final:
            return f"{error}; {_NEITHER.format(final)}" if decided else str(final)
        if removed.stayed is not None:
            return f"{error}; {_STAYED}"
        if removed.pending or (self._comes_late(run) and not removed.gone):
            return f"{error}; {_LATER}"
        self.settlement.empty(run, held, gone=removed.gone)
        return f"{error}; {_GONE if removed.gone else _EMPTIED}"

    def outcome(self, run: Run) -> str | None:
        """The same of a run that was interrupted after its membership was settled."""
        remote, left = self._remote(run), _unremoved(self._ledger.batches(run.id))
        told = next((batch.error for batch in left if batch.error), None)
        if told is None or remote.members:
            return None
        return f"{told}; {_GONE if remote.remote_id is None else _EMPTIED}"

    def _comes_late(self, run: Run) -> bool:
        """Whether the partner is still at work on what an earlier run added, perhaps."""
        states = [RunState.DELIVERED]
        return bool(
            self._ledger.runs(audience=run.audience, destination=run.destination, states=states)
        )

    def _remote(self, run: Run) -> RemoteList:
        return self._ledger.remote_list(run.audience, run.destination)


def _unremoved(batches: list[Batch]) -> list[Batch]:
    """Removals without an answer that counts."""
    return [b for b in batches if b.operation is Operation.REMOVE and b.state not in ANSWERED]
