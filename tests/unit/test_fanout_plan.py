"""A plan that many workers share is the plan that one process makes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fanned_world import FannedWorld
from hypothesis import given, settings
from hypothesis import strategies as st
from pipeline_world import World, fast_folder, granted
from reference import wanted
from test_runs_reference import DECISIONS, EXAMPLES, ROWS, SLOW, counted

from audience_sync.errors import BusyError, ConfigurationError
from audience_sync.ledger.jobs import piece_lease
from audience_sync.ledger.records.runs import RunState
from audience_sync.ledger.records.work import JobState
from audience_sync.runs.fanout import coordinator, planning, stages
from audience_sync.runs.leases import LEASE_SECONDS

PEOPLE = [granted(str(n), email=f"p{n}@example.com") for n in range(9)]
SLOWER = settings(SLOW, max_examples=-(-EXAMPLES * 3 // 5))  # each is dozens of pieces


def crowd(folder: Path, **options: Any) -> FannedWorld:
    """A world with nine people, in splits of two."""
    here = FannedWorld(folder, **options)
    here.write(PEOPLE)
    return here


@SLOWER
@given(ROWS, DECISIONS, st.booleans(), st.sampled_from([1, 4, 16]), st.integers(0, 2**16))
def test_many_workers_plan_what_one_process_plans(
    rows: Any, decisions: Any, with_decisions: bool, partitions: int, seed: int
) -> None:
    """L1, L2, L3: the reference's funnel and identifiers, in any order of pieces, some twice."""
    stages._PARTITIONS, usual = 3, stages._PARTITIONS  # type: ignore[misc] # several pieces
    try:
        here = FannedWorld(fast_folder(), seed=seed, partitions=partitions)
        here.split_rows = 4
        here.partners = frozenset({"absent"})
        here.decisions = decisions if with_decisions else None
        here.write(rows)
        run = here.ran()
        identifiers, funnel = wanted(rows, decisions if with_decisions else [], "memory")
        assert counted(run) == funnel
        assert here.partner.holds == identifiers == here.held()
        assert here.ran().state is RunState.CONFIRMED
        assert not [path for path in here.files() if "scratch" in path.parts]
    finally:
        stages._PARTITIONS = usual  # type: ignore[misc] # as it was


@SLOWER
@given(st.lists(ROWS, min_size=2, max_size=3), st.integers(0, 2**16))
def test_each_sync_leads_where_it_would_alone(syncs: Any, seed: int) -> None:
    """One world plans by jobs, its twin in one process: same deltas, same memberships."""
    here, twin = FannedWorld(fast_folder(), seed=seed), World(fast_folder())
    here.split_rows = 4
    for rows in syncs:
        for world in (here, twin):
            world.write(rows)
        run, other = here.ran(), twin.ran()
        assert (run.state, run.funnel) == (other.state, other.funnel)
        same = {name: n for name, n in run.delta.items() if name != "batches"}
        assert same == {name: n for name, n in other.delta.items() if name != "batches"}
        assert here.held() == twin.held() == here.partner.holds == twin.partner.holds


def test_lists_of_one_job_share_the_pass_over_the_source(tmp_path: Path) -> None:
    """Two lists, one job, two runs."""
    here = crowd(tmp_path)
    here.aim(where=None)
    first = here.target
    here.aim(audience="others", where="email = 'p1@example.com'")
    outcomes = here.sync_all([first, here.target])
    assert [one.run.delta["wanted"] for one in outcomes if one.run] == [9, 1]
    jobs = here.ledger.jobs((JobState.DONE,))
    assert [job.kind for job in jobs].count(planning.KIND) == 1


def test_a_worker_that_dies_costs_its_piece_only(tmp_path: Path) -> None:
    """Its lease ends, the piece is found and done by another; the rest is not done again."""
    here = crowd(tmp_path)
    _, wake = here.begin([here.target])
    dead = wake.pop()
    here.ledger.take_lease(piece_lease(*dead), "dead:1:1", LEASE_SECONDS)
    here.work_off(wake)
    with pytest.raises(BusyError):
        here.coordinator().work(dead)
    here.alive = lambda holder: not holder.startswith("dead")
    stalled, _ = here.coordinator().stalled()
    assert stalled == [dead]
    here.work_off(stalled)
    (job,) = here.ledger.jobs((JobState.DONE,))
    assert here.ledger.run(job.spec["runs"][0]).delta["wanted"] == 9


def test_lost_messages_are_found_by_the_ledger(tmp_path: Path) -> None:
    """Nobody wakes anything but what `stalled` tells, and the job still comes to its end."""
    here = crowd(tmp_path)
    here.begin([here.target])
    for _ in range(12):
        stalled, _ = here.coordinator().stalled()
        for ref in stalled:
            here.coordinator().work(ref)  # what it would wake is lost
    (job,) = here.ledger.jobs((JobState.DONE,))
    assert job.spec["errors"] == [None]


def test_a_piece_that_kills_its_workers_ends_its_job(tmp_path: Path) -> None:
    """It would end every worker, one after the other, for ever."""
    here = crowd(tmp_path)
    _, wake = here.begin([here.target])
    here.alive = lambda _holder: False
    for _ in range(coordinator.TAKES):
        here.ledger.take_lease(piece_lease(*wake[0]), "dead:1:1", 600, alive=here.alive)
    ended = here.coordinator().work(wake[0]).ended
    assert ended is not None
    assert ended.state is JobState.FAILED
    assert "ended its worker 5 times" in (ended.reason or "")
    here.alive = lambda _holder: True
    assert here.ledger.take_lease(here.target.name, "next", 60).holder == "next"


def test_a_source_that_fails_ends_the_job_with_its_sentence(tmp_path: Path) -> None:
    """Nothing is kept of it, and its lists are free again."""
    here = crowd(tmp_path)
    _, wake = here.begin([here.target])
    (tmp_path / "customers.parquet").unlink()
    here.work_off(wake)
    (job,) = here.ledger.jobs((JobState.FAILED,))
    assert "no file matches" in (job.reason or "")
    assert here.files() == []
    assert here.ledger.leases_held("") == []
    with pytest.raises(ConfigurationError):
        here.sync()


def test_a_project_that_changes_meanwhile_ends_the_job(tmp_path: Path) -> None:
    """Half a plan by the old rules and half by the new ones would be neither."""
    here = crowd(tmp_path)
    _, wake = here.begin([here.target])
    here.rules = here.rules.__class__(default_country="DE")
    here.work_off(wake)
    (job,) = here.ledger.jobs((JobState.FAILED,))
    assert "project file was changed" in (job.reason or "")


def test_a_list_that_another_run_works_on_is_left_out(tmp_path: Path) -> None:
    """As in a plan of one process."""
    here = crowd(tmp_path)
    here.ledger.take_lease(here.target.name, "somebody", 60)
    left_out, wake = here.begin([here.target])
    assert wake == []
    assert isinstance(left_out[0].error, BusyError)


def test_a_job_whose_list_was_taken_over_ends(tmp_path: Path) -> None:
    """A long silence gave the list to another; what the job would write is not wanted any more."""
    here = crowd(tmp_path)
    _, wake = here.begin([here.target])
    here.ledger.take_lease(here.target.name, "newer", 60, alive=lambda _holder: False)
    assert here.coordinator().stalled()[0] == []
    (job,) = here.ledger.jobs((JobState.FAILED,))
    assert "took one of its lists over" in (job.reason or "")
    assert here.coordinator().work(wake[0]).wake == ()


def test_a_broken_membership_stops_its_own_list_only(tmp_path: Path) -> None:
    """The other list of the job is planned."""
    here = crowd(tmp_path)
    first = here.target
    here.aim(audience="others")
    here.sync_all([first, here.target])
    for path in (tmp_path / "state/lists/memory-1/vip").rglob("*.sealed"):
        path.write_bytes(b"damaged")
    here.write(PEOPLE[:5])
    _, wake = here.begin([first, here.target])
    here.work_off(wake)
    job = here.ledger.jobs((JobState.DONE,))[-1]
    assert [error is None for error in job.spec["errors"]] == [False, True]
    assert "damaged" in job.spec["errors"][0]


def test_a_job_knows_no_identifier_and_no_key(tmp_path: Path) -> None:
    """L10: names, numbers and times only, while it is under way and after."""
    here = crowd(tmp_path)
    _, wake = here.begin([here.target])
    here.work_off(wake[:3])
    told = str(here.ledger.jobs((JobState.OPEN, JobState.DONE)))
    told += "".join(str(here.ledger.pieces(job.id, job.stage)) for job in here.ledger.jobs())
    assert "example.com" not in told
    assert "@" not in told


_DEFINED = """
import sys
from pathlib import Path
sys.path[:0] = {paths!r}
from fanned_world import FannedWorld
print(FannedWorld(Path(sys.argv[1])).definition())
"""


def test_every_process_reads_the_project_alike(tmp_path: Path) -> None:
    """Sets have another order in each process, and the folder another name on each machine."""
    there = tmp_path / "there"
    there.mkdir()
    paths = [str(Path(__file__).parents[up]) for up in (1, 2)]
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    told = subprocess.run(  # noqa: S603 - our own interpreter and words
        [sys.executable, "-c", _DEFINED.format(paths=paths), str(there)],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == FannedWorld(tmp_path).definition()
