"""A run that many workers deliver ends as one that a single process delivers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fanned_world import FORTY, FannedWorld, forty_planned

from audience_sync.connector import RefusedError, TemporaryPartnerError
from audience_sync.errors import AuthenticationError, BusyError
from audience_sync.ledger.jobs import piece_lease
from audience_sync.ledger.records.log import Event
from audience_sync.ledger.records.runs import BatchState, RunState
from audience_sync.ledger.records.work import JobState
from audience_sync.runs.fanout import delivering
from audience_sync.runs.fanout.coordinator import TAKES
from audience_sync.runs.fanout.delivering import CancelledError, job_of
from audience_sync.runs.fanout.kinds import PieceRef
from audience_sync.stopping import StoppedError, within


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two batches of three a piece, of which three are awake at a time."""
    monkeypatch.setattr(delivering, "BATCHES", 2)
    monkeypatch.setattr(delivering, "UPLOADS", 1)


def once(error: Exception, when: str = "before") -> Callable[[str, str], None]:
    """A fault that happens one time."""
    left = [error]

    def fault(now: str, _operation: str) -> None:
        if now == when and left:
            raise left.pop()

    return fault


def test_pieces_in_any_order_end_in_the_same_membership(tmp_path: Path) -> None:
    """L4: every removal is answered before the first addition goes, whoever is at work."""
    here, run_id = forty_planned(tmp_path)
    wake = here.begin_delivery(run_id)
    assert len(wake) > 2
    here.partner.calls.clear()
    here.work_off(wake)
    run = here.ledger.run(run_id)
    assert run.state is RunState.CONFIRMED
    assert len(here.partner.holds) == 40
    assert here.held() == here.partner.holds
    operations = [operation for operation, _ in here.partner.calls]
    assert operations == sorted(operations, reverse=True)
    assert sum(members for operation, members in here.partner.calls if operation == "add") == 40
    assert here.ledger.verify_log().sound


def test_a_tired_partner_postpones_a_piece_only(tmp_path: Path) -> None:
    """The piece says when and why; the others go on; nothing is sent twice that was answered."""
    here, run_id = forty_planned(tmp_path)
    wake = here.begin_delivery(run_id)
    here.partner.fault = once(TemporaryPartnerError("it is tired", 429, retry_after=60.0))
    first = here.coordinator().work(wake[0])
    assert first.again is not None
    postponed = here.ledger.piece(*wake[0])
    assert postponed is not None
    assert postponed.note == "it is tired (HTTP 429)"
    assert here.coordinator().stalled()[0] == wake[1:]
    here.work_off(wake[1:])
    assert here.coordinator().work(wake[0]).again == first.again
    here.time = first.again[1]
    here.work_off([wake[0]])
    assert here.ledger.run(run_id).state is RunState.CONFIRMED
    assert here.held() == here.partner.holds


def test_a_worker_that_dies_after_the_partner_took_a_batch(tmp_path: Path) -> None:
    """L5, L6: that batch is unknown in the log and sent again, the others are not."""
    here, run_id = forty_planned(tmp_path)
    wake = here.begin_delivery(run_id)
    here.partner.fault = once(KeyboardInterrupt(), "after")  # type: ignore[arg-type] # as from outside
    with pytest.raises(KeyboardInterrupt):
        here.coordinator().work(wake[0])
    here.work_off(wake)
    run = here.ledger.run(run_id)
    assert run.state is RunState.CONFIRMED
    assert here.held() == here.partner.holds
    unknown = [line for line in here.log() if line.event is Event.UNKNOWN]
    assert 1 <= len(unknown) <= 2
    intents = [line for line in here.log() if line.run == run_id and line.event is Event.INTENT]
    batches = here.ledger.batches(run_id)
    assert len(intents) == len(batches) + len(unknown)


def test_a_refusal_ends_the_run_and_stops_the_others(tmp_path: Path) -> None:
    """What was accepted counts; the next sync sends the rest."""
    here, run_id = forty_planned(tmp_path)
    wake = here.begin_delivery(run_id)
    here.coordinator().work(wake[0])
    here.partner.fault = once(RefusedError("the list is gone", 400))
    ended = here.coordinator().work(wake[1]).ended
    assert ended is not None
    assert ended.state is JobState.FAILED
    run = here.ledger.run(run_id)
    assert run.state is RunState.FAILED
    assert "off the list of vip at memory-1: the list is gone; delete" in str(run.reason)
    assert here.coordinator().work(wake[2]).wake == ()
    here.partner.fault = lambda _when, _operation: None
    assert here.ran().state is RunState.CONFIRMED
    assert here.held() == here.partner.holds
    assert len(here.partner.holds) == 40


def test_wrong_credentials_leave_the_run_to_be_gone_on_with(tmp_path: Path) -> None:
    """The run says what is wrong, and a new delivery goes on where this one stopped."""
    here, run_id = forty_planned(tmp_path)
    wake = here.begin_delivery(run_id)
    here.partner.fault = once(AuthenticationError("the token is no longer valid", 401))
    here.coordinator().work(wake[0])
    run = here.ledger.run(run_id)
    assert run.state is RunState.DELIVERING
    assert run.reason == "the token is no longer valid (HTTP 401)"
    assert here.ledger.leases_held("") == []
    here.work_off(here.begin_delivery(run_id))
    assert here.ledger.run(run_id).state is RunState.CONFIRMED
    assert here.held() == here.partner.holds


def test_a_person_cancels_what_workers_deliver(tmp_path: Path) -> None:
    """The workers stop; what the partner took is remembered."""
    here, run_id = forty_planned(tmp_path)
    wake = here.begin_delivery(run_id)
    here.coordinator().work(wake[0])
    job = job_of(here.ledger, run_id)
    assert job is not None
    error = CancelledError("cancelled by an operator")
    here.coordinator().end(job, error, JobState.CANCELLED)
    run = here.ledger.run(run_id)
    assert (run.state, run.reason) == (RunState.CANCELLED, "cancelled by an operator")
    assert job_of(here.ledger, run_id) is None
    assert here.held() == here.partner.holds


def test_who_was_overtaken_records_nothing(tmp_path: Path) -> None:
    """A worker that slept through its lease finds it gone; its batch counts as unknown."""
    here, run_id = forty_planned(tmp_path)
    wake = here.begin_delivery(run_id)
    name = piece_lease(*wake[0])

    def overtaken(when: str, _operation: str) -> None:
        if when == "after":
            here.ledger.take_lease(name, "newer", 600, alive=lambda _holder: False)
            here.partner.fault = lambda _when, _operation: None

    here.partner.fault = overtaken
    with pytest.raises(BusyError):
        here.coordinator().work(wake[0])
    assert BatchState.SENDING in {batch.state for batch in here.ledger.batches(run_id)}
    here.alive = lambda holder: holder != "newer"
    here.work_off(wake)
    assert here.ledger.run(run_id).state is RunState.CONFIRMED
    assert here.held() == here.partner.holds


def test_the_first_batch_to_a_new_list_goes_before_all_others(tmp_path: Path) -> None:
    """A partner may clear the list with it; an empty stage before it is passed over."""
    here = FannedWorld(tmp_path)
    here.split_rows = 20
    here.write(FORTY)
    run = here.ran(deliver=False)
    wake = here.begin_delivery(run.id)
    assert [ref.stage for ref in wake] == [delivering.FIRST]
    following = list(here.coordinator().work(wake[0]).wake)
    assert {ref.stage for ref in following} == {delivering.ADD}
    assert [upload.afresh for _, upload, _ in here.partner.uploads] == [True]
    here.work_off(following)
    assert not any(upload.afresh for _, upload, _ in here.partner.uploads[1:])
    assert len(here.partner.holds) == 40


def test_lost_messages_of_a_delivery_are_found(tmp_path: Path) -> None:
    """Nobody wakes anything but what the ledger tells."""
    here, run_id = forty_planned(tmp_path)
    here.begin_delivery(run_id)
    for _ in range(30):
        for ref in here.coordinator().stalled()[0]:
            here.coordinator().work(PieceRef(*ref))
    assert here.ledger.run(run_id).state is RunState.CONFIRMED
    assert here.held() == here.partner.holds


def test_work_that_is_handed_back_in_order_counts_as_no_death(tmp_path: Path) -> None:
    """A worker that is told to stop again and again does not end the job."""
    here, run_id = forty_planned(tmp_path)
    wake = here.begin_delivery(run_id)
    for _ in range(2 * TAKES):
        with within(0.0), pytest.raises(StoppedError):
            here.coordinator().work(wake[0])
    here.work_off(wake)
    assert here.ledger.run(run_id).state is RunState.CONFIRMED
    assert here.held() == here.partner.holds
