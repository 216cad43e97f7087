"""Deaths between two steps of shared work: whoever comes next does no harm, and needs no hands."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fanned_world import FORTY, FannedWorld, forty_planned
from pipeline_world import granted

from audience_sync.connector import RefusedError
from audience_sync.errors import AwayError, BusyError, SourceError
from audience_sync.ledger.jobs import piece_lease
from audience_sync.ledger.records.runs import RunState
from audience_sync.ledger.records.work import JobState
from audience_sync.runs import listplan
from audience_sync.runs.due import is_due
from audience_sync.runs.fanout import concluding, coordinator, delivering, stages
from audience_sync.runs.fanout.delivering import CancelledError, DeliveryStages, job_of
from audience_sync.runs.fanout.kinds import PieceRef
from audience_sync.runs.fanout.planning import PlanStages
from audience_sync.runs.leases import LEASE_SECONDS, Held
from audience_sync.runs.plan import Planner
from audience_sync.runs.transfer import Transfer
from audience_sync.stopping import StoppedError, within


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    small_pieces(monkeypatch)


def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two batches of three a piece, of which three are awake at a time."""
    monkeypatch.setattr(delivering, "BATCHES", 2)
    monkeypatch.setattr(delivering, "UPLOADS", 1)


def dies(*_arguments: Any, **_more: Any) -> None:
    """What happens where a process is killed."""
    raise KeyboardInterrupt


def delivery(here: FannedWorld) -> DeliveryStages:
    """The kind of job that delivers."""
    stages = here.coordinator().kinds[delivering.KIND]
    assert isinstance(stages, DeliveryStages)
    return stages


def worth_while(here: FannedWorld, run_id: str) -> bool:
    """Whether workers would share what is left of a run."""
    run = here.ledger.run(run_id)
    return delivery(here).worth_while(run, here.link(run.destination))


def test_a_run_whose_membership_is_settled_sends_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was sent after that would be on the list, and known to nobody."""
    here, run_id = forty_planned(tmp_path)
    assert worth_while(here, run_id)
    wake = here.begin_delivery(run_id)
    here.coordinator().work(wake[0])

    def refuse(_when: str, _operation: str) -> None:
        raise RefusedError("the list is gone", 400)

    here.partner.fault = refuse
    monkeypatch.setattr(here.ledger, "move_run", dies)  # in the middle of giving up
    with pytest.raises(KeyboardInterrupt):
        here.coordinator().work(wake[1])
    monkeypatch.undo()
    small_pieces(monkeypatch)
    assert here.ledger.run(run_id).state is RunState.DELIVERING
    here.partner.fault = lambda _when, _operation: None
    assert not worth_while(here, run_id)


def test_closing_a_run_that_is_closed_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who closed it died before the piece was marked as done; the job ends well all the same."""
    here, run_id = forty_planned(tmp_path)
    wake, close = here.begin_delivery(run_id), None
    while wake:
        ref = wake.pop(0)
        if ref.stage == delivering.CLOSE:
            close = ref
            break
        wake += here.coordinator().work(ref).wake
    assert close is not None
    monkeypatch.setattr(here.ledger, "finish_piece", dies)
    with pytest.raises(KeyboardInterrupt):
        here.coordinator().work(close)
    monkeypatch.undo()
    small_pieces(monkeypatch)
    assert here.ledger.run(run_id).state is RunState.CONFIRMED
    ended = here.coordinator().work(close).ended
    assert ended is not None
    assert ended.state is JobState.DONE


def test_a_death_before_the_job_is_written_leaves_the_run_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why it waited before says nothing any more, and nobody has to come to go on with it."""
    here, run_id = forty_planned(tmp_path)
    here.ledger.change_run(run_id, reason="the partner was tired", next_attempt_at=here.time)
    monkeypatch.setattr(here.ledger, "create_job", dies)
    with pytest.raises(KeyboardInterrupt):
        here.begin_delivery(run_id)
    monkeypatch.undo()
    small_pieces(monkeypatch)
    assert is_due(here.ledger.run(run_id), here.time)


def test_the_last_two_pieces_done_at_once_begin_the_next_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL tells each of two that commit together that the other's piece is still to do."""
    here, run_id = forty_planned(tmp_path)
    wake = here.begin_delivery(run_id)
    real = here.ledger.finish_piece

    def finish(*arguments: Any) -> int:
        return int(real(*arguments)) + 1

    monkeypatch.setattr(here.ledger, "finish_piece", finish)
    while wake and wake[0].stage == delivering.REMOVE:
        wake += here.coordinator().work(wake.pop(0)).wake
    assert {ref.stage for ref in wake} == {delivering.ADD}


def test_a_late_message_of_a_piece_that_another_just_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was not done when the message was looked at, and is not done a second time."""
    here, run_id = forty_planned(tmp_path)
    wake = here.begin_delivery(run_id)
    worker, real = here.coordinator(), here.ledger.take_lease

    def late(*arguments: Any, **more: Any) -> Any:
        monkeypatch.setattr(here.ledger, "take_lease", real)
        here.coordinator().work(wake[0])
        return real(*arguments, **more)

    monkeypatch.setattr(here.ledger, "take_lease", late)
    sent: list[str] = []
    monkeypatch.setattr(DeliveryStages, "do", _counted(DeliveryStages.do, sent))
    assert worker.work(wake[0]).ended is None
    assert len(sent) == 1


def _counted(do: Any, calls: list[str]) -> Any:
    def counted(self: Any, job: Any, piece: Any, held: Any) -> Any:
        calls.append(str(PieceRef(piece.job, piece.stage, piece.number)))
        return do(self, job, piece, held)

    return counted


def test_a_ledger_that_is_away_for_a_moment_costs_time_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that fails over does not end the job; the piece says what it waits for."""
    here, run_id = forty_planned(tmp_path)
    wake = here.begin_delivery(run_id)
    real = here.ledger.record

    def away(*_arguments: Any, **_more: Any) -> list[int]:
        monkeypatch.setattr(here.ledger, "record", real)
        raise AwayError("the ledger's database does not answer")

    monkeypatch.setattr(here.ledger, "record", away)
    again = here.coordinator().work(wake[0]).again
    assert again is not None
    piece = here.ledger.piece(*wake[0])
    assert piece is not None
    assert piece.note == "the ledger's database does not answer"
    here.time = again[1]
    here.work_off(wake)
    assert here.ledger.run(run_id).state is RunState.CONFIRMED
    assert here.held() == here.partner.holds


def test_a_source_that_is_away_for_a_moment_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would else be a day until the next plan; a source that never answers ends the job."""
    here = FannedWorld(tmp_path)
    here.split_rows = 10
    here.write(FORTY)
    _, wake = here.begin([here.target])

    def away(*_arguments: Any) -> None:
        raise SourceError("the database cannot be opened")

    with monkeypatch.context() as patch:
        patch.setattr(concluding.Work, "read", away)
        again = here.coordinator().work(wake[0]).again
        assert again is not None
    here.time = again[1]
    here.work_off(wake)
    assert [job.state for job in here.ledger.jobs(tuple(JobState))] == [JobState.DONE]
    _, wake = here.begin([here.target])
    monkeypatch.setattr(concluding.Work, "read", away)
    while (worked := here.coordinator().work(wake[0])).again is not None:
        here.time = worked.again[1]
    assert worked.ended is not None
    assert worked.ended.reason == "the database cannot be opened"


def test_a_worker_told_to_stop_while_it_closes_a_plan_loses_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What others wrote for the list is there for whoever closes it in the end."""
    monkeypatch.setattr(listplan, "_MEMBERS_PER_FILE", 1)
    here = FannedWorld(tmp_path, partitions=16)
    here.split_rows = 10
    here.write(FORTY)
    _, wake = here.begin([here.target])
    while wake[0].stage != stages.CONCLUDE:
        wake += here.coordinator().work(wake.pop(0)).wake
    with within(0.0), pytest.raises(StoppedError):
        here.coordinator().work(wake[0])
    here.work_off(wake)
    (run,) = here.ledger.runs()
    here.work_off(here.begin_delivery(run.id))
    assert here.held() == here.partner.holds
    assert len(here.partner.holds) == 40


def test_who_slept_while_closing_a_plan_harms_nothing_of_who_took_over(tmp_path: Path) -> None:
    """Neither overwritten nor deleted is what belongs to the run that stands in the ledger."""
    here = FannedWorld(tmp_path)
    here.split_rows = 10
    here.write(FORTY)
    _, wake = here.begin([here.target])
    while wake[0].stage != stages.CONCLUDE:
        wake += here.coordinator().work(wake.pop(0)).wake
    slow, ref = here.coordinator(), wake[0]
    real = Planner.conclude

    def slept(self: Planner, *arguments: Any, **more: Any) -> Any:
        Planner.conclude = real  # type: ignore[method-assign] # once
        here.alive = lambda _holder: False  # its lease has ended
        here.work_off([ref])
        return real(self, *arguments, **more)

    Planner.conclude = slept  # type: ignore[method-assign] # until it is called
    with pytest.raises(BusyError):
        slow.work(ref)
    (run,) = here.ledger.runs()
    here.work_off(here.begin_delivery(run.id))
    assert here.ledger.run(run.id).state is RunState.CONFIRMED
    assert here.held() == here.partner.holds
    assert len(here.partner.holds) == 40


def test_a_large_job_leaves_workers_to_others(tmp_path: Path) -> None:
    """Few pieces are awake at a time, whether messages or the sweep wake them, and all are done."""
    here, run_id = forty_planned(tmp_path)
    wake = here.begin_delivery(run_id)
    stage = here.ledger.pieces(wake[0].job, wake[0].stage)
    assert len(stage) > len(wake) == 3
    for _ in range(2):
        assert here.coordinator().stalled()[0] == wake
    here.ledger.take_lease(piece_lease(*wake[0]), "busy:1:1", 600)
    assert here.coordinator().stalled()[0] == wake[1:]
    here.work_off(wake[1:])
    here.alive = lambda _holder: False
    here.work_off([wake[0]])
    assert here.ledger.run(run_id).state is RunState.CONFIRMED
    assert here.held() == here.partner.holds


def test_what_a_delivery_keeps_of_its_pieces_is_small(tmp_path: Path) -> None:
    """Two numbers a piece, however many batches, and of the batches a piece reads its own."""
    here, run_id = forty_planned(tmp_path)
    wake = here.begin_delivery(run_id)
    spec = here.ledger.job(wake[0].job).spec
    assert all(len(piece) == 2 for stage in spec["pieces"].values() for piece in stage)
    first, last = spec["pieces"][wake[1].stage][1]
    own = here.ledger.batches(run_id, range(first, last + 1))
    assert [batch.position for batch in own] == list(range(first, last + 1))


def test_a_source_that_fails_at_the_start_leaves_the_lists_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever tries next finds nobody at them."""
    here = FannedWorld(tmp_path)
    here.write(FORTY)

    def away(*_arguments: Any) -> None:
        raise SourceError("the database cannot be opened")

    monkeypatch.setattr(PlanStages, "spec", away)
    with pytest.raises(SourceError):
        here.begin([here.target])
    assert here.ledger.leases_held("") == []


def test_jobs_that_ended_long_ago_are_forgotten(tmp_path: Path) -> None:
    """The ledger does not grow with every delivery there ever was; open jobs stay."""
    here, run_id = forty_planned(tmp_path)
    here.begin_delivery(run_id)
    before = here.time + timedelta(days=1)
    assert len(here.ledger.jobs(tuple(JobState))) > 1
    here.ledger.forget_jobs(datetime.now(UTC) + timedelta(days=1))
    (left,) = here.ledger.jobs(tuple(JobState))
    assert left.state is JobState.OPEN
    assert job_of(here.ledger, run_id) == left
    assert left.created_at < before


def test_who_slept_through_its_lease_sends_nothing_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its batch was sent by another; late it could undo what a later run did."""
    here, run_id = forty_planned(tmp_path)
    wake = here.begin_delivery(run_id)
    slow, real, clock = here.coordinator(), Transfer.send, Clock()
    monkeypatch.setattr(coordinator, "Held", partial(Held, clock=clock))

    def slept(self: Transfer, *arguments: Any) -> Any:
        if not clock.ahead:  # between its intent and its request
            clock.ahead = 2 * LEASE_SECONDS
            here.ledger.take_lease(self.lease_name, "newer", 600, alive=lambda _holder: False)
        return real(self, *arguments)

    monkeypatch.setattr(Transfer, "send", slept)
    here.partner.calls.clear()
    with pytest.raises(BusyError):
        slow.work(wake[0])
    assert here.partner.calls == []
    here.alive = lambda holder: holder != "newer"
    here.work_off(wake)
    assert here.ledger.run(run_id).state is RunState.CONFIRMED
    assert here.held() == here.partner.holds


class Clock:
    """A clock that can be put ahead."""

    ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


def test_a_job_that_ends_while_others_send_keeps_its_list_for_a_while(tmp_path: Path) -> None:
    """What is on its way would else arrive after what the next run does."""
    here, run_id = forty_planned(tmp_path)
    wake = here.begin_delivery(run_id)
    here.ledger.take_lease(piece_lease(*wake[1]), "busy:1:1", 600)
    job = job_of(here.ledger, run_id)
    assert job is not None
    error = CancelledError("cancelled by an operator")
    here.coordinator().end(job, error, JobState.CANCELLED)
    (kept,) = here.ledger.leases_held("")
    assert kept.name == here.target.name
    left = (kept.expires_at - datetime.now(UTC)).total_seconds()
    assert 0 < left <= coordinator.IN_FLIGHT


def test_a_file_that_changes_while_it_is_read_in_parts_ends_the_plan(tmp_path: Path) -> None:
    """Rows that moved to a part that was read before would be missed, and their members removed."""
    here = FannedWorld(tmp_path)
    here.write(FORTY)
    _, wake = here.begin([here.target])
    here.work_off(wake[:3])
    here.write([granted("first", email="first@example.com"), *FORTY])
    ended = here.coordinator().work(wake[3]).ended
    assert ended is not None
    assert "was changed while it was read" in (ended.reason or "")
    assert here.files() == []


def test_a_plan_that_ends_while_others_work_leaves_its_lists_free(tmp_path: Path) -> None:
    """Nothing of it is on its way to a partner, so the next plan need not wait for it."""
    here = FannedWorld(tmp_path)
    here.write(FORTY)
    _, wake = here.begin([here.target])
    here.ledger.take_lease(piece_lease(*wake[0]), "there:1:1", LEASE_SECONDS)
    here.write(FORTY[1:])
    assert here.coordinator().work(wake[1]).ended is not None
    assert here.ledger.leases_held("") == []
    assert here.begin([here.target])[0] == []
