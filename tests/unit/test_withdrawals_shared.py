"""Withdrawals overtake a sync that many workers share, whatever piece they are at (L7, L11)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pipeline_world import granted
from two_partners_world import PARTNERS, SharedWorld, written_for

from audience_sync.ledger.records.runs import RunState
from audience_sync.ledger.records.work import JobState
from audience_sync.ledger.withdrawal_deliveries import WithdrawalState
from audience_sync.runs import screen
from audience_sync.runs.fanout import delivering
from audience_sync.runs.fanout.kinds import PieceRef

PEOPLE = [granted(f"c{n}", email=f"p{n}@example.com", phone=f"+467000000{n:02}") for n in range(30)]
GONE = (3, 11, 19, 27)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SharedWorld]:
    """Thirty people who are to be on two lists; two batches of three a piece."""
    monkeypatch.setattr(delivering, "BATCHES", 2)
    monkeypatch.setattr(delivering, "UPLOADS", 1)
    monkeypatch.setattr(screen, "PATIENCE", 0.0)
    world = SharedWorld(tmp_path)
    world.split_rows = 8
    world.write(PEOPLE)
    yield world
    world.ledger.close()


def withdraw(world: SharedWorld, by: str) -> None:
    """Four people withdraw from both partners."""
    for number in GONE:
        value = f"p{number}@example.com" if by == "email" else f"c{number}"
        world.withdraw_from(None, world.now(), **{by: value})
        for partner in PARTNERS:
            world.at(partner).forbidden.forbid(written_for(partner, *_identifiers(number)))


def _identifiers(number: int) -> tuple[str, str]:
    return f"p{number}@example.com", f"+467000000{number:02}"


def expected(partner: str, without: tuple[int, ...] = GONE) -> set[str]:
    """What a partner is to hold."""
    left = [number for number in range(30) if number not in without]
    return {cell for number in left for cell in written_for(partner, *_identifiers(number))}


def worked(world: SharedWorld, wake: list[PieceRef], pieces: int) -> list[PieceRef]:
    """So many pieces are done; what is left to be woken."""
    for _ in range(pieces):
        wake += world.coordinator().work(wake.pop(0)).wake
    return wake


def assert_settled(world: SharedWorld) -> None:
    """Both partners hold who may be there, and nobody was added after withdrawing."""
    for partner in PARTNERS:
        there = world.at(partner)
        assert there.wrongs == []
        assert there.holds == world.held_by(partner) == expected(partner)
    rows = world.ledger.withdrawal_deliveries()
    assert {row.state for row in rows} == {WithdrawalState.CONFIRMED}


@pytest.mark.parametrize("by", ["email", "customer_id"])
@pytest.mark.parametrize("pieces", [0, 3])
def test_who_withdraws_while_a_plan_is_made_is_not_sent(
    world: SharedWorld, by: str, pieces: int
) -> None:
    """The pieces of the plan know what its first one knew; the delivery knows the rest."""
    left_out, wake = world.begin(world.lists)
    assert left_out == []
    wake = worked(world, wake, pieces)
    withdraw(world, by)
    world.lane_works()
    world.work_off(wake)
    planned = world.ledger.runs(states=[RunState.PLANNED])
    assert len(planned) == 2
    for run in planned:
        world.work_off(world.begin_delivery(run.id))
    world.lane_works()
    assert_settled(world)


@pytest.mark.parametrize("by", ["email", "customer_id"])
def test_who_withdraws_while_pieces_are_sent_is_taken_off_beside_them(
    world: SharedWorld, by: str
) -> None:
    """Whom done pieces added is taken off before the others are done, which add nobody more."""
    runs = [outcome.run for outcome in world.sync_both(deliver=False)]
    wakes = [world.begin_delivery(run.id) for run in runs if run is not None]
    wakes = [worked(world, wake, 2) for wake in wakes]
    assert all(wakes)
    sent = {partner: set(world.at(partner).holds) for partner in PARTNERS}
    withdraw(world, by)
    worked_by_lane = world.lane_works()
    assert worked_by_lane.waiting == 0
    for partner in PARTNERS:
        there = world.at(partner)
        assert sent[partner] & there.forbidden.cells
        assert there.holds == sent[partner] - there.forbidden.cells
    for wake in wakes:
        world.work_off(wake)
    assert not world.ledger.runs(states=[RunState.DELIVERING])
    world.lane_works()
    assert_settled(world)


def test_pieces_wait_until_it_is_known_whom_a_customer_id_names(world: SharedWorld) -> None:
    """None of them ends the job; all go on once the lane has looked."""
    [first, _] = [outcome.run for outcome in world.sync_both(deliver=False)]
    assert first is not None
    wake = worked(world, world.begin_delivery(first.id), 1)
    before = set(world.memory.holds)
    withdraw(world, "customer_id")
    again = [world.coordinator().work(ref).again for ref in wake]
    assert all(again)
    assert world.memory.holds == before
    [job] = world.ledger.jobs((JobState.OPEN,))
    reasons = {piece.note for piece in world.ledger.pieces(job.id, job.stage) if piece.note}
    assert all("customer id" in reason for reason in reasons)
    world.lane_works()
    world.recover()
    world.sync_both()
    world.lane_works()
    assert_settled(world)


def test_a_worker_that_dies_after_the_partner_added_them(world: SharedWorld) -> None:
    """What it sent nobody knows: they are taken off all the same, and not sent again."""
    [first, _] = [outcome.run for outcome in world.sync_both(deliver=False)]
    assert first is not None
    wake = world.begin_delivery(first.id)

    def dies(when: str, operation: str) -> None:
        if (when, operation) == ("after", "add"):
            raise KeyboardInterrupt

    world.memory.fault = dies
    with pytest.raises(KeyboardInterrupt):
        world.coordinator().work(wake[0])
    world.memory.fault = lambda _when, _operation: None
    assert world.memory.holds
    withdraw(world, "email")
    world.lane_works()
    world.work_off(wake)
    world.lane_works()
    world.sync_both()
    world.lane_works()
    assert_settled(world)
