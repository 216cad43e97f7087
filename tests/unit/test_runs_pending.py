"""Partners that answer later: their last word counts, whatever happened meanwhile (L13)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pipeline_world import World, digest, fast_folder, granted

from audience_sync.connector import Kind, Receipt
from audience_sync.errors import (
    ConfigurationError,
    RefusedError,
    TemporaryPartnerError,
)
from audience_sync.ledger.records import BatchState, Event, Run, RunState

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
    here.partner.answers = dict.fromkeys(references(here, run), DONE)
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
                here.partner.answers[str(batch.reference)] = answer
            poll(here)
        assert here.held() >= here.partner.holds
    here.partner.pending = False
    here.write(people(*last))
    here.ran()
    assert here.partner.holds == hashes(*last) == here.held()
    assert here.ledger.verify_log().sound
