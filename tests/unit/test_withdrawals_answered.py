"""Partners that answer withdrawals later, in whatever order, or never (L11, L13)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pipeline_world import digest, granted
from withdrawn_world import EVERYBODY, PEOPLE, WithdrawnWorld, answer, eight_people, written

from audience_sync.connector import Members, Receipt, Rejection
from audience_sync.errors import RefusedError, TemporaryPartnerError
from audience_sync.ledger.records.runs import RunState
from audience_sync.ledger.withdrawal_deliveries import WithdrawalState
from audience_sync.runs.leases import LANE

CONFIRMED, ACKNOWLEDGED = WithdrawalState.CONFIRMED, WithdrawalState.ACKNOWLEDGED


@pytest.fixture
def world(tmp_path: Path) -> WithdrawnWorld:
    """Eight people on one list."""
    return eight_people(tmp_path)


def test_a_partner_that_answers_later_is_asked(world: WithdrawnWorld) -> None:
    """Acknowledged is not confirmed: the books change when the partner's last word came."""
    world.ran()
    world.partner.pending = True
    world.withdraw(email="p1@example.com")
    world.lane_works()
    assert world.states() == [ACKNOWLEDGED]
    assert digest("p1@example.com") in world.held()

    world.withdraw(email="p2@example.com")  # does not wait for the first
    world.lane_works()
    assert digest("p2@example.com") not in world.partner.holds
    answer(world, world.partner.removals)
    world.lane_works()
    assert world.states() == [CONFIRMED, CONFIRMED]
    assert world.held() == world.partner.holds


def three_that_wait(world: WithdrawnWorld) -> list[str]:
    """The references of three withdrawals, each sent on its own to a partner that answers later."""
    world.ran()
    world.partner.pending = True
    for number in range(3):
        world.withdraw(email=f"p{number}@example.com")
        world.lane_works()
    return list(world.partner.removals)


def test_each_withdrawal_is_confirmed_while_others_come(world: WithdrawnWorld) -> None:
    """A steady flow that is faster than the partner's answers: nobody is sent again for it."""
    world.ran()
    world.partner.pending = True
    before = len(world.partner.calls)
    for number in range(6):
        world.withdraw(email=f"p{number}@example.com")
        world.lane_works()
        answer(world, world.partner.removals[:number])  # always one behind
        world.lane_works()
        assert world.states() == [CONFIRMED] * number + [ACKNOWLEDGED]
    assert [members for _, members in world.partner.calls[before:]] == [1] * 6
    answer(world, world.partner.removals)
    world.lane_works()
    assert world.states() == [CONFIRMED] * 6
    assert world.held() == world.partner.holds


def test_answers_may_come_in_any_order(world: WithdrawnWorld) -> None:
    """A later removal that is done before an older one is neither asked about nor sent again."""
    first, second, third = three_that_wait(world)
    sent = len(world.partner.calls)
    answer(world, [second])
    world.lane_works()
    assert world.states() == [ACKNOWLEDGED] * 3
    world.partner.questions.clear()
    answer(world, [first])
    world.lane_works()
    assert world.states() == [CONFIRMED, CONFIRMED, ACKNOWLEDGED]
    assert second not in world.partner.questions
    answer(world, [third])
    world.lane_works()
    assert world.states() == [CONFIRMED] * 3
    assert len(world.partner.calls) == sent
    assert world.held() == world.partner.holds


def test_only_the_removal_that_failed_is_sent_again(world: WithdrawnWorld) -> None:
    """One in the middle; those who were sent before and after it wait for their own answers."""
    first, second, third = three_that_wait(world)
    sent = len(world.partner.calls)
    answer(world, [second], accepted=0, unattributed=1, lost=True)
    world.lane_works()
    assert [members for _, members in world.partner.calls[sent:]] == [1]
    [again] = world.partner.removals[3:]
    answer(world, [first, third])
    world.lane_works()
    assert world.states() == [CONFIRMED, ACKNOWLEDGED, ACKNOWLEDGED]
    answer(world, [again])
    world.lane_works()
    assert world.states() == [CONFIRMED] * 3
    assert world.held() == world.partner.holds


def test_a_removal_that_is_never_answered_is_sent_again_alone(world: WithdrawnWorld) -> None:
    """After two days; a newer one goes on waiting."""
    world.ran()
    world.partner.pending = True
    world.withdraw(email="p1@example.com")
    world.lane_works()
    world.time += timedelta(hours=40)
    world.withdraw(email="p2@example.com")
    world.lane_works()
    sent = len(world.partner.calls)
    world.time += timedelta(hours=9)
    world.lane_works()
    assert [members for _, members in world.partner.calls[sent:]] == [1]
    answer(world, world.partner.removals[1:])
    world.lane_works()
    assert world.states() == [CONFIRMED] * 2


def test_partners_are_asked_less_often_the_longer_they_take(world: WithdrawnWorld) -> None:
    """So that many removals that wait do not become a storm of questions."""
    world.ran()
    world.partner.pending = True
    world.withdraw(email="p1@example.com")
    world.lane_works()
    for _ in range(24 * 6):
        world.time += timedelta(minutes=10)
        world.lane_works()
    assert 20 <= len(world.partner.questions) <= 80


def test_a_withdrawal_is_sent_while_nobody_can_be_asked(world: WithdrawnWorld) -> None:
    """A partner may refuse questions and take removals."""
    world.ran()
    world.partner.pending = True
    world.withdraw(email="p1@example.com")
    world.lane_works()

    def away(reference: str) -> Receipt:
        raise TemporaryPartnerError("the partner is away")

    world.partner.poll = away  # type: ignore[method-assign]
    world.time += timedelta(hours=1)
    world.withdraw(email="p2@example.com")
    world.lane_works()
    assert world.states() == [ACKNOWLEDGED] * 2
    assert len(world.partner.removals) == 2


def test_who_was_taken_off_is_confirmed_though_the_next_is_refused(world: WithdrawnWorld) -> None:
    """What stands in the way of one withdrawal keeps back no older one."""
    world.ran()
    world.partner.pending = True
    world.withdraw(email="p1@example.com")
    world.lane_works()
    answer(world, world.partner.removals)

    def refuse(_when: str, operation: str) -> None:
        if operation == "remove":
            raise RefusedError("the audience would be too small", 400, "40002")

    world.partner.fault = refuse
    world.withdraw(email="p2@example.com")
    world.lane_works()
    assert world.states() == [CONFIRMED, WithdrawalState.QUEUED]


def test_who_was_sent_anew_while_an_answer_came_is_not_forgotten(world: WithdrawnWorld) -> None:
    """They agreed anew, were added, and withdraw again: the partner may hold them."""
    world.partner.pending = True
    run = world.ran()
    batches = [str(one.reference) for one in world.ledger.batches(run.id)]
    answer(world, batches, accepted=0, unattributed=1, lost=True)
    world.pipeline().poll_due()  # perhaps nobody arrived
    world.withdraw(email="p1@example.com")
    world.lane_works()
    [removal] = world.partner.removals
    rows: list[Any] = list(PEOPLE[:7])  # one more is to leave, and stays: all is asked again
    rows[1] = rows[1] | {"consent_at": (world.time + timedelta(hours=1)).isoformat()}
    world.write(rows)
    world.time += timedelta(hours=2)
    world.forbidden.clear()
    usual = world.partner.remove

    def remove(upload: Any, members: Members) -> Receipt:
        stayed = tuple(Rejection(position=i, reason="no") for i in range(len(members)))
        return replace(usual(upload, members), accepted=0, pending=False, rejected=stayed)

    world.partner.remove = remove  # type: ignore[method-assign]
    world.ran()
    world.partner.remove = usual  # type: ignore[method-assign]
    assert digest("p1@example.com") in world.partner.holds
    answer(world, [removal])
    world.lane_works()

    world.time += timedelta(hours=2)
    world.withdraw(email="p1@example.com")
    world.lane_works()
    assert digest("p1@example.com") not in world.partner.holds


def test_who_withdrew_beside_a_run_is_out_of_the_books_when_it_is_confirmed(
    world: WithdrawnWorld,
) -> None:
    """The run was planned before, so that it sent them no more: nothing is in doubt."""
    world.ran()
    world.partner.pending = True
    world.write([*PEOPLE, granted("c9", email="p9@example.com")])
    left = iter([lambda: world.withdraw(email="p1@example.com"), world.lane_works])

    def on_add() -> None:
        for step in left:
            step()

    world.on_add = on_add
    run = world.ran()
    assert run.state is RunState.DELIVERED
    assert digest("p1@example.com") in world.held()  # the run was planned with them
    for batch in world.ledger.batches(run.id):
        answer(world, [str(batch.reference)], accepted=1)
    world.pipeline().poll_due()
    answer(world, world.partner.removals)
    world.lane_works()
    assert world.states() == [CONFIRMED]
    assert world.held() == world.partner.holds


def test_books_that_a_run_holds_are_put_right_soon_after_it(world: WithdrawnWorld) -> None:
    """The partner has answered: nobody asks it again, and seconds after the run all is over."""
    world.ran()
    world.partner.pending = True
    world.withdraw(email="p1@example.com")
    world.lane_works()
    answer(world, world.partner.removals)
    lease = world.ledger.take_lease("vip/memory-1", "a run", 60.0)
    asked = len(world.partner.questions)
    for _ in range(3):
        assert (world.lane_works().again or 60.0) <= 10.0
    assert world.states() == [ACKNOWLEDGED]
    world.ledger.release_lease(lease)
    world.lane_works()
    assert world.states() == [CONFIRMED]
    assert len(world.partner.questions) == asked + 1
    assert world.held() == world.partner.holds


def test_a_removal_that_overtakes_an_addition_is_sent_again(world: WithdrawnWorld) -> None:
    """A partner that works on both may end with the addition, whichever came first."""
    world.partner.pending = True
    run = world.ran()
    additions = [str(one.reference) for one in world.ledger.batches(run.id)]
    world.withdraw(email="p1@example.com")
    world.lane_works()
    answer(world, world.partner.removals)
    world.partner.holds |= written("p1@example.com", "+46700000001")  # the addition ends later
    world.lane_works()
    assert world.states() == [ACKNOWLEDGED]
    answer(world, additions, accepted=3)
    world.pipeline().poll_due()
    world.partner.holds |= written("p1@example.com", "+46700000001")
    for _ in range(2):
        answer(world, world.partner.removals)
        world.lane_works()
    assert world.states() == [CONFIRMED]
    assert (
        world.partner.holds == world.held() == EVERYBODY - written("p1@example.com", "+46700000001")
    )
    assert len(world.partner.removals) == 2


def test_a_removal_waits_for_the_addition_that_it_may_overtake(world: WithdrawnWorld) -> None:
    """The lane asks about the addition itself, and sends the removal once more when it is over."""
    world.partner.pending = True
    run = world.ran()
    world.withdraw(email="p1@example.com")
    for _ in range(3):
        world.lane_works()
        answer(world, world.partner.removals)
    assert len(world.partner.removals) == 1
    assert world.states() == [ACKNOWLEDGED]
    for batch in world.ledger.batches(run.id):
        answer(world, [str(batch.reference)], accepted=batch.members)
    for _ in range(3):
        world.lane_works()
        answer(world, world.partner.removals)
    assert world.states() == [CONFIRMED]
    assert len(world.partner.removals) == 2
    assert world.ledger.run(run.id).state is RunState.CONFIRMED


def test_the_lane_asks_about_a_run_whose_removals_it_waits_for(world: WithdrawnWorld) -> None:
    """Nobody else may be there to ask: a server beside a sync that cron starts once a day."""
    world.ran()
    world.partner.pending = True
    world.write([row for row in PEOPLE if row["email"] != "p1@example.com"])
    run = world.ran()
    world.withdraw(email="p1@example.com")
    world.lane_works()
    assert world.states() == [ACKNOWLEDGED]
    answer(world, [str(one.reference) for one in world.ledger.batches(run.id)])
    for _ in range(2):
        world.lane_works()
    assert world.states() == [CONFIRMED]
    assert world.ledger.run(run.id).state is RunState.CONFIRMED


def test_no_list_waits_until_runs_of_others_were_asked_about(world: WithdrawnWorld) -> None:
    """Whoever withdrew leaves them all first; then there is time for questions, and an end."""
    world.partner.pending = True
    lists = [world.target, replace(world.target, audience="regulars")]
    outcomes = world.sync_all(lists)
    asked: list[int] = []
    usual = world.partner.poll

    def poll(reference: str) -> Receipt:
        asked.append(len(world.partner.removals))
        return usual(reference)

    world.partner.poll = poll  # type: ignore[method-assign]
    world.withdraw(email="p1@example.com")
    world.time += timedelta(hours=1)
    world.lane_works()
    batches = [len(world.ledger.batches(one.run.id)) for one in outcomes if one.run is not None]
    assert asked == [2] * sum(batches)
    world.lane_works()
    assert len(asked) == sum(batches)  # ten minutes are not over


def test_a_removal_that_failed_after_all_is_sent_again(world: WithdrawnWorld) -> None:
    """The partner's last word counts, and it is not believed twice."""
    world.ran()
    world.partner.pending = True
    world.withdraw(email="p1@example.com")
    world.lane_works()
    world.time += timedelta(minutes=5)
    removals = len(world.partner.calls)
    world.partner.answers[f"remove-{removals}"] = Receipt(accepted=0, unattributed=1, lost=True)
    world.lane_works()
    assert len(world.partner.calls) == removals + 1
    assert world.states() == [ACKNOWLEDGED]


def test_an_acknowledgement_outlasts_that_nobody_can_ask(world: WithdrawnWorld) -> None:
    """A partner that is away, or a lane that is busy, takes nothing back: no deadline is near."""
    world.ran()
    world.partner.pending = True
    world.withdraw(email="p1@example.com")
    world.lane_works()
    [before] = world.ledger.withdrawal_deliveries()
    world.time += timedelta(minutes=5)

    def away(reference: str) -> Receipt:
        raise TemporaryPartnerError("the partner is away")

    world.partner.poll = away  # type: ignore[method-assign]
    world.lane_works()
    [after] = world.ledger.withdrawal_deliveries()
    assert (after.state, after.acknowledged_at) == (ACKNOWLEDGED, before.acknowledged_at)

    lease = world.ledger.take_lease(f"{LANE}vip/memory-1", "another", 60.0)
    world.lane_works()
    world.ledger.release_lease(lease)
    [after] = world.ledger.withdrawal_deliveries()
    assert (after.state, after.acknowledged_at) == (ACKNOWLEDGED, before.acknowledged_at)


def test_what_is_done_is_not_read_again(
    world: WithdrawnWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lane reads the withdrawals that are open, however many there were before."""
    world.ran()
    for number in range(3):
        world.withdraw(email=f"p{number}@example.com")
    world.lane_works()
    world.withdraw(email="p3@example.com")
    read: list[int] = []
    filed, numbered = world.ledger.filed_withdrawals, world.ledger.withdrawals_numbered

    def filed_withdrawals(*, after: int = 0, **more: Any) -> list[Any]:
        read.append(after + 1)
        return filed(after=after, **more)

    def withdrawals_numbered(sequences: Collection[int]) -> list[Any]:
        read.extend(sequences)
        return numbered(sequences)

    monkeypatch.setattr(world.ledger, "filed_withdrawals", filed_withdrawals)
    monkeypatch.setattr(world.ledger, "withdrawals_numbered", withdrawals_numbered)
    monkeypatch.setattr(world.ledger, "withdrawals", pytest.fail)  # one row of each
    world.lane_works()
    assert min(read) == 4
    assert world.states() == [CONFIRMED] * 4


def test_removals_of_a_run_that_fail_one_by_one_are_all_sent_again(world: WithdrawnWorld) -> None:
    """What a partner says of one removal does not settle what it said of another."""
    world.ran()
    for number in range(4):
        world.withdraw(email=f"p{number}@example.com")
    world.partner.pending = True
    run = world.ran()  # takes them off before the lane does
    references = [str(one.reference) for one in world.ledger.batches(run.id)]
    assert len(references) == 2
    world.lane_works()
    for reference in references:
        world.partner.answers[reference] = Receipt(accepted=0, unattributed=1, lost=True)
        world.time += timedelta(hours=1)
        assert world.pipeline().poll_due()
    world.partner.pending = False
    sent = len(world.partner.calls)
    world.lane_works()
    assert sum(members for _, members in world.partner.calls[sent:]) == 4
    assert world.states() == [CONFIRMED] * 4


def test_a_stranger_who_withdraws_keeps_nobody_from_being_confirmed(world: WithdrawnWorld) -> None:
    """What a partner was asked is asked to its end, though others withdraw all the time."""
    world.ran()
    world.partner.pending = True
    world.withdraw(email="p1@example.com")
    world.lane_works()
    removals = len(world.partner.calls)
    world.withdraw(email="stranger@example.com")
    world.lane_works()
    assert len(world.partner.calls) == removals
    world.time += timedelta(minutes=5)
    world.partner.answers[f"remove-{removals}"] = Receipt(accepted=1)
    world.withdraw(email="another@example.com")
    world.lane_works()
    assert world.states() == [CONFIRMED, CONFIRMED, CONFIRMED]
    assert world.held() == world.partner.holds
