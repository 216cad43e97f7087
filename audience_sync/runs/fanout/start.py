"""Begins the plan of many lists as a job, which any number of workers then do together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from audience_sync.customers.source import open_source
from audience_sync.customers.table import Split
from audience_sync.errors import AudienceSyncError, BusyError
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.work import Job, Lease
from audience_sync.membership.digests import partitions_for
from audience_sync.runs.fanout.coordinator import Coordinator, holder_of
from audience_sync.runs.fanout.kinds import PieceRef
from audience_sync.runs.fanout.planning import KIND, PlanStages
from audience_sync.runs.fanout.stages import READ, Wanted
from audience_sync.runs.leases import Held, take_after_lane
from audience_sync.runs.outcome import Outcome
from audience_sync.runs.sync import Pipeline
from audience_sync.runs.targets import Selection, Target


@dataclass(frozen=True, kw_only=True)
class Begun:
    """What became of the lists at the start: those left out, and the pieces to be woken."""

    left_out: Sequence[Outcome]
    wake: Sequence[PieceRef]


@dataclass(frozen=True, kw_only=True)
class Starter:
    """Takes the leases of the lists for a new job, clears what was before, and writes the job."""

    ledger: Ledger
    pipeline: Pipeline
    coordinator: Coordinator
    stages: PlanStages
    alive: Callable[[str], bool]
    now: Callable[[], datetime]

    def splits(self, selection: Selection, targets: Sequence[Target], rows: int) -> list[Split]:
        """The parts of about so many rows that the source can be read in."""
        wheres = {t.audience: t.where for t in targets if t.where is not None}
        return open_source(selection.source).splits(rows, wheres)

    def begin(
        self,
        selection: Selection,
        targets: Sequence[Target],
        splits: Sequence[Split],
        partitions: int | None = None,
    ) -> Begun:
        """Begin; lists that another run works on are left out, with a BusyError.

        An interrupted delivery is left out too: it is gone on with first.
        """
        job = "j" + self.ledger.new_run_id()[1:]
        left_out: list[Outcome] = []
        leases = self._taken(job, targets, left_out)
        try:
            wake = self._begun(job, selection, targets, splits, partitions, leases, left_out)
        except BaseException:
            if not self.ledger.jobs(prefix=job):
                for lease in leases.values():
                    self.ledger.release_lease(lease)
            raise
        return Begun(left_out=left_out, wake=wake)

    def _begun(
        self,
        job: str,
        selection: Selection,
        targets: Sequence[Target],
        splits: Sequence[Split],
        partitions: int | None,
        leases: dict[str, Lease],
        left_out: list[Outcome],
    ) -> Sequence[PieceRef]:
        with Held(self.ledger, {}, borrowed=leases) as held:
            free = [
                target
                for target in targets
                if target.name in leases and self._cleared(target, held, leases, left_out)
            ]
        if not free:
            return ()
        wanted = Wanted(selection, free)
        rows = open_source(selection.source).count()
        cut = partitions or partitions_for(rows or len(splits) * 1_000_000)
        spec = self.stages.spec(wanted, splits, cut)
        now = self.now()
        written = Job(
            id=job,
            kind=KIND,
            stage=READ,
            spec=spec,
            leases={name: lease.token for name, lease in leases.items()},
            created_at=now,
            changed_at=now,
        )
        return self.coordinator.begin(written, self.stages.pieces(wanted, splits))

    def _taken(
        self, job: str, targets: Sequence[Target], left_out: list[Outcome]
    ) -> dict[str, Lease]:
        leases = {}
        for target in targets:
            try:
                leases[target.name] = take_after_lane(
                    self.ledger, target.name, holder_of(job), self.alive
                )
            except BusyError as error:
                left_out.append(_left_out(target, error))
        return leases

    def _cleared(
        self, target: Target, held: Held, leases: dict[str, Lease], left_out: list[Outcome]
    ) -> bool:
        outcomes: dict[str, Outcome] = {}
        if self.pipeline.clear(target, held, outcomes, deliver=False):
            return True
        self.ledger.release_lease(leases.pop(target.name))
        left_out.append(outcomes[target.name])
        return False


def _left_out(target: Target, error: AudienceSyncError) -> Outcome:
    return Outcome(audience=target.audience, destination=target.destination, error=error)
