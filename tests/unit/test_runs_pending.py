"""Partners that answer later: their last word counts, whatever happened meanwhile (L13)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pipeline_world import World, digest, fast_folder, granted

from audience_sync.connector import Kind, Receipt, Rejection
from audience_sync.errors import (
    AudienceSyncError,
    AuthenticationError,
    ConfigurationError,
    RefusedError,
    TemporaryPartnerError,
)
from audience_sync.ledger.records.log import Event
from audience_sync.ledger.records.runs import Batch, BatchState, Run, RunState
from audience_sync.runs import going_on
from audience_sync.runs.leases import LANE
from audience_sync.runs.outcome import late_failures

LOST = Receipt(accepted=0, unattributed=3, reason="job failed")
DONE = Receipt(accepted=3, match_range="61-70 %")


def email(number: int) -> str:
    return f"p{number}@example.com"


def people(*numbers: int, phone: str | None = None) -> list[dict[str, str | None]]:
    return [granted(str(n), email=email(n), phone=phone) for n in numbers]


def hashes(*numbers: int) -> set[str]:
    return {digest(email(n)) for n in numbers}


def pending_world() -> World:
    here = World(fast_folder())
    here.partner.pending = True
    return here


def poll(here: World) -> list[Any]:
    here.time += timedelta(hours=1)
    return here.pipeline().poll_due()


def test_whoever_has_other_things_to_do_asks_as_far_as_time_goes() -> None:
    """The rest is asked about the next time, and none of it is taken for unknown."""
    here = pending_world()
    here.write(people(*range(5)))
    run = here.ran()
    first, second = references(here, run)
    here.time += timedelta(days=3)
    states = []
    silent = here.pipeline().ask_about(run, 0.0)
    here.partner.answers = {first: DONE, second: replace(DONE, accepted=2)}
    for _ in range(2):
        asked = here.pipeline().ask_about(run, 0.0)
        states.append((asked.state, sorted(b.state for b in here.ledger.batches(run.id))))
    assert silent.state is RunState.DELIVERED
    assert silent.next_attempt_at is not None
    assert silent.next_attempt_at > here.time + timedelta(minutes=5)  # not at once again
    assert states == [
        (RunState.DELIVERED, [BatchState.CONFIRMED, BatchState.PENDING]),
        (RunState.CONFIRMED, [BatchState.CONFIRMED, BatchState.CONFIRMED]),
    ]


def test_those_without_an_answer_hide_no_others_where_time_is_short() -> None:
    """Each time others are asked first, though there is time for one alone."""
    here = pending_world()
    here.write(people(*range(5)))
    run = here.ran()
    here.partner.answers = {references(here, run)[1]: replace(DONE, accepted=2)}
    for _ in range(60):
        here.pipeline().ask_about(run, 0.0)
    assert {b.state for b in here.ledger.batches(run.id)} == {
        BatchState.PENDING,
        BatchState.CONFIRMED,
    }


def test_nobody_with_little_time_waits_for_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever works on it asks by themselves; a withdrawal that comes meanwhile does not wait."""
    here = pending_world()
    here.write(people(*range(5)))
    run = here.ran()
    for name in (run.lease_name, f"{LANE}{run.lease_name}"):
        here.ledger.take_lease(name, "another:1", 60.0)
    monkeypatch.setattr(going_on, "take_after_lane", pytest.fail)
    assert here.pipeline().ask_about(run, 5.0) == run
    assert here.partner.questions == []


def test_short_time_keeps_no_run_open_for_ever() -> None:
    """Whoever never has more time gives up, too, once nothing is answered any more."""
    here = pending_world()
    here.write(people(*range(5)))
    run = here.ran()
    here.time += timedelta(days=5)
    ended = here.pipeline().ask_about(run, 0.0)
    assert ended.state is RunState.CONFIRMED
    assert ended.reason == "the partner never told the outcome of 2 batches"


def references(here: World, run: Run) -> list[str]:
    return [str(batch.reference) for batch in here.ledger.batches(run.id)]


def test_l13_the_last_answer_confirms() -> None:
    """Delivered is not confirmed; the poll makes it so, and the outbox is destroyed."""
    here = pending_world()
    here.write(people(*range(5)))
    run = here.ran()
    assert run.state is RunState.DELIVERED
    assert run.next_attempt_at is not None
    assert here.held() == hashes(*range(5))
    assert here.pipeline().poll_due() == []
    assert poll(here)[0].run.state is RunState.DELIVERED
    first, second = references(here, run)
    here.partner.answers = {first: DONE, second: replace(DONE, accepted=2)}
    assert poll(here)[0].run.state is RunState.CONFIRMED
    assert {b.state for b in here.ledger.batches(run.id)} == {BatchState.CONFIRMED}
    confirmed = [line for line in here.log() if line.event is Event.CONFIRMED]
    assert [line.sent for line in confirmed] == [3, 2]
    assert all(line.sent == line.accepted + line.rejected + line.unattributed for line in confirmed)
    assert {(line.forms, line.raw_device_ids) for line in confirmed} == {
        ("email=email/plain@1", False)
    }
    assert confirmed[0].note == "match range 61-70 %"
    assert here.location.names("outbox") == []
    assert poll(here) == []


def test_the_last_answer_tells_of_raw_device_ids() -> None:
    """Whatever left unhashed is told in every line about it."""
    here = pending_world()
    here.partner.forms = {Kind.IDFA: "device/raw"}  # type: ignore[misc]
    here.aim(forms={Kind.IDFA: "device/raw"})
    here.write([granted("1", idfa="6d92078a-8246-4ba4-ae5b-76104861e7dc")])
    run = here.ran()
    here.partner.answers = dict.fromkeys(references(here, run), Receipt(accepted=1))
    poll(here)
    told = [(line.event, line.forms, line.raw_device_ids) for line in here.log()]
    assert told == [
        (event, "idfa=device/raw@1", True)
        for event in (Event.INTENT, Event.OUTCOME, Event.CONFIRMED)
    ]


def test_l13_what_failed_after_all_is_sent_again() -> None:
    """A failed batch is told, and the next sync sends its members, and only these, again."""
    here = pending_world()
    here.write(people(*range(6)))
    run = here.ran()
    first, second = references(here, run)
    here.partner.answers = {first: LOST, second: DONE}
    ended = poll(here)[0].run
    assert ended.state is RunState.FAILED
    assert ended.reason == "the partner failed 3 members after all; they are sent again"
    lost = here.partner.digests()[0]
    here.partner.uploads.clear()
    here.ran()
    assert here.partner.digests() == [lost]
    assert here.held() == hashes(*range(6))


def test_l13_a_batch_that_lost_one_of_its_requests_is_sent_again() -> None:
    """Some of its members got through by another request; nobody knows who, so all go again."""
    here = pending_world()
    here.write(people(*range(3)))
    run = here.ran()
    (only,) = references(here, run)
    here.partner.answers = {only: Receipt(accepted=1, unattributed=2, lost=True)}
    assert poll(here)[0].run.state is RunState.FAILED
    here.partner.uploads.clear()
    here.ran()
    assert here.partner.uploads
    assert here.held() == hashes(*range(3))


def test_l13_a_failed_batch_is_not_forgotten_while_others_are_open() -> None:
    """One batch fails now, the other is confirmed later: the run failed, the members go again."""
    here = pending_world()
    here.write(people(*range(6)))
    run = here.ran()
    first, second = references(here, run)
    here.partner.answers = {first: LOST}
    assert poll(here)[0].run.state is RunState.DELIVERED
    here.partner.answers = {second: DONE}
    assert poll(here)[0].run.state is RunState.FAILED
    lost = here.partner.digests()[0]
    here.partner.uploads.clear()
    here.ran()
    assert here.partner.digests() == [lost]


@pytest.mark.parametrize(
    "error", [TemporaryPartnerError("later"), ConfigurationError("nothing to poll")]
)
def test_l13_an_error_in_the_middle_of_asking_loses_no_answer(error: Exception) -> None:
    """One batch failed, asking for the next one breaks off: the failed one is sent again."""
    here = pending_world()
    here.write(people(*range(6)))
    run = here.ran()
    first, second = references(here, run)
    here.partner.answers = {first: LOST}
    real = here.partner.poll

    def broken(reference: str) -> Receipt:
        if reference == second:
            raise error
        return real(reference)

    here.partner.poll = broken  # type: ignore[method-assign]
    assert poll(here)[0].error is error
    here.partner.poll = real  # type: ignore[method-assign]
    here.partner.answers = {second: DONE}
    assert poll(here)[0].run.state is RunState.FAILED
    lost = here.partner.digests()[0]
    here.partner.uploads.clear()
    here.ran()
    assert here.partner.digests() == [lost]


class Killed(BaseException):
    """A process that dies."""


@pytest.mark.parametrize("at", range(1, 6))
def test_l6_a_kill_while_polling_forgets_no_failure(
    at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at any change, the next poll finds the failure again."""
    here = pending_world()
    here.write(people(*range(3)))
    run = here.ran()
    here.partner.answers = dict.fromkeys(references(here, run), LOST)
    left = [at]
    with monkeypatch.context() as patched:
        for owner, name in (
            (here.ledger, "record"),
            (here.ledger, "save_remote_list"),
            (here.ledger, "move_run"),
            (here.location, "create"),
            (here.location, "delete"),
        ):
            real: Any = getattr(owner, name)

            def call(*args: Any, real: Any = real, **options: Any) -> Any:
                left[0] -= 1
                if left[0] == 0:
                    raise Killed
                return real(*args, **options)

            patched.setattr(owner, name, call)
        with pytest.raises(Killed):
            poll(here)
    poll(here)
    assert here.ledger.run(run.id).state is RunState.FAILED
    here.partner.uploads.clear()
    here.ran()
    assert here.partner.digests() == [hashes(0, 1, 2)]
    here.sweep()
    assert here.held() == hashes(0, 1, 2)


def test_l13_silence_ends_after_two_days() -> None:
    """A partner that never answers leaves a confirmed run with a reason."""
    here = pending_world()
    here.write(people(1))
    run = here.ran()
    here.time += timedelta(hours=46)
    assert poll(here)[0].run.state is RunState.DELIVERED
    here.time += timedelta(hours=2)
    poll(here)
    ended = here.ledger.run(run.id)
    assert ended.state is RunState.CONFIRMED
    assert ended.reason == "the partner never told the outcome of 1 batches"
    assert here.location.names("outbox") == []
    assert here.held() == hashes(1)


def test_l13_a_refused_question_is_unknown_not_failed() -> None:
    """A partner that forgot the reference: the members stay as accepted."""
    here = pending_world()
    here.write(people(1, 2))
    run = here.ran()

    def refuse(_reference: str) -> Receipt:
        raise RefusedError("no such job", 404)

    here.partner.poll = refuse  # type: ignore[method-assign]
    assert poll(here)[0].run.state is RunState.CONFIRMED
    assert here.ledger.batches(run.id)[0].state is BatchState.UNKNOWN
    assert here.held() == hashes(1, 2)


def test_l4_a_failed_change_can_still_be_removed() -> None:
    """A member sent before and changed by a batch that failed stays removable.

    The partner holds it from the first time; forgetting it would leave it there for ever.
    """
    here = pending_world()
    here.partner.pending = False
    here.write(people(1, 2))
    here.ran()
    here.partner.pending = True
    here.write(people(1, 2, phone="+46701234567"))
    run = here.ran()
    here.partner.answers = dict.fromkeys(references(here, run), LOST)
    poll(here)
    assert here.held() >= hashes(1, 2)
    here.write([])
    here.partner.pending = False
    here.ran()
    assert here.partner.holds == set()
    assert here.held() == set()


def test_l4_a_failed_removal_is_removed_again() -> None:
    """What the partner did not take off after all is taken off by the next sync."""
    here = pending_world()
    here.partner.pending = False
    here.write(people(1, 2))
    here.ran()
    here.partner.pending = True
    here.write(people(2))
    run = here.ran()
    assert here.held() == hashes(2)
    here.partner.holds |= hashes(1)
    here.partner.answers = dict.fromkeys(references(here, run), Receipt(accepted=0, unattributed=1))
    poll(here)
    assert here.held() == hashes(1, 2)
    here.partner.pending = False
    here.ran()
    assert here.partner.holds == hashes(2) == here.held()


def test_l13_a_late_failure_waits_for_the_newer_delivery() -> None:
    """While a newer run is under way its membership is left alone; then the failure counts."""
    here = pending_world()
    here.write(people(1, 2, 3))
    first = here.ran()
    here.partner.answers = dict.fromkeys(references(here, first), LOST)
    here.partner.pending = False

    def busy(_when: str, _operation: str) -> None:
        raise TemporaryPartnerError("not now", 503)

    here.partner.fault = busy
    here.write(people(2, 3, 4))
    assert isinstance(here.sync().error, TemporaryPartnerError)
    poll(here)
    assert here.ledger.run(first.id).state is RunState.DELIVERED
    here.partner.fault = lambda _when, _operation: None
    here.ran()
    assert here.held() == hashes(2, 3, 4) == here.partner.holds
    poll(here)
    assert here.ledger.run(first.id).state is RunState.FAILED
    here.partner.uploads.clear()
    here.ran()
    assert here.partner.digests() == [hashes(2, 3)]
    assert here.held() == hashes(2, 3, 4) == here.partner.holds


def test_a_sweep_while_polling_deletes_nothing_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep between writing and pointing leaves the files that are about to count."""
    here = pending_world()
    here.write(people(1, 2, 3))
    run = here.ran()
    here.partner.answers = dict.fromkeys(references(here, run), LOST)
    real = here.ledger.save_remote_list

    def swept_before(*args: Any, **options: Any) -> Any:
        here.sweep()
        return real(*args, **options)

    monkeypatch.setattr(here.ledger, "save_remote_list", swept_before)
    poll(here)
    assert here.held() == hashes(1, 2, 3)


def answer_to(batch: Batch, answer: Receipt) -> Receipt:
    """The same answer for as many members as the batch has."""
    if answer.pending:
        return answer
    if answer.unattributed:
        return replace(answer, unattributed=batch.accepted)
    return replace(answer, accepted=batch.accepted)


def leaving_world() -> World:
    """Three people are held; the next removals are only told of later."""
    here = pending_world()
    here.partner.pending = False
    here.write(people(1, 2, 3))
    here.ran()
    here.partner.pending = True
    return here


def stubborn(here: World, receipt: Receipt) -> None:
    """The partner takes nobody off, whatever it says."""

    def remove(_upload: Any, _members: Any) -> Receipt:
        return receipt

    here.partner.remove = remove  # type: ignore[method-assign]


def removed_in_the_end(here: World) -> None:
    """A partner that works again is asked to take off all who should have gone."""
    del here.partner.remove
    here.partner.pending = False
    here.ran()
    assert here.partner.holds == hashes(3) == here.held()


def test_l11_a_removal_that_failed_in_part_later_is_sent_again() -> None:
    """Nobody can tell which of the members stayed on, so all of them are taken off again."""
    here = leaving_world()
    stubborn(here, Receipt(accepted=2, pending=True, reference="r"))
    here.write(people(3))
    here.ran()
    here.partner.answers = {"r": Receipt(accepted=1, unattributed=1, reason="ERROR")}
    ended = poll(here)[0].run
    assert ended.state is RunState.FAILED
    assert ended.reason == "the partner failed 1 members after all; they are sent again"
    assert here.held() == hashes(1, 2, 3)
    removed_in_the_end(here)


def test_l11_a_removal_that_was_refused_by_name_later_is_sent_again() -> None:
    """The partner names who stayed on; only that one is taken off again."""
    here = leaving_world()
    stubborn(here, Receipt(accepted=2, pending=True, reference="r"))
    here.write(people(3))
    here.ran()
    stayed = Receipt(accepted=1, rejected=(Rejection(position=0, reason="busy"),))
    here.partner.answers = {"r": stayed}
    assert poll(here)[0].run.state is RunState.FAILED
    assert len(here.held()) == 2
    assert here.held() > hashes(3)


@pytest.mark.parametrize("end", ["two days", "cancel", "refused"])
def test_l11_a_removal_that_nobody_confirmed_is_sent_again(end: str) -> None:
    """However the waiting ends, who perhaps stayed on is taken off again."""
    here = leaving_world()
    stubborn(here, Receipt(accepted=2, pending=True, reference="r"))
    here.write(people(3))
    run = here.ran()
    assert run.state is RunState.DELIVERED
    if end == "cancel":
        assert here.pipeline().cancel(run).state is RunState.CANCELLED
    elif end == "two days":
        here.time += timedelta(hours=48)
        assert poll(here)[0].run.state is RunState.CONFIRMED
    else:
        real, here.partner.poll = here.partner.poll, refuse  # type: ignore[method-assign]
        assert poll(here)[0].run.state is RunState.CONFIRMED
        here.partner.poll = real  # type: ignore[method-assign]
    assert here.held() == hashes(1, 2, 3)
    assert here.location.names("outbox") == []
    removed_in_the_end(here)


@pytest.mark.parametrize(
    "receipt",
    [
        Receipt(accepted=1, rejected=(Rejection(position=0, reason="try later"),)),
        Receipt(accepted=1, unattributed=1, reason="partial"),
    ],
)
def test_l11_a_removal_that_is_refused_at_once_is_sent_again(receipt: Receipt) -> None:
    """Taken off is only who was accepted; the run says so."""
    here = leaving_world()
    stubborn(here, receipt)
    here.write(people(3))
    run = here.ran()
    assert run.state is RunState.CONFIRMED
    assert run.reason == "the partner did not take 1 members off; the next sync asks again"
    assert here.held() > hashes(3)
    here.partner.holds = set(here.held())
    removed_in_the_end(here)


def test_l11_who_comes_back_after_an_unsure_removal_is_sent_again() -> None:
    """Perhaps they were taken off, so counting them as held would leave them out."""
    here = leaving_world()
    stubborn(here, Receipt(accepted=1, unattributed=1, reason="partial"))
    here.write(people(3))
    here.ran()
    del here.partner.remove
    here.partner.holds = hashes(3)
    here.partner.pending = False
    here.write(people(1, 2, 3))
    here.ran()
    assert here.partner.holds == hashes(1, 2, 3) == here.held()


def refuse(_reference: str) -> Receipt:
    raise RefusedError("no such job", 404)


@pytest.mark.parametrize(
    "error",
    [AuthenticationError("no", 401), ConfigurationError("gone"), KeyError("p1@example.com")],
)
def test_l9_a_run_ends_though_nobody_can_ask(error: Exception) -> None:
    """Asking fails each time: it is asked again later, and given up after two days."""
    here = pending_world()
    here.write(people(1))
    run = here.ran()

    def broken(_reference: str) -> Receipt:
        raise error

    here.partner.poll = broken  # type: ignore[method-assign]
    told = poll(here)[0].error
    assert isinstance(told, AudienceSyncError)
    assert "p1@" not in str(told)
    asked_again = here.ledger.run(run.id).next_attempt_at
    assert asked_again is not None
    assert asked_again > here.time
    assert here.pipeline().poll_due() == []
    here.time += timedelta(hours=48)
    assert poll(here)[0].run.state is RunState.CONFIRMED
    assert here.location.names("outbox") == []
    assert here.held() == hashes(1)


def test_l9_a_run_ends_though_its_destination_is_gone() -> None:
    """The project no longer names the destination, so nobody can be asked at all."""
    here = pending_world()
    here.write(people(1))
    run = here.ran()

    def gone(_destination: str) -> Any:
        raise ConfigurationError("no such destination")

    here.link = gone  # type: ignore[method-assign]
    assert isinstance(poll(here)[0].error, ConfigurationError)
    here.time += timedelta(hours=48)
    poll(here)
    assert here.ledger.run(run.id).state is RunState.CONFIRMED
    assert here.location.names("outbox") == []


def test_l9_a_run_ends_though_its_outbox_is_gone() -> None:
    """A lost outbox keeps no run open: all whom the partner may hold are in doubt."""
    here = leaving_world()
    stubborn(here, Receipt(accepted=2, pending=True, reference="r"))
    here.write(people(3))
    run = here.ran()
    here.location.delete(f"outbox/{run.id}")
    here.time += timedelta(hours=48)
    poll(here)
    ended = here.ledger.run(run.id)
    assert ended.state is RunState.CONFIRMED
    assert "cannot be read" in str(ended.reason)


def test_l3_a_last_word_that_does_not_add_up_fails_the_run() -> None:
    """Counts that nobody can explain put the whole batch in doubt, loudly."""
    here = pending_world()
    here.write(people(1, 2, 3))
    run = here.ran()
    for wrong in (
        Receipt(accepted=2),
        Receipt(accepted=4, unattributed=-1),
        Receipt(accepted=2, rejected=(Rejection(position=3, reason="x"),)),
    ):
        here.partner.answers = dict.fromkeys(references(here, run), wrong)
        ended = poll(here)[0].run
        assert ended.state is RunState.FAILED
        batch = here.ledger.batches(run.id)[0]
        assert batch.accepted + batch.rejected + batch.unattributed == batch.members == 3
        assert "accounts for" in str(batch.error)
        here.partner.uploads.clear()
        run = here.ran()
        assert here.partner.digests() == [hashes(1, 2, 3)]


def test_l9_who_is_named_later_is_taken_off_and_left_alone() -> None:
    """A rejection that polling finds counts as one: not accepted, taken off, not sent again."""
    here = pending_world()
    here.write(people(1, 2, 3))
    run = here.ran()
    named = Receipt(accepted=2, rejected=(Rejection(position=1, reason="unusable"),))
    here.partner.answers = dict.fromkeys(references(here, run), named)
    assert poll(here)[0].run.state is RunState.CONFIRMED
    batch = here.ledger.batches(run.id)[0]
    assert (batch.accepted, batch.rejected, batch.unattributed) == (2, 1, 0)
    assert batch.rejected_positions == ()
    told = [line for line in here.log() if line.event is Event.CONFIRMED]
    assert (told[0].accepted, told[0].rejected, told[0].note) == (2, 1, "unusable")
    here.partner.pending = False
    here.partner.uploads.clear()
    here.ran()
    assert [operation for operation, _, _ in here.partner.uploads] == ["remove"]
    assert len(here.held()) == 2
    here.partner.uploads.clear()
    here.ran()
    assert here.partner.uploads == []


def test_l13_a_late_failure_is_told_by_the_next_sync() -> None:
    """What an earlier run turns out to be stands among the outcomes, once, and news only."""
    here = pending_world()
    here.write(people(1, 2, 3))
    run = here.ran()
    here.partner.answers = dict.fromkeys(references(here, run), LOST)
    polled = poll(here)
    assert late_failures(polled, []) == polled
    assert late_failures(polled, polled) == []
    later = replace(polled[0], run=run, error=TemporaryPartnerError("not now"))
    assert late_failures([later], []) == []
    wrong = replace(polled[0], run=run, error=AuthenticationError("no", 401))
    assert late_failures([wrong], []) == [wrong]


STEPS = st.lists(
    st.one_of(
        st.frozensets(st.integers(0, 6), max_size=6),
        st.lists(st.sampled_from([LOST, DONE, Receipt(accepted=0, pending=True)]), max_size=4),
    ),
    max_size=8,
)


@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS, st.frozensets(st.integers(0, 6), max_size=6))
def test_l4_whatever_fails_late_nobody_is_left_behind(steps: Any, last: frozenset[int]) -> None:
    """Syncs and late answers in any order: what the partner may hold is always in the membership.

    The partner in this test keeps everything it was told to put on, even in failed batches, and
    loses nothing by a failed removal.
    """
    here = pending_world()
    for step in steps:
        if isinstance(step, frozenset):
            here.write(people(*step))
            here.ran()
        else:
            waiting = [
                batch
                for run in here.ledger.runs(states=[RunState.DELIVERED])
                for batch in here.ledger.batches(run.id)
                if batch.state is BatchState.PENDING
            ]
            for batch, answer in zip(waiting, step, strict=False):
                here.partner.answers[str(batch.reference)] = answer_to(batch, answer)
            poll(here)
        assert here.held() >= here.partner.holds
    here.partner.pending = False
    here.write(people(*last))
    here.ran()
    assert here.partner.holds == hashes(*last) == here.held()
    assert here.ledger.verify_log().sound
