"""`status` tells how far shared work is, and a person may end it or go on with it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fanned_world import FannedWorld
from pipeline_world import granted

from audience_sync.cli.jobs import jobs_under_way, print_jobs
from audience_sync.discretion import Discretion
from audience_sync.fanning import Fanout
from audience_sync.ledger.jobs import piece_lease
from audience_sync.ledger.records.runs import RunState
from audience_sync.ledger.records.work import JobState
from audience_sync.runs.fanout import delivering


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FannedWorld:
    """Forty people, batches of three, pieces of two."""
    monkeypatch.setattr(delivering, "BATCHES", 2)
    world = FannedWorld(tmp_path)
    world.write([granted(str(n), email=f"p{n}@example.com") for n in range(40)])
    return world


def app_of(world: FannedWorld) -> Any:
    """What the command line asks of an app."""
    return SimpleNamespace(ledger=world.ledger, now=world.now, discretion=Discretion(None))


def fanout_of(world: FannedWorld) -> Fanout:
    """The fan-out over a world."""
    starter = world._starter()
    delivery = starter.coordinator.kinds[delivering.KIND]
    return Fanout(
        app=app_of(world),
        coordinator=starter.coordinator,
        starter=starter,
        delivery=delivery,  # type: ignore[arg-type] # it is
        split_rows=2,
    )


def test_a_plan_under_way_says_how_far_it_is(
    here: FannedWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    """Parts done, workers at it, and that nobody is when nobody is."""
    _, wake = here.begin([here.target])
    here.coordinator().work(wake[0])
    print_jobs(jobs_under_way(app_of(here)))
    told = capsys.readouterr().out
    assert "The plan of 1 list (j" in told
    assert f"reading customers, 1 of {len(wake)} parts done, nobody at work" in told
    assert "no worker is at it; start one with `audience-sync worker`" in told
    here.ledger.take_lease(piece_lease(*wake[1]), "vm:1:1", 60)
    print_jobs(jobs_under_way(app_of(here)))
    assert "1 worker at work" in capsys.readouterr().out


def test_a_delivery_says_what_it_waits_for(
    here: FannedWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    """The partner's words that we wrote, and the time."""
    run = here.ran(deliver=False)
    wake = here.begin_delivery(run.id)
    piece = here.ledger.piece(*wake[0])
    assert piece is not None
    lease = here.ledger.take_lease(piece_lease(*wake[0]), "vm:1:1", 60)
    until = here.now() + timedelta(minutes=5)
    here.ledger.postpone_piece(piece, until=until, note="the partner is tired", lease=lease)
    here.ledger.release_lease(lease)
    (job,) = jobs_under_way(app_of(here))
    assert (job["members"], job["members_answered"], job["run"]) == (40, 0, run.id)
    print_jobs([job])
    told = capsys.readouterr().out
    assert "The delivery of vip to memory-1 (d" in told
    assert f"waits until {until:%H:%M:%S} UTC: the partner is tired" in told


def test_a_person_goes_on_with_what_no_worker_is_at(here: FannedWorld) -> None:
    """Here and now, postponed pieces too."""
    run = here.ran(deliver=False)
    here.begin_delivery(run.id)
    resumed = fanout_of(here).resume(run)
    assert resumed is not None
    assert resumed.state is RunState.CONFIRMED
    assert len(here.partner.holds) == 40
    assert fanout_of(here).resume(resumed) is None


def test_a_person_ends_a_shared_delivery(here: FannedWorld) -> None:
    """The run is cancelled; a second time there is no job any more."""
    run = here.ran(deliver=False)
    wake = here.begin_delivery(run.id)
    here.coordinator().work(wake[0])
    cancelled = fanout_of(here).cancel(run, "cancelled by maria")
    assert cancelled is not None
    assert (cancelled.state, cancelled.reason) == (RunState.CANCELLED, "cancelled by maria")
    assert here.held() == here.partner.holds
    assert fanout_of(here).cancel(run, "again") is None


def test_a_person_ends_a_shared_plan(here: FannedWorld) -> None:
    """Nothing of it is left, and its lists are free."""
    here.begin([here.target])
    (job,) = here.ledger.jobs()
    fanout_of(here).cancel_plan(job, "cancelled by maria")
    assert here.ledger.job(job.id).state is JobState.CANCELLED
    assert here.files() == []
    assert here.ledger.leases_held("") == []
