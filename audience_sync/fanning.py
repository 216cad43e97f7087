"""Puts together what lets many workers share one sync: jobs that plan, jobs that deliver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, cast

from audience_sync.errors import AudienceSyncError, BusyError
from audience_sync.holder import alive, this_process
from audience_sync.ledger.records.runs import Run
from audience_sync.ledger.records.work import Job, JobState
from audience_sync.runs.due import is_due
from audience_sync.runs.fanout import delivering, planning
from audience_sync.runs.fanout.coordinator import Coordinator, holder_of
from audience_sync.runs.fanout.delivering import CancelledError, DeliveryStages, job_of
from audience_sync.runs.fanout.kinds import PieceRef, Worked
from audience_sync.runs.fanout.planning import PlanStages
from audience_sync.runs.fanout.stages import Wanted
from audience_sync.runs.fanout.start import Starter
from audience_sync.runs.leases import LEASE_SECONDS
from audience_sync.runs.outcome import Outcome
from audience_sync.runs.targets import Selection, Target
from audience_sync.targeting import targets_of

if TYPE_CHECKING:
    from audience_sync.ledger.ledger import Ledger
    from audience_sync.membership.sealed import Keyring
    from audience_sync.plugins import Installed
    from audience_sync.project import Project
    from audience_sync.runs.deliver import Deliverer
    from audience_sync.runs.link import Link
    from audience_sync.runs.plan import Planner
    from audience_sync.runs.sync import Pipeline
    from audience_sync.settings import Settings


class Opened(Protocol):
    """What is asked of a project that is open; see `App`."""

    @property
    def settings(self) -> Settings:
        """What the environment says."""
        ...

    @property
    def installed(self) -> Installed:
        """The connectors."""
        ...

    @property
    def project(self) -> Project:
        """The project file."""
        ...

    @property
    def now(self) -> Callable[[], datetime]:
        """The clock."""
        ...

    @property
    def ledger(self) -> Ledger:
        """The ledger."""
        ...

    @property
    def pipeline(self) -> Pipeline:
        """What plans and delivers lists."""
        ...

    @property
    def keyring_and_fingerprint_key(self) -> tuple[Keyring, bytes, bool]:
        """The keys."""
        ...

    def pipeline_of(self, run: Run) -> Pipeline:
        """What delivers runs of this sort."""
        ...

    def link(self, destination: str) -> Link:
        """A destination, ready to use."""
        ...

    def selection(self) -> Selection:
        """Which customers are read."""
        ...

    def retired(self) -> list[Target]:
        """Lists that the project no longer names."""
        ...

    def made_due(self, run: Run) -> Run:
        """A run that needs no person's word."""
        ...


@dataclass(frozen=True, kw_only=True)
class Fanout:
    """Begins jobs and does their pieces; `wake` gathers the pieces that somebody is to do."""

    app: Opened
    coordinator: Coordinator
    starter: Starter
    delivery: DeliveryStages
    split_rows: int
    wake: list[PieceRef] = field(default_factory=list)

    def plan(self, selection: Selection, targets: Sequence[Target]) -> list[Outcome]:
        """Plan lists together: in pieces where the source is large, else here and now.

        Of lists that a job plans there is no outcome yet.
        """
        splits = self.starter.splits(selection, targets, self.split_rows)
        if len(splits) <= 1:
            return self.app.pipeline.sync(selection, targets, deliver=False)
        begun = self.starter.begin(selection, targets, splits)
        self.wake.extend(begun.wake)
        return list(begun.left_out)

    def deliver(self, run_id: str) -> bool:
        """Whether a run that is due is delivered in pieces from now on, or by somebody already."""
        run = self.app.ledger.run(run_id)
        if job_of(self.app.ledger, run.id) is not None:
            return True
        if self.app.pipeline_of(run) is not self.app.pipeline:  # a report of orders
            return False
        link = self.app.link(run.destination)
        if not is_due(run, self.app.now()) or not self.delivery.worth_while(run, link):
            return False
        holder = holder_of(delivering.holder_of_run(run.id))
        lease = self.app.ledger.take_lease(run.lease_name, holder, LEASE_SECONDS, alive=alive)
        run = self.app.ledger.run(run_id)  # as it is now that nobody else works on it
        try:
            due = is_due(run, self.app.now())
            if not due or not self.delivery.worth_while(run, link):
                self.app.ledger.release_lease(lease)
                return not due
            self.app.pipeline.refuse(run)
            adopted = self.app.project.adopted(run.audience, run.destination)
            self.wake.extend(self.delivery.begin(self.coordinator, run, lease, adopted))
        except BaseException:
            if job_of(self.app.ledger, run.id) is None:
                self.app.ledger.release_lease(lease)
            raise
        return True

    def work(self, ref: PieceRef) -> Worked:
        """Do a piece of a job."""
        return self.coordinator.work(ref)

    def stalled(self) -> tuple[list[PieceRef], list[Job]]:
        """Pieces that somebody is to be woken for, and jobs that have come to nothing."""
        return self.coordinator.stalled()

    def planned(self, job: Job) -> list[Run]:
        """The runs that a job which ended has planned, made due where nobody holds them back."""
        if job.kind != planning.KIND or job.state is not JobState.DONE:
            return []
        errors = job.spec["errors"]
        runs = zip(job.spec["runs"], errors, strict=True)
        return [self.app.made_due(self.app.ledger.run(run)) for run, error in runs if error is None]

    def delivered(self, job: Job) -> Run | None:
        """The run that a job delivered, or tried to."""
        return self.app.ledger.run(job.spec["run"]) if job.kind == delivering.KIND else None

    def cancel(self, run: Run, reason: str) -> Run | None:
        """End the job that delivers a run, and the run; None where no job does."""
        job = job_of(self.app.ledger, run.id)
        if job is None:
            return None
        self.coordinator.end(job, CancelledError(reason), JobState.CANCELLED)
        return self.app.ledger.run(run.id)

    def cancel_plan(self, job: Job, reason: str) -> None:
        """End the job that makes a plan; nothing of it is kept."""
        self.coordinator.end(job, CancelledError(reason), JobState.CANCELLED)

    def resume(self, run: Run) -> Run | None:
        """Do here what nobody does of the job that delivers a run, at once; None without a job."""
        if job_of(self.app.ledger, run.id) is None:
            return None
        while self._did_some(run):
            pass
        return self.app.ledger.run(run.id)

    def _did_some(self, run: Run) -> bool:
        """Whether a piece of the run's job could be done here."""
        job = job_of(self.app.ledger, run.id)
        if job is None:
            return False
        some, left = (
            False,
            [
                PieceRef(piece.job, piece.stage, piece.number)
                for piece in self.app.ledger.pieces(job.id, job.stage)
                if not piece.done
            ],
        )
        for ref in left or [PieceRef(job.id, job.stage, 0)]:  # perhaps the next stage is to begin
            with suppress(BusyError):
                some |= self.coordinator.work(ref, at_once=True).again is None
        return some


def fanout_of(app: Opened) -> Fanout:
    """The fan-out of a project that is open."""
    pipeline = app.pipeline
    _, fingerprint_key, _ = app.keyring_and_fingerprint_key
    stages = PlanStages(
        ledger=app.ledger,
        planner=cast("Planner", pipeline.planner),
        fingerprint_key=fingerprint_key,
        wanted=_wanted_by(app),
    )
    deliverer = cast("Deliverer", pipeline.deliverer)
    delivery = DeliveryStages(ledger=app.ledger, deliverer=deliverer, link=app.link)
    coordinator = Coordinator(
        ledger=app.ledger,
        kinds={planning.KIND: stages, delivering.KIND: delivery},
        holder=this_process(),
        alive=alive,
        now=app.now,
    )
    starter = Starter(
        ledger=app.ledger,
        pipeline=pipeline,
        coordinator=coordinator,
        stages=stages,
        alive=alive,
        now=app.now,
    )
    return Fanout(
        app=app,
        coordinator=coordinator,
        starter=starter,
        delivery=delivery,
        split_rows=app.settings.split_rows,
    )


def _wanted_by(app: Opened) -> Callable[[Sequence[Sequence[str]], datetime], Wanted]:
    def wanted(lists: Sequence[Sequence[str]], now: datetime) -> Wanted:
        retired = app.retired()
        connectors = app.installed.connectors
        found = targets_of(app.project, connectors, (), None, now, retired)
        named = {(target.audience, target.destination): target for target in found}
        missing = [one for one in lists if tuple(one) not in named]
        if missing:
            raise AudienceSyncError("an audience was taken out of the project while it was planned")
        return Wanted(app.selection(), [named[audience, there] for audience, there in lists])

    return wanted
