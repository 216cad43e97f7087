"""Withdrawals overtake everything (L11): they block, remove, and have a clock."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest
from pipeline_world import digest, granted
from withdrawn_world import WithdrawnWorld, written

from audience_sync.connector import Connector, Members, Receipt, Rejection
from audience_sync.errors import ConfigurationError, RefusedError, TemporaryPartnerError
from audience_sync.ledger.records.log import Event
from audience_sync.ledger.records.runs import Operation, RunState
from audience_sync.ledger.withdrawal_deliveries import WithdrawalState
from audience_sync.membership.held import Membership
from audience_sync.runs import resolve, screen
from audience_sync.runs.escalation import OnRefusedRemoval
from audience_sync.runs.lane import Worked
from audience_sync.runs.leases import LANE
from audience_sync.runs.withdrawal_requests import UnusableError, WithdrawalRequest

PEOPLE = [granted(f"c{n}", email=f"p{n}@example.com", phone=f"+4670000000{n}") for n in range(8)]
EVERYBODY = {cell for n in range(8) for cell in written(f"p{n}@example.com", f"+4670000000{n}")}
CONFIRMED, ACKNOWLEDGED = WithdrawalState.CONFIRMED, WithdrawalState.ACKNOWLEDGED


@pytest.fixture
def world(tmp_path: Path) -> WithdrawnWorld:
    """Eight people on one list."""
    world = WithdrawnWorld(tmp_path)
    world.write(PEOPLE)
    return world


@pytest.mark.parametrize(
    ("person", "number"),
    [
        ({"email": " P3@Example.com "}, 3),
        ({"phone": "070-000 00 03"}, 3),
        ({"customer_id": "c3"}, 3),
    ],
)
def test_whoever_withdraws_leaves_the_list(
    world: WithdrawnWorld, person: dict[str, str], number: int
) -> None:
    """By any identifier: the whole member goes, at the partner and in our books."""
    world.ran()
    world.withdraw(**person)
    assert world.lane_works().open == 0

    gone = written(f"p{number}@example.com", f"+4670000000{number}")
    assert world.partner.holds == EVERYBODY - gone
    assert world.held() == EVERYBODY - gone
    assert world.states() == [CONFIRMED]
    line = world.log()[-1]
    assert (line.operation, line.event, line.sent, line.accepted) == (
        "withdraw",
        Event.OUTCOME,
        1,
        1,
    )


def test_requests_that_name_nobody_are_told_by_their_place(world: WithdrawnWorld) -> None:
    """Among those that were handed over, whatever was known and however they are grouped."""
    good = WithdrawalRequest(email="p1@example.com", idempotency_key="known")
    bad = WithdrawalRequest(email="@@canary")
    world.recorder().receive([good])
    requests = [good, WithdrawalRequest(email="p2@example.com"), bad]
    with pytest.raises(UnusableError) as told:
        world.recorder().receive([*requests, replace(bad, channel="account")])
    assert list(told.value.places) == [2, 3]
    assert "canary" not in str(told.value) + repr(told.value)
    assert world.ledger.newest_withdrawal() == 1


def test_the_next_plan_adds_nobody_who_withdrew(world: WithdrawnWorld) -> None:
    """The source may still call it granted: the later word wins, even of one nobody held."""
    world.withdraw(email="p1@example.com")
    world.withdraw(customer_id="c2")
    world.lane_works()
    run = world.ran()

    gone = written("p1@example.com", "+46700000001") | written("p2@example.com", "+46700000002")
    assert world.partner.holds == EVERYBODY - gone
    assert run.funnel["consent_withdrawn"] == 2
    assert world.states() == [CONFIRMED, CONFIRMED]


def test_a_later_grant_lifts_it_and_a_tie_does_not(world: WithdrawnWorld) -> None:
    """The latest explicit word decides (L2)."""
    world.withdraw(email="p1@example.com")
    world.withdraw(customer_id="c2")
    at = world.time
    world.withdraw(customer_id="c3", decided_at=at)
    later = (at + timedelta(hours=1)).isoformat()
    rows: list[Any] = list(PEOPLE)
    rows[1] = rows[1] | {"consent_at": later}
    rows[2] = rows[2] | {"consent_at": later}
    rows[3] = rows[3] | {"consent_at": at.isoformat()}
    world.write(rows)
    world.time += timedelta(hours=2)
    world.forbidden.clear()
    world.ran()

    assert world.partner.holds == EVERYBODY - written("p3@example.com", "+46700000003")


@pytest.mark.parametrize("lane", ["dies", "works beside the run"])
def test_who_granted_again_comes_back_whatever_the_lane_did(
    world: WithdrawnWorld, lane: str
) -> None:
    """A removal whose answer was lost, or that came after the grant was known, is made good."""
    world.ran()
    world.withdraw(email="p1@example.com")

    def dies(when: str, operation: str) -> None:
        if (when, operation) == ("after", "remove"):
            raise KeyboardInterrupt

    if lane == "dies":
        world.partner.fault = dies
        with pytest.raises(KeyboardInterrupt):
            world.lane_works()
        world.partner.fault = lambda _when, _operation: None
    else:
        world.on_add = lambda: None if world.states() == [CONFIRMED] else _lane_once(world)
    rows: list[Any] = [*PEOPLE, granted("d1", email="d1@example.com")]
    rows[1] = rows[1] | {"consent_at": (world.time + timedelta(hours=1)).isoformat()}
    world.write(rows)
    world.time += timedelta(hours=2)
    world.forbidden.clear()
    world.ran()
    world.lane_works()
    world.ran()

    everybody = EVERYBODY | written("d1@example.com", None)
    assert world.held() == everybody
    assert world.partner.holds == everybody
    assert world.ran().reason == "nothing changed"


def _cells(members: Members) -> set[str]:
    return {cell for row in members.rows(members.kinds) for cell in row if cell}


def _lane_once(world: WithdrawnWorld) -> None:
    world.on_add = lambda: None
    world.lane_works()


def test_a_withdrawal_from_one_partner_concerns_no_other(world: WithdrawnWorld) -> None:
    """Only that partner's lists lose the person."""
    world.ran()
    world.withdraw(email="p1@example.com", partner="Other")
    world.lane_works()
    assert world.partner.holds == EVERYBODY
    world.ran()
    assert world.partner.holds == EVERYBODY

    world.withdraw(email="p1@example.com", partner="Memory")
    world.lane_works()
    world.ran()
    assert world.partner.holds == EVERYBODY - written("p1@example.com", "+46700000001")


def test_a_shared_phone_takes_every_carrier_off(world: WithdrawnWorld) -> None:
    """A refusal of an identifier counts for everybody who carries it (L2)."""
    world.write([*PEOPLE, granted("c9", email="p9@example.com", phone="+46700000001")])
    world.ran()
    world.withdraw(phone="+46700000001")
    world.lane_works()

    gone = written("p1@example.com", "+46700000001") | written("p9@example.com", None)
    assert world.partner.holds == EVERYBODY - gone


def test_what_somebody_else_carries_stays(world: WithdrawnWorld) -> None:
    """Of who withdraws by e-mail, a phone that a wanted member carries too is not removed (L4)."""
    world.write([*PEOPLE, granted("c9", email="p9@example.com", phone="+46700000001")])
    world.ran()
    world.withdraw(email="p1@example.com")
    world.lane_works()

    assert digest("p1@example.com") not in world.partner.holds
    assert digest("46700000001") in world.partner.holds
    assert world.held() == world.partner.holds


def test_a_planned_run_adds_nobody_who_withdrew_since(world: WithdrawnWorld) -> None:
    """It stays valid, is delivered, and counts whom it withheld (L3)."""
    run = world.ran(deliver=False)
    world.withdraw(email="p1@example.com")
    world.withdraw(customer_id="c2")
    world.lane_works()
    delivered = world.pipeline().approve(run, "anna")

    gone = written("p1@example.com", "+46700000001") | written("p2@example.com", "+46700000002")
    assert delivered.state is RunState.CONFIRMED
    assert world.partner.holds == world.held() == EVERYBODY - gone
    batches = world.ledger.batches(run.id)
    assert sum(batch.withheld for batch in batches) == 2
    for batch in batches:
        counted = batch.accepted + batch.rejected + batch.unattributed + batch.withheld
        assert counted == batch.members


def test_a_held_plan_outlives_a_withdrawal(world: WithdrawnWorld) -> None:
    """The membership changes below it, and what was shown is still what is sent, less who left."""
    world.ran()
    world.write([*PEOPLE[1:], granted("c9", email="p9@example.com", phone="+46700000009")])
    plan = world.ran(deliver=False)
    world.withdraw(email="p2@example.com")
    world.lane_works()
    world.sweep()
    world.pipeline().approve(plan, "anna")

    expected = EVERYBODY - written("p0@example.com", "+46700000000")
    expected -= written("p2@example.com", "+46700000002")
    expected |= written("p9@example.com", "+46700000009")
    assert world.partner.holds == world.held() == expected
    assert world.ran().reason == "nothing changed"


def test_a_batch_whose_people_all_withdrew_is_not_sent(world: WithdrawnWorld) -> None:
    """Nothing is left to send, so there is no request, and the run ends well."""
    run = world.ran(deliver=False)
    for n in range(8):
        world.withdraw(email=f"p{n}@example.com")
    delivered = world.pipeline().approve(run, "anna")

    assert delivered.state is RunState.CONFIRMED
    assert world.partner.calls == []
    assert world.held() == set()


@pytest.mark.parametrize("when", [1, 2, 3])
def test_who_withdraws_while_a_run_delivers_is_added_no_more(
    world: WithdrawnWorld, when: int
) -> None:
    """The lane works beside the run; both end in the same, true membership."""
    turn = count(1)

    def in_the_middle() -> None:
        if next(turn) == when:
            for n in (0, 3, 5, 7):
                world.withdraw(email=f"p{n}@example.com")
            world.lane_works()

    world.on_add = in_the_middle
    world.ran()
    world.on_add = lambda: None
    assert world.wrongs == []
    world.lane_works()

    gone = {c for n in (0, 3, 5, 7) for c in written(f"p{n}@example.com", f"+4670000000{n}")}
    assert world.partner.holds == world.held() == EVERYBODY - gone
    assert set(world.states()) == {CONFIRMED}


def test_the_lane_does_not_wait_for_a_run_that_holds_the_list(world: WithdrawnWorld) -> None:
    """Whoever was held before is taken off beside it at once, and confirmed when it has ended."""
    world.ran()
    world.write([*PEOPLE, *(granted(f"d{n}", email=f"d{n}@example.com") for n in range(9))])
    acknowledged: list[WithdrawalState] = []
    turn = count()

    def in_the_middle() -> None:
        if next(turn) == 0:
            world.withdraw(email="p1@example.com")
            world.lane_works()
            acknowledged.extend(world.states())
            assert digest("p1@example.com") not in world.partner.holds

    world.on_add = in_the_middle
    world.ran()
    assert acknowledged == [ACKNOWLEDGED]
    world.lane_works()
    assert world.states() == [CONFIRMED]
    assert digest("p1@example.com") not in world.partner.holds | world.held()


def test_nobody_waits_for_books_that_a_run_holds(
    world: WithdrawnWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the partner acknowledged needs no more looks, which would slow the run down."""
    world.ran()
    world.write([*PEOPLE, *(granted(f"d{n}", email=f"d{n}@example.com") for n in range(9))])
    looks: list[Worked] = []
    turn = count()

    def no_reading(*_words: Any) -> None:
        raise AssertionError("a membership was read in vain")

    def in_the_middle() -> None:
        if next(turn) == 0:
            world.withdraw(email="p1@example.com", customer_id="c2")
            looks.append(world.lane_works())
            with monkeypatch.context() as watched:
                watched.setattr(Membership, "read", no_reading)
                looks.append(world.lane_works())

    world.on_add = in_the_middle
    world.ran()
    assert [(one.open, one.waiting) for one in looks] == [(1, 0), (1, 0)]
    assert all(one.again is not None and one.again > 5 for one in looks)
    assert not world.partner.holds & written("p2@example.com", "+46700000002")
    assert world.lane_works().open == 0


def test_an_interrupted_delivery_adds_nobody_again(world: WithdrawnWorld) -> None:
    """A batch whose answer was lost is taken back, and sent again without who withdrew."""

    def breaks(when: str, operation: str) -> None:
        if when == "after" and operation == "add":
            raise TemporaryPartnerError("no answer")

    world.partner.fault = breaks
    outcome = world.sync()
    assert isinstance(outcome.error, TemporaryPartnerError)
    for n in range(8):
        world.withdraw(email=f"p{n}@example.com")
    world.partner.fault = lambda _when, _operation: None
    world.lane_works()
    assert world.partner.holds == set()

    run = world.ledger.runs(states=[RunState.DELIVERING])[0]
    world.pipeline().resume(run)
    world.lane_works()
    assert world.partner.holds == world.held() == set()
    assert set(world.states()) == {CONFIRMED}


def test_it_is_retried_until_the_partner_has_acknowledged(world: WithdrawnWorld) -> None:
    """Failures leave it open, with the reason and a time to come back."""
    world.ran()

    def away(when: str, operation: str) -> None:
        if when == "before" and operation == "remove":
            raise TemporaryPartnerError("the partner cannot answer now", 503)

    world.partner.fault = away
    world.withdraw(email="p1@example.com")
    worked = world.lane_works()
    assert worked.open == 1
    assert worked.again is not None
    assert world.states() == [WithdrawalState.QUEUED]
    assert "cannot answer" in worked.reasons[0]
    assert world.lane().work().open == 1  # its time has not come
    world.partner.fault = lambda _when, _operation: None
    assert world.lane_works().open == 0


def test_a_person_who_asks_waits_for_no_time(world: WithdrawnWorld) -> None:
    """Whoever mended what was wrong need not wait until the next attempt is due."""
    world.ran()

    def refuses(when: str, operation: str) -> None:
        if when == "before" and operation == "remove":
            raise RefusedError("the settings are wrong", 400)

    world.partner.fault = refuses
    world.withdraw(email="p1@example.com")
    assert world.lane_works().open == 1
    world.partner.fault = lambda _when, _operation: None
    assert world.lane().work().open == 1
    assert world.lane().work(at_once=True).open == 0


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


def answer(world: WithdrawnWorld, references: Iterable[str], **said: Any) -> None:
    """The partner's last word on these comes, and it is time to ask."""
    word = Receipt(**{"accepted": 1} | said)
    world.partner.answers.update(dict.fromkeys(references, word))
    world.time += timedelta(hours=1)


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


class TestRefused:
    """Where a list would become too small for its partner."""

    @pytest.fixture(autouse=True)
    def _refusing(self, world: WithdrawnWorld) -> Iterator[None]:
        world.ran()
        usual = world.partner.remove

        def remove(upload: Any, members: Members) -> Receipt:
            if len(world.partner.holds) > len(members) * 2:
                raise RefusedError("the audience would be too small", 400, "40002")
            return usual(upload, members)

        world.partner.remove = remove  # type: ignore[method-assign]
        return

    def test_it_is_told_and_stays_open(self, world: WithdrawnWorld) -> None:
        """Nobody is silently kept: a person learns of it."""
        world.withdraw(email="p1@example.com")
        worked = world.lane_works()
        assert worked.open == 1
        assert "refuses" in worked.reasons[0]
        assert "audience-sync forget vip memory-1" in worked.reasons[0]
        assert digest("p1@example.com") in world.held()

    def test_the_list_is_emptied_and_built_anew(self, world: WithdrawnWorld) -> None:
        """Everybody leaves, and the next sync brings back who may be there."""
        world.policy = OnRefusedRemoval.EMPTY_AND_REBUILD
        world.partner.limits = world.partner.limits.__class__(members_per_request=100)
        world.withdraw(email="p1@example.com")
        world.lane_works()
        assert world.partner.holds == world.held() == set()
        assert world.states() == [CONFIRMED]
        world.ran()
        assert world.partner.holds == EVERYBODY - written("p1@example.com", "+46700000001")

    def test_a_list_that_is_emptied_later_is_asked_for(self, world: WithdrawnWorld) -> None:
        """The emptying is sent once, and what the partner says of it in the end counts."""
        world.policy = OnRefusedRemoval.EMPTY_AND_REBUILD
        world.partner.limits = world.partner.limits.__class__(members_per_request=100)
        usual = world.partner.remove

        def remove(upload: Any, members: Members) -> Receipt:
            found = set(world.partner.holds)
            receipt = usual(upload, members)
            world.partner.holds |= found  # it does it later
            return receipt

        world.partner.remove = remove  # type: ignore[method-assign]
        world.partner.pending = True
        world.withdraw(email="p1@example.com")
        world.lane_works()
        assert world.states() == [ACKNOWLEDGED]
        sent = len(world.partner.calls)
        world.time += timedelta(minutes=5)
        world.lane_works()
        assert len(world.partner.calls) == sent
        world.partner.holds.clear()
        world.partner.answers[f"remove-{sent}"] = Receipt(accepted=len(EVERYBODY))
        world.time += timedelta(minutes=5)
        world.lane_works()
        assert world.states() == [CONFIRMED]
        world.partner.pending = False
        world.ran()
        assert world.partner.holds == EVERYBODY - written("p1@example.com", "+46700000001")

    def test_nobody_is_forgotten_whom_the_partner_may_still_add_to_an_emptied_list(
        self, world: WithdrawnWorld
    ) -> None:
        """It is at work on what a run sent: they are in doubt, but for who withdrew."""
        world.policy = OnRefusedRemoval.EMPTY_AND_REBUILD
        world.partner.limits = world.partner.limits.__class__(members_per_request=100)
        world.write([*PEOPLE, granted("c9", email="p9@example.com")])
        world.partner.pending = True
        assert world.ran().state is RunState.DELIVERED
        world.partner.pending = False
        world.withdraw(email="p1@example.com")
        world.lane_works()
        assert world.partner.holds == set()
        world.partner.holds.add(digest("p9@example.com"))  # now it has done it
        assert world.held() >= world.partner.holds
        assert digest("p1@example.com") not in world.held()
        world.ran()
        left = EVERYBODY - written("p1@example.com", "+46700000001")
        assert world.partner.holds == left | {digest("p9@example.com")}

    def test_nobody_counts_as_held_whom_a_broken_emptying_perhaps_took(
        self, world: WithdrawnWorld
    ) -> None:
        """The partner goes away in the middle of it: the next sync sends everybody again."""
        world.policy = OnRefusedRemoval.EMPTY_AND_REBUILD
        removed = count()

        def remove(upload: Any, members: Members) -> Receipt:
            if len(members) < 3:
                raise RefusedError("the audience would be too small", 400, "40002")
            if next(removed):
                raise TemporaryPartnerError("the partner is away")
            world.partner.holds -= _cells(members)
            return Receipt(accepted=len(members))

        world.partner.remove = remove  # type: ignore[method-assign]
        world.withdraw(email="p1@example.com")
        world.lane_works()
        vars(world.partner).pop("remove")  # as every partner does
        assert 0 < len(world.partner.holds) < len(EVERYBODY)
        world.ran()
        assert world.partner.holds == EVERYBODY - written("p1@example.com", "+46700000001")

    def test_a_plugin_that_counts_wrongly_empties_no_list(self, world: WithdrawnWorld) -> None:
        """Its own mistake is no word of the partner's."""
        world.policy = OnRefusedRemoval.EMPTY_AND_REBUILD

        def remove(upload: Any, members: Members) -> Receipt:
            return Receipt(accepted=len(members) + 1)

        world.partner.remove = remove  # type: ignore[method-assign]
        world.withdraw(email="p1@example.com")
        assert world.lane_works().open == 1
        assert len([line for line in world.log() if line.operation == "withdraw"]) == 2
        assert world.held() == EVERYBODY

    @pytest.mark.parametrize("policy", list(OnRefusedRemoval))
    def test_what_is_refused_after_it_was_taken_is_not_sent_forever(
        self, world: WithdrawnWorld, policy: OnRefusedRemoval
    ) -> None:
        """The third time the project file decides; a person who is to decide reads the reason."""
        vars(world.partner).pop("remove")
        usual, kept = world.partner.remove, set(world.partner.holds)
        world.policy, world.partner.pending = policy, True

        def remove(upload: Any, members: Members) -> Receipt:
            receipt = usual(upload, members)
            if world.partner.holds:  # it keeps whoever is to leave alone
                world.partner.holds |= kept
                lost = Receipt(accepted=0, unattributed=1, lost=True, reason="code 40002")
                world.partner.answers[str(receipt.reference)] = lost
                return receipt
            return replace(receipt, pending=False, reference=None)

        world.partner.remove = remove  # type: ignore[method-assign]
        world.partner.limits = world.partner.limits.__class__(members_per_request=100)
        world.partner.delete_audience = lambda _id: world.partner.holds.clear()  # type: ignore[method-assign]
        world.withdraw(email="p1@example.com")
        for _ in range(6):
            world.time += timedelta(hours=1)
            worked = world.lane_works()
        if policy is OnRefusedRemoval.ALERT:
            assert worked.open == 1
            assert "refused it later, code 40002; it is sent again" in worked.reasons[0]
            assert len(world.partner.removals) == 6
        else:
            assert world.partner.holds == world.held() == set()
            assert world.states() == [CONFIRMED]
            assert len(world.partner.removals) <= 4

    def test_refusals_are_no_longer_counted_once_nobody_who_withdrew_is_held(
        self, world: WithdrawnWorld
    ) -> None:
        """A run took them off in the end: the next withdrawal is asked for, not escalated."""
        vars(world.partner).pop("remove")
        world.partner.pending = True
        world.withdraw(email="p1@example.com")
        for _ in range(4):
            world.lane_works()
            lost = {"accepted": 0, "unattributed": 1, "lost": True}
            answer(world, world.partner.removals, **lost)
        world.partner.pending = False
        world.ran()
        world.lane_works()
        assert world.states() == [CONFIRMED]
        world.policy = OnRefusedRemoval.EMPTY_AND_REBUILD
        world.withdraw(email="p2@example.com")
        world.lane_works()
        assert world.states() == [CONFIRMED] * 2
        left = EVERYBODY - written("p1@example.com", "+46700000001")
        assert world.partner.holds == left - written("p2@example.com", "+46700000002")

    @pytest.mark.parametrize("deletes", [True, False])
    def test_an_emptying_that_is_refused_later_is_not_sent_forever(
        self, world: WithdrawnWorld, *, deletes: bool
    ) -> None:
        """The third time the list is deleted, where it can be; else a person reads the reason."""
        vars(world.partner).pop("remove")
        world.policy, world.partner.pending = OnRefusedRemoval.EMPTY_AND_REBUILD, True
        world.partner.limits = world.partner.limits.__class__(members_per_request=100)

        class Keeping(type(world.partner)):  # type: ignore[misc]
            def remove(self, upload: Any, members: Members) -> Receipt:
                found = set(self.holds)
                receipt = super().remove(upload, members)
                self.holds |= found
                return cast("Receipt", receipt)

        class Deleting(Keeping):
            def delete_audience(self, remote_id: str) -> None:
                self.holds.clear()

        world.partner.__class__ = Deleting if deletes else Keeping
        world.withdraw(email="p1@example.com")
        for _ in range(7):
            worked = world.lane_works()
            answer(world, world.partner.removals, accepted=0, unattributed=1, lost=True)
        if deletes:
            assert world.states() == [CONFIRMED]
            assert world.partner.holds == world.held() == set()
            assert len(world.partner.removals) == 6
        else:
            assert worked.open == 1
            assert "refused it later" in worked.reasons[0]
            assert world.held() == world.partner.holds == EVERYBODY

    def test_who_is_in_doubt_already_is_not_written_again(self, world: WithdrawnWorld) -> None:
        """A partner that never empties a list is asked many times: the membership is as it was."""
        world.policy = OnRefusedRemoval.EMPTY_AND_REBUILD

        def remove(upload: Any, members: Members) -> Receipt:
            raise RefusedError("the audience would be too small", 400, "40002")

        world.partner.remove = remove  # type: ignore[method-assign]
        world.withdraw(email="p1@example.com")
        world.lane_works()
        lists = [path for path in world.files() if "lists" in path.parts]
        world.withdraw(email="p2@example.com")
        world.lane_works()
        assert [path for path in world.files() if "lists" in path.parts] == lists
        assert world.held() == EVERYBODY

    @pytest.mark.parametrize("deletes", [True, False])
    def test_a_list_that_is_not_emptied_either_is_deleted(
        self, world: WithdrawnWorld, *, deletes: bool
    ) -> None:
        """Where the partner deletes lists; else a person is told, and nobody counts as gone."""
        world.policy = OnRefusedRemoval.EMPTY_AND_REBUILD

        def remove(upload: Any, members: Members) -> Receipt:
            raise RefusedError("the audience would be too small", 400, "40002")

        world.partner.remove = remove  # type: ignore[method-assign]
        if deletes:

            class Deleting(type(world.partner)):  # type: ignore[misc]
                def delete_audience(self, remote_id: str) -> None:
                    self.holds.clear()

            world.partner.__class__ = Deleting
        world.withdraw(email="p1@example.com")
        worked = world.lane_works()
        assert world.partner.holds == world.held() == (set() if deletes else EVERYBODY)
        assert (worked.open, len(worked.reasons)) == ((0, 0) if deletes else (1, 1))

    def test_the_list_is_deleted(self, world: WithdrawnWorld) -> None:
        """The next sync makes another."""
        world.policy = OnRefusedRemoval.DELETE
        deleted: list[str] = []

        def delete(remote_id: str) -> None:
            deleted.append(remote_id)
            world.partner.holds.clear()

        world.partner.delete_audience = delete  # type: ignore[method-assign]
        world.withdraw(email="p1@example.com")
        world.lane_works()
        assert deleted == ["1"]
        assert world.held() == set()
        assert world.states() == [CONFIRMED]
        assert world.ledger.remote_list("vip", "memory-1").remote_id is None
        world.ran()
        assert len(world.partner.lists) == 2
        assert world.partner.holds == EVERYBODY - written("p1@example.com", "+46700000001")


def test_partners_with_a_use_for_it_are_told(world: WithdrawnWorld) -> None:
    """`Connector.withdraw` gets the people whom the partner has from us, in its own forms."""
    told: list[set[str]] = []

    class Telling(type(world.partner)):  # type: ignore[misc]
        def withdraw(self, members: Members) -> Receipt:
            told.append({c for row in members.rows(members.kinds) for c in row if c})
            return Receipt(accepted=len(members))

    assert type(world.partner).withdraw is Connector.withdraw
    world.ran()
    world.partner.__class__ = Telling
    world.withdraw(email="p1@example.com")
    world.withdraw(email="stranger@example.com")
    world.lane_works()
    assert told == [written("p1@example.com", "+46700000001")]


def test_an_idempotency_key_counts_once(world: WithdrawnWorld) -> None:
    """A request that comes again is answered the same, and recorded once."""
    first = world.withdraw(email="p1@example.com", idempotency_key="k1")
    again = world.withdraw(email="p1@example.com", idempotency_key="k1")
    assert (again.withdrawals, again.people, again.repeated) == (first.withdrawals, 0, 1)
    twice = [WithdrawalRequest(email="p2@example.com", idempotency_key="k2")] * 2
    assert world.recorder().receive(twice).repeated == 1
    assert len(world.ledger.withdrawals()) == 2


def test_who_names_nobody_is_refused(world: WithdrawnWorld) -> None:
    """All or nothing, and the message holds no value."""
    with pytest.raises(ConfigurationError, match="name nobody") as refused:
        world.recorder().receive(
            [WithdrawalRequest(email="p1@example.com"), WithdrawalRequest(email="nonsense")]
        )
    assert "nonsense" not in str(refused.value)
    assert world.ledger.withdrawals() == []
    with pytest.raises(ConfigurationError, match="nobody knows"):
        world.withdraw(email="p1@example.com", partner="tikkok")


def test_many_who_wait_are_looked_for_together(
    world: WithdrawnWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many withdrew by customer id, each batch of the source is searched once."""
    searched = count()
    usual = resolve.all_matches
    monkeypatch.setattr(resolve, "all_matches", lambda *words: (next(searched), usual(*words))[1])
    world.ran()
    for number in (0, 1, 2, 2, 9):
        world.withdraw(customer_id=f"c{number}")
    world.lane_works()
    assert next(searched) == 1
    assert world.states() == [CONFIRMED] * 5
    gone = {cell for n in range(3) for cell in written(f"p{n}@example.com", f"+4670000000{n}")}
    assert world.partner.holds == world.held() == EVERYBODY - gone
    assert [one.missing for one in world.ledger.withdrawals(through=5)] == [0, 0, 0, 0, 1]


def test_additions_wait_for_a_customer_id_to_be_resolved(
    world: WithdrawnWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then nobody can tell whom it names, so nobody is added."""
    monkeypatch.setattr(screen, "PATIENCE", 0.0)
    run = world.ran(deliver=False)
    world.withdraw(customer_id="c3")
    with pytest.raises(TemporaryPartnerError, match="customer id"):
        world.pipeline().approve(run, "anna")
    assert world.partner.holds == set()
    world.lane_works()
    world.pipeline().resume(world.ledger.run(run.id))
    assert world.partner.holds == EVERYBODY - written("p3@example.com", "+46700000003")


def test_nothing_personal_rests_outside_sealed_files(world: WithdrawnWorld) -> None:
    """Neither the value nor its hash is in the ledger or readable in the state (L10)."""
    world.ran()
    world.withdraw(email="p1@example.com", customer_id="c1", idempotency_key="p1@example.com")
    world.lane_works()
    rest = b"".join(path.read_bytes() for path in world.files())
    rest += (world.folder / "ledger.sqlite").read_bytes()
    wal = world.folder / "ledger.sqlite-wal"
    rest += wal.read_bytes() if wal.exists() else b""
    for value in ("p1@example.com", "46700000001"):
        assert value.encode() not in rest
        assert digest(value).encode() not in rest
        assert bytes.fromhex(digest(value)) not in rest


def test_removals_of_the_lane_are_not_runs(world: WithdrawnWorld) -> None:
    """Guards compare with the last sync, not with a removal of one person."""
    run = world.ran()
    world.withdraw(email="p1@example.com")
    world.lane_works()
    assert world.ledger.last_run("vip", "memory-1") is not None
    assert [one.id for one in world.ledger.runs()] == [run.id]
    assert all(line.operation in {"withdraw", Operation.ADD} for line in world.log())
