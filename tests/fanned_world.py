"""A world whose plans are made by a job, piece by piece, by workers who meet every mishap."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from pipeline_world import World, fast_folder, granted

from audience_sync.ledger.records.work import JobState
from audience_sync.runs.fanout import delivering
from audience_sync.runs.fanout.coordinator import Coordinator, holder_of
from audience_sync.runs.fanout.delivering import DeliveryStages
from audience_sync.runs.fanout.kinds import PieceRef
from audience_sync.runs.fanout.planning import KIND, PlanStages
from audience_sync.runs.fanout.stages import Wanted
from audience_sync.runs.fanout.start import Starter
from audience_sync.runs.outcome import Outcome
from audience_sync.runs.targets import Target


class FannedWorld(World):
    """Plans by a job; pieces come in any order, and some come twice."""

    def __init__(self, folder: Path, *, seed: int = 0, **options: Any) -> None:
        super().__init__(folder, **options)
        self.random = random.Random(seed)  # noqa: S311 - no secret
        self.split_rows = 2
        self.targets: list[Target] = []

    def wanted(self, lists: Sequence[Sequence[str]], _now: datetime) -> Wanted:
        """What the project wants of some lists."""
        named = {(target.audience, target.destination): target for target in self.targets}
        return Wanted(self.selection(), [named[tuple(one)] for one in lists])  # type: ignore[index] # a pair

    def coordinator(self) -> Coordinator:
        """One worker."""
        return self._starter().coordinator

    def _starter(self) -> Starter:
        pipeline = self.pipeline()
        stages = PlanStages(
            ledger=self.ledger,
            planner=pipeline.planner,
            fingerprint_key=b"f" * 32,
            wanted=self.wanted,
        )
        delivery = DeliveryStages(ledger=self.ledger, deliverer=pipeline.deliverer, link=self.link)
        coordinator = Coordinator(
            ledger=self.ledger,
            kinds={KIND: stages, delivering.KIND: delivery},
            holder=self.holder,
            alive=self.alive,
            now=self.now,
        )
        return Starter(
            ledger=self.ledger,
            pipeline=pipeline,
            coordinator=coordinator,
            stages=stages,
            alive=self.alive,
            now=self.now,
        )

    def definition(self) -> str:
        """What tells a job that the project is still the same; here it knows many partners."""
        self.partners = frozenset({"meta", "google", "tiktok", "pinterest", "x"})
        self.targets = [self.target]
        wanted = self.wanted([[self.target.audience, self.target.destination]], self.time)
        return str(self._starter().stages._definition(wanted))

    def begin(self, targets: Sequence[Target]) -> tuple[list[Outcome], list[PieceRef]]:
        """Begin a job for these lists."""
        self.targets = list(targets)
        starter = self._starter()
        splits = starter.splits(self.selection(), targets, self.split_rows)
        begun = starter.begin(self.selection(), targets, splits, self.partitions)
        return list(begun.left_out), list(begun.wake)

    def begin_delivery(self, run_id: str) -> list[PieceRef]:
        """Begin a job that delivers a run."""
        run = self.ledger.run(run_id)
        job = holder_of(delivering.holder_of_run(run.id))
        lease = self.ledger.take_lease(run.lease_name, job, 600, alive=self.alive)
        coordinator = self.coordinator()
        stages = coordinator.kinds[delivering.KIND]
        assert isinstance(stages, DeliveryStages)
        return stages.begin(coordinator, run, lease, None)

    def work_off(self, wake: list[PieceRef]) -> None:
        """Do every piece, in any order, now and then one a second time."""
        done: list[PieceRef] = []
        while wake:
            ref = wake.pop(self.random.randrange(len(wake)))
            wake += self.coordinator().work(ref).wake
            done.append(ref)
            if self.random.random() < 0.3:
                wake += self.coordinator().work(self.random.choice(done)).wake

    def sync_all(self, targets: Sequence[Target], **options: Any) -> list[Outcome]:
        """Plan by a job, then deliver what is planned, as a worker does."""
        if not options.get("keep", True) or options.get("forced_by"):
            return super().sync_all(targets, **options)
        pipeline = self.pipeline()
        for run in self.ledger.runs():
            if run.state.value == "delivering":
                pipeline.resume(run)
        left_out, wake = self.begin(targets)
        before = {job.id for job in self.ledger.jobs((JobState.DONE, JobState.FAILED))}
        self.work_off(wake)
        outcomes = {f"{one.audience}/{one.destination}": one for one in left_out}
        for job in self.ledger.jobs((JobState.DONE, JobState.FAILED)):
            if job.id not in before and wake is not None:
                assert job.state is JobState.DONE, job.reason
                for run_id, error in zip(job.spec["runs"], job.spec["errors"], strict=True):
                    assert error is None, error
                    run = self.ledger.run(run_id)
                    if run.state.value == "planned" and options.get("deliver", True):
                        self.work_off(self.begin_delivery(run.id))
                        run = self.ledger.run(run.id)
                    name = f"{run.audience}/{run.destination}"
                    outcomes[name] = Outcome(
                        audience=run.audience, destination=run.destination, run=run
                    )
        return [outcomes[target.name] for target in targets]


FORTY = [granted(str(n), email=f"p{n}@example.com") for n in range(40)]


def forty_planned(folder: Path) -> tuple[FannedWorld, str]:
    """Forty people in a planned run; twenty others are on the list already, and leave."""
    made, run_id = _forty_planned()
    shutil.copytree(made.folder, folder, dirs_exist_ok=True)
    here = FannedWorld(folder)
    here.split_rows = made.split_rows
    here.time, here.targets = made.time, list(made.targets)
    here.partner.holds, here.partner.lists = set(made.partner.holds), list(made.partner.lists)
    here.partner.calls, here.partner.uploads = list(made.partner.calls), list(made.partner.uploads)
    return here, run_id


@cache
def _forty_planned() -> tuple[FannedWorld, str]:
    """The same to copy, closed: planning it takes longer than most tests of its delivery."""
    here = FannedWorld(fast_folder())
    here.split_rows = 20
    here.write([granted(f"x{n}", email=f"x{n}@example.com") for n in range(20)])
    here.ran()
    here.write(FORTY)
    run = here.ran(deliver=False)
    assert (run.delta["additions"], run.delta["removals"]) == (40, 20)
    here.ledger.close()
    return here, run.id
