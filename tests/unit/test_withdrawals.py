"""Withdrawals overtake everything (L11): they block, remove, and have a clock."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from pipeline_world import digest, granted
from withdrawn_world import EVERYBODY, PEOPLE, WithdrawnWorld, eight_people, written

from audience_sync.connector import Connector, Members, Receipt
from audience_sync.errors import (
    ConfigurationError,
    RefusedError,
    StateError,
    TemporaryPartnerError,
)
from audience_sync.ledger.records.log import Event
from audience_sync.ledger.records.runs import Operation, RunState
from audience_sync.ledger.withdrawal_deliveries import WithdrawalState
from audience_sync.membership.held import Membership
from audience_sync.runs import resolve, screen
from audience_sync.runs.books import Books
from audience_sync.runs.lane import Worked
from audience_sync.runs.withdrawal_requests import UnusableError, WithdrawalRequest

CONFIRMED, ACKNOWLEDGED = WithdrawalState.CONFIRMED, WithdrawalState.ACKNOWLEDGED


@pytest.fixture
def world(tmp_path: Path) -> WithdrawnWorld:
    """Eight people on one list."""
    return eight_people(tmp_path)


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

    if lane == "dies":
        _lane_dies(world)
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


@pytest.mark.parametrize("sync", [False, True])
def test_a_removal_whose_answer_nobody_saw_is_told_as_unknown(
    world: WithdrawnWorld, *, sync: bool
) -> None:
    """Once, when the lane comes to the list again, though a sync may have taken them off since."""
    world.ran()
    world.withdraw(email="p1@example.com")

    _lane_dies(world)
    removals = [line for line in world.log() if line.operation == "withdraw"]
    assert [line.event for line in removals] == [Event.INTENT]
    if sync:
        world.ran()
    world.lane_works()
    world.lane_works()
    assert world.states() == [CONFIRMED]
    theirs = [line for line in world.log() if line.run == removals[0].run]
    assert [line.event for line in theirs] == [Event.INTENT, Event.UNKNOWN]
    assert theirs[1].unattributed == theirs[0].sent
    assert "no answer was seen" in (theirs[1].note or "")
    runs = {line.run for line in world.log() if line.operation == "withdraw"}
    assert all(not world.ledger.unanswered(run) for run in runs)


def _cells(members: Members) -> set[str]:
    return {cell for row in members.rows(members.kinds) for cell in row if cell}


def _lane_dies(world: WithdrawnWorld) -> None:
    """The partner takes somebody off, and nobody sees its answer."""

    def dies(when: str, operation: str) -> None:
        if (when, operation) == ("after", "remove"):
            raise KeyboardInterrupt

    world.partner.fault = dies
    with pytest.raises(KeyboardInterrupt):
        world.lane_works()
    world.partner.fault = lambda _when, _operation: None


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


def test_nobody_waits_long_for_a_run_that_wrote_the_books_anew(
    world: WithdrawnWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files that the lane was reading are gone: it soon reads the new ones, without a word."""
    world.ran()
    lease = world.ledger.take_lease("vip/memory-1", "a run", 600)
    usual, turn = Books.membership, count()

    def swept(books: Books) -> Membership:
        if next(turn) == 0:
            remote = world.ledger.remote_list("vip", "memory-1")
            newer = replace(remote, generation=remote.generation + 1)
            world.ledger.save_remote_list(newer, expect_generation=remote.generation, lease=lease)
            raise StateError("the state file is missing; restore it from a backup")
        return usual(books)

    monkeypatch.setattr(Books, "membership", swept)
    world.withdraw(email="p1@example.com")
    worked = world.lane().work()
    assert worked.reasons == ()
    assert worked.again is not None
    assert worked.again < 1
    world.time += timedelta(seconds=worked.again)
    world.lane().work()
    assert world.states() == [ACKNOWLEDGED]
    assert digest("p1@example.com") not in world.partner.holds


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
    world.time += timedelta(minutes=10)  # what had no answer has surely arrived
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
