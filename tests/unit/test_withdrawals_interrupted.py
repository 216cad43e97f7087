"""A delivery that was killed keeps no withdrawal waiting, though nobody goes on with it (L11)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from pipeline_world import digest, granted
from withdrawn_world import EVERYBODY, PEOPLE, WithdrawnWorld, answer, eight_people, written

from audience_sync.connector import Members, Receipt, Upload
from audience_sync.errors import TemporaryPartnerError
from audience_sync.ledger.records.runs import BatchState, Run, RunState
from audience_sync.ledger.withdrawal_deliveries import WithdrawalState

CONFIRMED, ACKNOWLEDGED = WithdrawalState.CONFIRMED, WithdrawalState.ACKNOWLEDGED
UPLOAD = timedelta(minutes=10)  # that a partner may take to work off what came from somebody dead


@pytest.fixture
def world(tmp_path: Path) -> WithdrawnWorld:
    """Eight people, two in a batch, one batch after the other."""
    world = eight_people(tmp_path)
    world.aim(batch_size=2)
    one_by_one = replace(world.partner.limits, parallel_uploads=1)
    world.partner.limits = one_by_one
    return world


def killed(
    world: WithdrawnWorld, *, sent: int, error: type[BaseException] = KeyboardInterrupt
) -> Run:
    """A delivery that ends with its last upload of so many, whose answer nobody sees."""
    left = [sent]

    def dies(when: str, operation: str) -> None:
        if (when, operation) == ("after", "add"):
            left[0] -= 1
            if not left[0]:
                raise error("no answer")

    world.partner.fault = dies
    if error is KeyboardInterrupt:
        with pytest.raises(KeyboardInterrupt):
            world.sync()
    else:
        assert world.sync().error is not None
    world.partner.fault = lambda _when, _operation: None
    [run] = world.ledger.runs(states=[RunState.DELIVERING])
    return run


def numbers(world: WithdrawnWorld, there: set[str]) -> list[int]:
    """Whom of the eight these identifiers name."""
    return [n for n in range(8) if digest(f"p{n}@example.com") in there]


def cells(people: list[int]) -> set[str]:
    """What a partner knows them by."""
    return {c for n in people for c in written(f"p{n}@example.com", f"+4670000000{n}")}


def removals(world: WithdrawnWorld) -> int:
    """How many the lane asked for until now."""
    return len({line.run for line in world.log() if line.operation == "withdraw"})


def withdraw(world: WithdrawnWorld, people: list[int]) -> None:
    """Each by itself."""
    for n in people:
        world.withdraw(email=f"p{n}@example.com")


@pytest.mark.parametrize("error", [KeyboardInterrupt, TemporaryPartnerError])
def test_whom_a_killed_run_sent_is_confirmed_without_it(
    world: WithdrawnWorld, error: type[BaseException]
) -> None:
    """Off at once, and once more when what nobody saw an answer to has surely arrived."""
    run = killed(world, sent=2, error=error)
    withdraw(world, list(range(8)))
    for _ in range(3):
        world.lane_works()
        assert set(world.states()) <= {ACKNOWLEDGED, CONFIRMED}
    assert ACKNOWLEDGED in world.states()
    assert removals(world) == 1
    assert world.partner.holds == set()

    world.partner.holds |= world.partner.digests()[1]  # the partner was still at the last upload
    world.time += UPLOAD
    for _ in range(2):
        world.lane_works()
    assert set(world.states()) == {CONFIRMED}
    assert removals(world) == 2
    assert world.partner.holds == set()
    assert world.ledger.run(run.id).state is RunState.DELIVERING


def test_whose_upload_was_answered_is_confirmed_at_once(world: WithdrawnWorld) -> None:
    """The upload that nobody saw an answer to concerns others."""
    killed(world, sent=2)
    answered, unanswered = (numbers(world, sent) for sent in world.partner.digests())
    withdraw(world, answered)
    world.lane_works()
    assert world.states() == [CONFIRMED, CONFIRMED]
    assert world.partner.holds == cells(unanswered)
    assert removals(world) == 1


def test_what_two_share_leaves_with_the_second(world: WithdrawnWorld) -> None:
    """The first keeps nothing on the list, though the run had sent them and did not end."""
    world.write([*PEOPLE, granted("c9", email="p9@example.com", phone="+46700000001")])
    killed(world, sent=5)
    world.time += UPLOAD
    for n in (1, 9):
        world.withdraw(email=f"p{n}@example.com")
        world.lane_works()
    assert world.states() == [CONFIRMED, CONFIRMED]
    assert not world.partner.holds & cells([1, 9])


def test_who_was_planned_and_not_sent_is_confirmed_at_once(world: WithdrawnWorld) -> None:
    """Nobody has them, and nobody sends them."""
    run = killed(world, sent=1)
    gone = numbers(world, EVERYBODY - world.partner.holds)
    withdraw(world, gone)
    world.lane_works()
    assert set(world.states()) == {CONFIRMED}
    assert removals(world) == 0
    world.pipeline().resume(run)
    assert world.wrongs == []
    assert world.partner.holds == EVERYBODY - cells(gone)


def _resumed(world: WithdrawnWorld, run: Run) -> None:
    world.pipeline().resume(run)


def _cancelled(world: WithdrawnWorld, run: Run) -> None:
    world.pipeline().cancel(run)


def _synced(world: WithdrawnWorld, _run: Run) -> None:
    world.ran()


@pytest.mark.parametrize("goes_on", [_resumed, _cancelled, _synced])
@pytest.mark.parametrize("batch", [0, 1])
def test_a_run_that_goes_on_later_brings_nobody_back(
    world: WithdrawnWorld, goes_on: Callable[[WithdrawnWorld, Run], None], batch: int
) -> None:
    """Whom it sent before stands in our books in doubt at most, and is taken off once more."""
    run = killed(world, sent=2)
    gone = numbers(world, world.partner.digests()[batch])
    withdraw(world, gone)
    for _ in range(2):
        world.lane_works()
        world.time += UPLOAD
    assert world.states() == [CONFIRMED, CONFIRMED]
    goes_on(world, run)
    assert world.wrongs == []
    assert not world.partner.holds & cells(gone)
    assert not world.held(surely=True) & cells(gone)
    world.ran()
    assert world.wrongs == []
    assert world.partner.holds == world.held() == EVERYBODY - cells(gone)
    assert world.ran().reason == "nothing changed"


@pytest.mark.parametrize("goes_on", [_resumed, _cancelled, _synced])
def test_who_granted_again_before_the_killed_run_is_sent_once_more(
    world: WithdrawnWorld, goes_on: Callable[[WithdrawnWorld, Run], None]
) -> None:
    """Nobody had told the list of the withdrawal before; the lane took them off after the run."""
    withdraw(world, list(range(8)))
    world.time += timedelta(minutes=1)
    again = {"consent_at": world.now().isoformat()}
    world.write([one | again for one in PEOPLE])
    world.forbidden.clear()
    run = killed(world, sent=2)
    for _ in range(2):
        world.lane_works()
        world.time += UPLOAD
    assert set(world.states()) == {CONFIRMED}
    assert world.partner.holds == set()
    goes_on(world, run)
    assert world.held(surely=True) <= world.partner.holds
    world.ran()
    assert world.partner.holds == world.held() == EVERYBODY
    assert world.ran().reason == "nothing changed"


def test_a_removal_beside_a_run_that_is_killed_then_is_made_again(world: WithdrawnWorld) -> None:
    """It came while the run was at work; what the run sent last came after it, perhaps."""
    left = [3]

    def in_the_middle() -> None:
        left[0] -= 1
        if left[0] == 0:
            withdraw(world, numbers(world, world.partner.holds))
            world.lane_works()
            raise KeyboardInterrupt

    world.on_add = in_the_middle
    with pytest.raises(KeyboardInterrupt):
        world.sync()
    world.on_add = lambda: None
    assert set(world.states()) == {ACKNOWLEDGED}
    assert removals(world) == 1
    for _ in range(2):
        world.lane_works()
    assert set(world.states()) == {CONFIRMED}
    assert removals(world) == 2
    assert world.partner.holds == set()


def test_what_waits_for_a_killed_run_says_so(world: WithdrawnWorld) -> None:
    """Where the partner answers later nobody knows what it does with the upload, nor when."""
    world.partner.pending = True
    run = killed(world, sent=2)
    withdraw(world, numbers(world, world.partner.digests()[1]))
    for _ in range(3):
        world.lane_works()
        answer(world, world.partner.removals)
    assert set(world.states()) == {ACKNOWLEDGED}
    [reason] = {row.reason for row in world.ledger.withdrawal_deliveries(only_open=True)}
    assert reason is not None
    assert f"`audience-sync resume {run.id}`" in reason

    world.pipeline().resume(run)
    for batch in world.ledger.batches(run.id, states=[BatchState.PENDING]):
        answer(world, [str(batch.reference)], accepted=batch.accepted)
    for _ in range(3):
        world.lane_works()
        answer(world, world.partner.removals)
    assert set(world.states()) == {CONFIRMED}
    assert world.wrongs == []


def test_a_run_that_is_tried_again_and_again_keeps_nobody_waiting(world: WithdrawnWorld) -> None:
    """Its later attempts are of others: whoever withdrew is in none that was begun since."""
    run = killed(world, sent=2)
    gone = numbers(world, world.partner.digests()[1])[:1]
    withdraw(world, gone)

    def fails(_when: str, operation: str) -> None:
        if operation == "add":
            raise TemporaryPartnerError("no answer")

    world.partner.fault = fails
    for _ in range(4):
        world.lane_works()
        world.time += UPLOAD / 2
        with pytest.raises(TemporaryPartnerError):
            world.pipeline().resume(run)
    assert world.states() == [CONFIRMED]
    assert world.wrongs == []
    assert removals(world) == 2
    assert not world.partner.holds & cells(gone)


@pytest.mark.parametrize("people", [1, 2])
def test_a_run_that_is_killed_twice_hides_no_upload(world: WithdrawnWorld, people: int) -> None:
    """The second time it sent none of whoever withdrew: their upload may be on its way still."""
    run = killed(world, sent=2)
    gone = numbers(world, world.partner.digests()[1])[:people]
    withdraw(world, gone)
    world.lane_works()

    def dies() -> None:
        raise KeyboardInterrupt

    world.partner.limits = replace(world.partner.limits, batches_per_session=1)
    sent = len(world.partner.uploads)
    world.on_add = lambda: None if len(world.partner.uploads) == sent else dies()
    with pytest.raises(KeyboardInterrupt):
        world.pipeline().resume(run)
    world.on_add = lambda: None
    world.lane_works()
    assert set(world.states()) == {ACKNOWLEDGED}
    world.partner.holds |= cells(gone)
    for _ in range(2):
        world.time += UPLOAD
        world.lane_works()
    assert set(world.states()) == {CONFIRMED}
    assert world.wrongs == []
    assert not world.partner.holds & cells(gone)


@pytest.mark.parametrize("stands_still", [True, False])
def test_who_is_taken_off_at_once_and_added_later_is_taken_off_again(
    world: WithdrawnWorld, *, stands_still: bool
) -> None:
    """As at a partner that replaces a list by and by, while it answers removals at once."""
    usual = world.partner.add

    def add(upload: Upload, members: Members) -> Receipt:
        found = usual(upload, members)
        return replace(found, pending=True, reference=f"add-{len(world.partner.calls)}")

    world.partner.add = add  # type: ignore[method-assign]
    run = killed(world, sent=2) if stands_still else world.ran()
    there = world.partner.digests()[0]
    withdraw(world, numbers(world, there))
    for _ in range(2):
        world.lane_works()
        world.time += UPLOAD
    assert world.states() == [ACKNOWLEDGED, ACKNOWLEDGED]
    assert removals(world) == 1

    world.partner.holds |= there
    if stands_still:
        world.pipeline().resume(run)
    answer(world, [str(batch.reference) for batch in world.ledger.batches(run.id)])
    for _ in range(2):
        world.lane_works()
    assert world.states() == [CONFIRMED, CONFIRMED]
    assert removals(world) == 2
    assert not (world.partner.holds | world.held()) & there
    assert world.wrongs == []


@pytest.mark.parametrize("ends", [_resumed, _cancelled])
def test_an_upload_outlasts_the_run_that_goes_on_at_once(
    world: WithdrawnWorld, ends: Callable[[WithdrawnWorld, Run], None]
) -> None:
    """The partner may be at it still, whatever became of the run meanwhile."""
    run = killed(world, sent=2)
    gone = numbers(world, world.partner.digests()[1])
    withdraw(world, gone)
    ends(world, run)
    for _ in range(2):
        world.lane_works()
    assert world.states() == [ACKNOWLEDGED, ACKNOWLEDGED]
    assert removals(world) == 1
    world.partner.holds |= cells(gone)
    world.time += UPLOAD
    for _ in range(2):
        world.lane_works()
    assert world.states() == [CONFIRMED, CONFIRMED]
    assert removals(world) == 2
    assert not (world.partner.holds | world.held()) & cells(gone)
