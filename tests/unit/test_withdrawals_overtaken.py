"""A partner that answers later works in any order: no removal is overtaken by an addition (L11)."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pipeline_world import granted
from withdrawn_world import EVERYBODY, PEOPLE, WithdrawnWorld, answer, eight_people, written

from audience_sync.connector import Receipt
from audience_sync.errors import TemporaryPartnerError
from audience_sync.ledger.records.runs import BatchState, Operation, Run, RunState
from audience_sync.ledger.withdrawal_deliveries import WithdrawalState
from audience_sync.runs import asking

FIRST = written("p1@example.com", "+46700000001")
CONFIRMED, ACKNOWLEDGED = WithdrawalState.CONFIRMED, WithdrawalState.ACKNOWLEDGED
LOST = Receipt(accepted=0, unattributed=1, lost=True, reason="job failed")


@pytest.fixture
def world(tmp_path: Path) -> WithdrawnWorld:
    """Eight people, and a partner that answers later."""
    world = eight_people(tmp_path)
    world.partner.pending = True
    return world


def answer_run(world: WithdrawnWorld, run: Run) -> None:
    """The same of every batch that waits."""
    for batch in world.ledger.batches(run.id):
        if batch.state is BatchState.PENDING:
            answer(world, [str(batch.reference)], accepted=batch.accepted)


def quiet(world: WithdrawnWorld, rounds: int = 4) -> None:
    """The lane alone works, hour by hour, and the partner answers its removals."""
    for _ in range(rounds):
        answer(world, world.partner.removals)
        world.lane_works()


def test_whom_a_run_takes_off_an_older_addition_does_not_bring_back(
    world: WithdrawnWorld,
) -> None:
    """The sync comes before the lane; the partner ends with the addition."""
    older = world.ran()
    world.withdraw(email="p1@example.com")
    newer = world.ran()
    answer_run(world, newer)
    world.lane_works()
    answer_run(world, older)
    world.partner.holds |= FIRST
    quiet(world)
    assert world.states() == [CONFIRMED]
    assert world.partner.holds == world.held() == EVERYBODY - FIRST


def test_whom_a_sync_takes_off_an_older_addition_does_not_bring_back(
    world: WithdrawnWorld,
) -> None:
    """Whoever refuses in the source as well, without a withdrawal: the next sync sees to it."""
    older = world.ran()
    world.write([row | {"consent": "denied"} if row is PEOPLE[1] else row for row in PEOPLE])
    newer = world.ran()
    answer_run(world, newer)
    world.pipeline().poll_due()
    answer_run(world, older)
    world.partner.holds |= FIRST
    world.pipeline().poll_due()
    world.ran()
    assert world.partner.holds == EVERYBODY - FIRST


def test_what_two_share_leaves_with_the_second(world: WithdrawnWorld) -> None:
    """The first is on the list by our books until the partner answers, and keeps nothing there."""
    world.partner.pending = False
    shared = granted("c9", email="p9@example.com", phone="+46700000001")
    world.write([*PEOPLE, shared])
    world.ran()
    world.partner.pending = True
    for n in (1, 9):
        world.withdraw(email=f"p{n}@example.com")
        world.lane_works()
    quiet(world)
    assert world.states() == [CONFIRMED, CONFIRMED]
    assert world.partner.holds == world.held() == EVERYBODY - FIRST


def test_a_removal_that_failed_waits_for_no_addition(world: WithdrawnWorld) -> None:
    """The person may have been on the list before: they are asked for again at once."""
    world.ran()
    world.withdraw(email="p1@example.com")
    world.lane_works()
    [removal] = world.partner.removals
    world.partner.answers[removal] = LOST
    world.time += timedelta(hours=1)
    world.lane_works()
    assert len(world.partner.removals) == 2
    world.lane_works()
    assert len(world.partner.removals) == 2


def test_who_was_withheld_does_not_come_later(world: WithdrawnWorld) -> None:
    """The batch that the partner works on went without them: their removal waits for nothing."""
    world.partner.pending = False
    world.ran()
    rows: list[Any] = [*PEOPLE, granted("c9", email="p9@example.com")]
    rows[1] = PEOPLE[1] | {"phone": "+46700000010"}
    world.write(rows)
    world.aim(batch_size=20)
    planned = world.ran(deliver=False)
    world.withdraw(email="p1@example.com")
    world.partner.pending = True
    run = world.pipeline().approve(planned, "anna")
    assert run.state is RunState.DELIVERED
    batches = world.ledger.batches(run.id)
    answer(world, [str(one.reference) for one in batches if one.operation is Operation.REMOVE])
    world.lane_works()
    answer(world, world.partner.removals)
    world.lane_works()
    assert world.states() == [CONFIRMED]
    assert world.ledger.run(run.id).state is RunState.DELIVERED


def test_an_addition_whose_answer_was_lost_may_come_later(world: WithdrawnWorld) -> None:
    """Nobody knows whether the partner works on it: the removal is repeated after the run."""
    world.aim(batch_size=20)
    left = [1]

    def dies(when: str, operation: str) -> None:
        if (when, operation) == ("after", "add") and left:
            raise TemporaryPartnerError("no answer")

    world.partner.fault = dies
    assert world.sync().error is not None
    [run] = world.ledger.runs(states=[RunState.DELIVERING])
    left.clear()
    world.withdraw(email="p1@example.com")
    world.lane_works()
    assert len(world.partner.removals) == 1
    answer(world, world.partner.removals)
    run = world.pipeline().resume(run)
    world.partner.holds |= FIRST  # what nobody had an answer to ends now
    answer_run(world, run)
    quiet(world)
    assert world.states() == [CONFIRMED]
    assert world.partner.holds & FIRST == set()


def test_who_granted_again_is_not_removed_over_and_over(world: WithdrawnWorld) -> None:
    """A run brings them that knew of the withdrawal: no removal waits for its additions."""
    world.partner.pending = False
    world.ran()
    world.partner.pending = True
    world.withdraw(email="p9@example.com")
    world.forbidden.clear()
    again = granted("c9", email="p9@example.com", phone="+46700000009")
    again["consent_at"] = (world.time + timedelta(hours=1)).isoformat()
    world.write([*PEOPLE[:7], again])
    world.time += timedelta(hours=2)
    run = world.ran()
    [removal] = world.partner.removals
    answer(world, [removal], accepted=0, unattributed=1, lost=True)
    world.pipeline().poll_due()  # so that the withdrawals since the last run are looked at again
    assert world.ledger.run(run.id).state is RunState.DELIVERED
    quiet(world, 6)
    assert len(world.partner.removals) == 2


def test_a_look_reads_no_batches_of_a_run_that_waits(
    world: WithdrawnWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may be tens of thousands, and a look every few seconds: one row tells enough."""
    run = world.ran()
    world.ledger.change_run(run.id, next_attempt_at=world.time + timedelta(days=1))
    world.withdraw(email="p1@example.com")
    world.lane_works()
    monkeypatch.setattr(world.ledger, "batches", pytest.fail)
    world.lane_works()
    assert world.states() == [ACKNOWLEDGED]


def test_a_removal_of_many_parts_is_asked_about_by_and_by(
    world: WithdrawnWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Questions take time, in which others withdraw; whoever is silent hides no other part."""
    world.partner.pending = False
    world.ran()
    world.partner.pending = True
    world.recorder().receive_frames([world.frame([f"p{n}@example.com" for n in range(8)])])
    world.lane_works()
    parts = list(world.partner.removals)
    assert len(parts) == 3
    monkeypatch.setattr(asking, "_SECONDS", 0.0)
    answer(world, parts[2:], accepted=2)
    for _ in range(3):
        world.lane_works()
        world.time += timedelta(hours=1)
    assert world.partner.questions == parts
    assert world.states() == [ACKNOWLEDGED]
    answer(world, parts[:2], accepted=3)
    for _ in range(2):
        world.lane_works()
        world.time += timedelta(hours=1)
    assert world.states() == [CONFIRMED]
    assert world.partner.questions == [*parts, *parts[:2]]
