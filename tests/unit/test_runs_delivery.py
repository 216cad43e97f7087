"""Delivery: in order, in sessions, accounted for, and resumable (L3, L4, L5, L6)."""

from __future__ import annotations

import threading
from collections import defaultdict
from datetime import timedelta
from typing import Any

import pytest
from pipeline_world import World, digest, fast_folder, granted

from audience_sync.connector import Kind, Limits, Receipt, Rejection
from audience_sync.errors import (
    AuthenticationError,
    ConfigurationError,
    PartnerError,
    RefusedError,
    StateError,
    TemporaryPartnerError,
)
from audience_sync.ledger.records.log import Event
from audience_sync.ledger.records.runs import BatchState, RunState


def email(number: int) -> str:
    return f"p{number}@example.com"


def people(*numbers: int) -> list[dict[str, str | None]]:
    return [granted(str(n), email=email(n)) for n in numbers]


def hashes(*numbers: int) -> set[str]:
    return {digest(email(n)) for n in numbers}


def world(*numbers: int) -> World:
    here = World(fast_folder())
    here.write(people(*numbers))
    return here


def fail_at(here: World, error: BaseException, *, call: int = 1, when: str = "before") -> None:
    """The partner fails at one call, and only there."""
    seen = [0]

    def fault(at: str, _operation: str) -> None:
        if at == when:
            seen[0] += 1
            if seen[0] == call:
                raise error

    here.partner.fault = fault


def test_l4_every_removal_is_answered_before_the_first_addition() -> None:
    """However many uploads run at once, and whichever of them is slow."""
    here = world(*range(12))
    here.ran()
    here.partner.limits = Limits(  # type: ignore[misc]  # only this partner's
        members_per_request=1, parallel_uploads=4, batches_per_session=3
    )
    here.aim(batch_size=1)
    events: list[tuple[str, str]] = []
    lock = threading.Lock()
    all_started = threading.Event()

    def fault(when: str, operation: str) -> None:
        with lock:
            events.append((when, operation))
            if len([e for e in events if e == ("before", "remove")]) == 3:
                all_started.set()
        if (when, operation) == ("before", "remove"):
            all_started.wait(1)  # so that several are surely under way together

    here.partner.fault = fault
    here.write(people(*range(6, 18)))
    here.ran()
    assert events.count(("after", "remove")) == events.count(("after", "add")) == 6
    last = max(i for i, e in enumerate(events) if e == ("after", "remove"))
    assert last < min(i for i, e in enumerate(events) if e == ("before", "add"))
    assert here.partner.holds == hashes(*range(6, 18))


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_sessions_count_from_one_and_end_with_their_last(size: int) -> None:
    """Sequences have no gap, the last is sent alone after all others were answered."""
    here = world(*range(20))
    here.partner.limits = Limits(  # type: ignore[misc]  # only this partner's
        members_per_request=3, parallel_uploads=3, batches_per_session=size
    )
    answered: dict[int, list[int]] = defaultdict(list)
    real = here.partner.add

    def add(upload: Any, members: Any) -> Receipt:
        if upload.last:
            assert sorted(answered[upload.session]) == list(range(1, upload.sequence))
        receipt = real(upload, members)
        answered[upload.session].append(upload.sequence)
        return receipt

    here.partner.add = add  # type: ignore[method-assign]
    here.ran()
    uploads = [upload for _, upload, _ in here.partner.uploads]
    for session in {upload.session for upload in uploads}:
        mine = sorted(u.sequence for u in uploads if u.session == session)
        assert mine == list(range(1, len(mine) + 1))
        assert len(mine) <= size
        assert 0 < session < 2**63
        assert [u.sequence for u in uploads if u.session == session and u.last] == [len(mine)]
        assert len({u.total for u in uploads if u.session == session}) == 1
    assert sum({u.session: u.total for u in uploads}.values()) == 20


def test_a_resumed_run_begins_new_sessions() -> None:
    """No number of a session that broke off is used again."""
    here = world(*range(20))
    fail_at(here, TemporaryPartnerError("later"), call=4)
    assert here.sync().error is not None
    before = {upload.session for _, upload, _ in here.partner.uploads}
    here.partner.uploads.clear()
    here.ran()
    assert here.partner.uploads
    assert not before & {upload.session for _, upload, _ in here.partner.uploads}
    assert here.partner.holds == hashes(*range(20))


def bad_receipts() -> list[Receipt]:
    twice = (Rejection(position=0, reason="x"), Rejection(position=0, reason="x"))
    return [
        Receipt(accepted=2),
        Receipt(accepted=4),
        Receipt(accepted=5, unattributed=-2),
        Receipt(accepted=-1, unattributed=4),
        Receipt(accepted=2, rejected=(Rejection(position=3, reason="x"),)),
        Receipt(accepted=2, rejected=(Rejection(position=-1, reason="x"),)),
        Receipt(accepted=1, rejected=twice),
    ]


@pytest.mark.parametrize("receipt", bad_receipts())
def test_l3_a_receipt_that_does_not_add_up_fails_the_run(receipt: Receipt) -> None:
    """It fails loudly, and what perhaps arrived can still be removed."""
    here = world(1, 2, 3)
    real = here.partner.add

    def add(upload: Any, members: Any) -> Receipt:
        real(upload, members)
        return receipt

    here.partner.add = add  # type: ignore[method-assign]
    run = here.ran()
    assert run.state is RunState.FAILED
    assert "accounts for" in str(run.reason)
    assert here.held() == hashes(1, 2, 3) == here.partner.holds
    here.partner.add = real  # type: ignore[method-assign]
    here.write([])
    here.ran()
    assert here.partner.holds == set() == here.held()


def test_an_authentication_error_leaves_the_run_to_be_resumed() -> None:
    """The operator mends the credentials; the next sync goes on with what is left."""
    here = world(*range(9))
    fail_at(here, AuthenticationError("token expired", 401), call=2)
    outcome = here.sync()
    assert isinstance(outcome.error, AuthenticationError)
    assert outcome.run is not None
    assert outcome.run.state is RunState.DELIVERING
    assert outcome.run.next_attempt_at is None
    assert outcome.run.reason == "token expired (HTTP 401)"
    run = here.pipeline().resume(outcome.run)
    assert run.state is RunState.CONFIRMED
    assert run.reason is None
    assert here.partner.holds == hashes(*range(9)) == here.held()


def test_a_refusal_ends_the_run_with_what_was_accepted() -> None:
    """The accepted part is in the membership; the next sync sends the rest."""
    here = world(*range(9))
    fail_at(here, RefusedError("no", 400), call=3)
    run = here.ran()
    assert run.state is RunState.FAILED
    assert run.reason == "no (HTTP 400)"
    assert here.location.names("outbox") == []
    assert here.held() == here.partner.holds
    states = sorted(batch.state for batch in here.ledger.batches(run.id))
    assert states == ["accepted", "accepted", "failed"]
    here.partner.fault = lambda _when, _operation: None
    here.partner.uploads.clear()
    here.ran()
    assert len(here.partner.uploads) == 1
    assert here.partner.holds == hashes(*range(9)) == here.held()


@pytest.mark.parametrize(
    ("error", "pause"),
    [
        (TemporaryPartnerError("later", 503), 300),
        (TemporaryPartnerError("later", 429, retry_after=1800), 1800),
    ],
)
def test_a_temporary_error_names_the_next_attempt(error: PartnerError, pause: float) -> None:
    """The run waits as long as the partner asked, and the next sync finishes it first."""
    here = world(*range(6))
    fail_at(here, error, call=1)
    outcome = here.sync()
    assert outcome.error is error
    assert outcome.run is not None
    assert outcome.run.state is RunState.DELIVERING
    assert outcome.run.next_attempt_at is not None
    wait = (outcome.run.next_attempt_at - here.time).total_seconds()
    assert pause - 2 <= wait <= pause
    here.write(people(*range(3)))
    here.partner.uploads.clear()
    here.ran()
    first = [operation for operation, _, _ in here.partner.uploads]
    assert first[0] == "add"
    assert first[-1] == "remove"
    assert here.ledger.run(outcome.run.id).state is RunState.CONFIRMED
    assert here.partner.holds == hashes(*range(3)) == here.held()


@pytest.mark.parametrize("status", [None, 500, 502])
@pytest.mark.parametrize("second", ["cancel", "refuse"])
def test_l4_what_arrived_without_an_answer_can_still_be_removed(
    status: int | None, second: str
) -> None:
    """The change was made, the answer never came, the run is given up, the customers leave.

    Whoever perhaps stands on the partner's list is remembered, and taken off.
    """
    here = world(1, 2, 3)
    fail_at(here, TemporaryPartnerError("gone", status), when="after")
    run = here.sync().run
    assert run is not None
    assert here.partner.holds == hashes(1, 2, 3)
    if second == "cancel":
        here.pipeline().cancel(run)
    else:
        fail_at(here, RefusedError("no", 400))
        here.pipeline().resume(run)
    assert here.held() == hashes(1, 2, 3)
    here.partner.fault = lambda _when, _operation: None
    here.write([])
    here.ran()
    assert here.partner.holds == set() == here.held()


def test_who_perhaps_arrived_is_sent_again() -> None:
    """After a cancelled run the doubtful members are sent once more, and then rest (L8)."""
    here = world(1, 2, 3)
    fail_at(here, TemporaryPartnerError("gone"))
    run = here.sync().run
    assert run is not None
    here.pipeline().cancel(run)
    here.partner.fault = lambda _when, _operation: None
    here.ran()
    assert here.partner.holds == hashes(1, 2, 3) == here.held()
    calls = len(here.partner.calls)
    assert here.ran().reason == "nothing changed"
    assert len(here.partner.calls) == calls


class Killed(BaseException):
    """A process that dies."""


@pytest.mark.parametrize("at", range(1, 4))
def test_l6_a_kill_while_giving_up_is_not_told_as_success(
    at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused run that is killed before its end ends as failed, and the rest is sent."""
    here = world(*range(6))
    fail_at(here, RefusedError("no", 400))
    left = [at]
    with monkeypatch.context() as patched:
        for owner, name in (
            (here.ledger, "save_remote_list"),
            (here.ledger, "move_run"),
            (here.location, "delete"),
        ):
            real: Any = getattr(owner, name)

            def call(*args: Any, real: Any = real, **options: Any) -> Any:
                if here.partner.uploads:
                    left[0] -= 1
                    if left[0] == 0:
                        raise Killed
                return real(*args, **options)

            patched.setattr(owner, name, call)
        with pytest.raises(Killed):
            here.sync()
    first = here.ledger.runs()[-1]
    here.partner.fault = lambda _when, _operation: None
    here.ran()
    assert here.partner.holds == hashes(*range(6)) == here.held()
    ended = here.ledger.run(first.id)
    unsent = [b for b in here.ledger.batches(first.id) if b.state is not BatchState.ACCEPTED]
    assert ended.state is (RunState.FAILED if unsent else RunState.CONFIRMED)


def test_a_connector_with_a_bug_fails_its_own_run_only() -> None:
    """L10: what a plugin raises may show a member; the run fails with a sentence that does not."""
    here = world(1, 2, 3)

    def add(_upload: Any, members: Any) -> Receipt:
        raise KeyError(members.rows(members.kinds)[0][0])

    here.partner.add = add  # type: ignore[method-assign]
    run = here.ran()
    assert run.state is RunState.FAILED
    assert run.reason == "the connector memory stopped with a KeyError; report this to its author"
    shown = repr((run, here.log(), here.ledger.batches(run.id)))
    assert not any(one in shown for one in hashes(1, 2, 3))


def test_l5_every_request_has_an_intent_before_it() -> None:
    """For each upload the partner saw there is an earlier intent; outcomes add up (L3)."""
    here = world(*range(8))
    seen: list[int] = []

    def fault(when: str, _operation: str) -> None:
        if when == "before":
            seen.append(sum(line.event is Event.INTENT for line in here.log()))

    here.partner.fault = fault
    here.partner.rejects = hashes(1)
    here.ran()
    here.write(people(*range(4, 12)))
    here.ran()
    assert len(seen) == len(here.partner.uploads)
    assert all(intents >= number for number, intents in enumerate(sorted(seen), start=1))
    lines = here.log()
    intents = {(line.run, line.batch): i for i, line in enumerate(lines) if line.event == "intent"}
    for i, line in enumerate(lines):
        if line.event is Event.OUTCOME:
            assert intents[line.run, line.batch] < i
            assert line.sent == line.accepted + line.rejected + line.unattributed
            assert line.recipient == "Memory Ltd"
            assert line.forms == "email=email/plain@1"
    assert here.ledger.verify_log().sound


def test_l8_no_difference_no_request_no_outbox() -> None:
    """An unchanged list costs the partner nothing and leaves no file."""
    here = world(1, 2, 3)
    here.ran()
    calls, files = len(here.partner.calls), here.files()
    lists = len(here.partner.lists)
    run = here.ran()
    assert run.state is RunState.CONFIRMED
    assert run.outbox is None
    assert len(here.partner.calls) == calls
    assert len(here.partner.lists) == lists
    assert here.ledger.batches(run.id) == []
    assert here.files() == files


def test_an_outbox_from_elsewhere_is_refused() -> None:
    """Only the very outbox that was planned is sent."""
    here = world(1, 2, 3)
    planned = here.ran(deliver=False)
    other = world(4, 5, 6)
    other.location = here.location
    theirs = other.ran(deliver=False)
    root = here.folder / "state" / "outbox"
    for part in ("add", "remove"):
        (root / theirs.id / f"{part}.sealed").replace(root / planned.id / f"{part}.sealed")
    with pytest.raises(StateError, match="damaged"):
        here.pipeline().approve(planned, "ann")
    assert here.partner.calls == []
    ended = here.pipeline().cancel(here.ledger.run(planned.id))
    assert ended.state is RunState.CANCELLED
    here.ran()
    assert here.partner.holds == hashes(1, 2, 3)


def test_removals_that_were_not_sent_are_sent_later() -> None:
    """A refused removal stops the additions, and both come with the next run."""
    here = world(1, 2)
    here.ran()
    here.write(people(3))
    fail_at(here, RefusedError("no", 400))
    assert here.ran().state is RunState.FAILED
    assert here.held() == hashes(1, 2) == here.partner.holds
    here.partner.fault = lambda _when, _operation: None
    here.ran()
    assert here.partner.holds == hashes(3) == here.held()


def test_poll_and_resume_wait_for_nobody() -> None:
    """A run that ended cannot be resumed; the sentence says what to do."""
    here = world(1)
    run = here.ran()
    here.time += timedelta(days=1)
    with pytest.raises(ConfigurationError, match="plans a new one"):
        here.pipeline().resume(run)


def test_the_log_names_the_forms_that_a_removal_was_sent_in() -> None:
    """A removal consists of what was sent, so it is told in those forms, not in today's."""
    here = world(1, 2)
    here.ran()
    here.aim(forms={Kind.EMAIL: "email/gmail-folded"})
    here.write([granted(str(n), email=f"p.{n}@gmail.com") for n in (1, 2)])
    here.ran()
    told = {(line.operation, line.forms) for line in here.log() if line.event is Event.OUTCOME}
    assert told == {
        ("add", "email=email/plain@1"),
        ("remove", "email=email/plain@1"),
        ("add", "email=email/gmail-folded@1"),
    }


def test_a_list_that_gets_a_further_part_is_sent_everybody_again() -> None:
    """Nobody is on the new part yet, however long they were held; after that all is silent."""
    here = world(1, 2, 3)
    here.ran()
    here.partner.complete_audience = lambda remote_id, _audience: remote_id.split(",")[0] + ",ios"  # type: ignore[method-assign]
    here.write(people(1, 2, 3, 4))
    here.ran()
    assert here.ledger.remote_list("vip", "memory-1").remote_id == "1,ios"
    here.partner.uploads.clear()
    here.ran()
    assert set().union(*here.partner.digests()) == hashes(1, 2, 3, 4)
    assert {upload.remote_id for _, upload, _ in here.partner.uploads} == {"1,ios"}
    here.partner.uploads.clear()
    here.ran()
    assert here.partner.uploads == []
    assert here.partner.holds == hashes(1, 2, 3, 4) == here.held()
