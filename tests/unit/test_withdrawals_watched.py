"""The watch: a refusal in the consent log takes somebody off every list minutes later (L11)."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pipeline_world import granted
from withdrawn_world import WithdrawnWorld, written

from audience_sync.errors import StateError
from audience_sync.runs.watch import Watch
from audience_sync.runs.withdraw import Recorder
from audience_sync.runs.withdrawal_requests import Received

PEOPLE = [granted(f"c{n}", email=f"p{n}@example.com") for n in range(4)]
MINUTE = timedelta(minutes=1)


class WatchedWorld(WithdrawnWorld):
    """Four people on a list, whose consent log is looked at."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.partners = frozenset({"memory", "other"})
        self.decisions = [
            {"customer_id": f"c{n}", "decision": "granted", "decided_at": "2026-01-01T00:00:00Z"}
            for n in range(4)
        ]
        self.write(PEOPLE)

    def says(self, number: int, decision: str, at: datetime, **more: Any) -> None:
        """A row of the consent log."""
        assert self.decisions is not None
        row = {"customer_id": f"c{number}", "decision": decision, "decided_at": at.isoformat()}
        self.decisions.append(row | more)
        self.write(PEOPLE)

    def look(self) -> Received:
        """The watch once."""
        decisions = self.selection().decisions
        assert decisions is not None
        return Watch(
            ledger=self.ledger, decisions=decisions, recorder=self.recorder(), now=self.now
        ).look()

    def left(self) -> set[int]:
        """Who is on the list, by the partner and by our books."""
        found = {n for n in range(4) if written(f"p{n}@example.com", None) <= self.partner.holds}
        assert self.held() == self.partner.holds
        return found


@pytest.fixture
def world(tmp_path: Path) -> WatchedWorld:
    world = WatchedWorld(tmp_path)
    world.ran()
    return world


def test_a_refusal_takes_them_off_without_a_sync(world: WatchedWorld) -> None:
    """It is a withdrawal like any other, and no later sync undoes it."""
    assert world.look().withdrawals == ()
    world.says(1, "withdrawn", world.time)
    received = world.look()
    assert (received.people, len(received.withdrawals)) == (1, 1)
    assert world.lane_works().open == 0
    assert world.left() == {0, 2, 3}
    world.ran()
    assert world.left() == {0, 2, 3}
    kept = world.ledger.withdrawal(received.withdrawals[0])
    assert (kept.source, kept.channel) == ("decisions", "consent log")


def test_it_is_taken_in_once(world: WatchedWorld) -> None:
    """However often the watch looks, and however long nobody else says anything."""
    world.says(1, "withdrawn", world.time)
    assert world.look().people == 1
    count = len(world.ledger.withdrawals())
    for wait in (MINUTE, 5 * MINUTE, timedelta(days=3), timedelta(days=40)):
        world.time += wait
        assert world.look() == Received(withdrawals=(), people=0, repeated=1)
    assert len(world.ledger.withdrawals()) == count


def test_a_log_whose_clock_is_ahead_is_taken_in_once(world: WatchedWorld) -> None:
    """Such as local time without a zone; the later of two words still counts, both being ahead."""
    ahead = timedelta(hours=2)
    world.says(1, "withdrawn", world.time + ahead)
    assert world.look().people == 1
    for _ in range(3):
        world.time += 5 * MINUTE
        assert world.look().people == 0
    world.says(1, "granted", world.time + ahead)
    world.time += MINUTE
    world.says(1, "withdrawn", world.time + ahead)
    assert world.look().people == 1
    world.time += 2 * ahead
    assert world.look().people == 0
    world.lane_works()
    assert world.left() == {0, 2, 3}


def test_a_row_far_ahead_of_time_is_taken_in_once(world: WatchedWorld) -> None:
    """Such as a year that was mistyped: until its day has come, and after, whoever else speaks."""
    ahead = timedelta(days=5)
    world.says(1, "withdrawn", world.time + ahead)
    world.says(2, "withdrawn", world.time)
    assert world.look().people == 2
    count = world.ledger.newest_withdrawal()
    for day in range(1, 9):
        world.time += timedelta(days=1)
        assert world.look().withdrawals == ()
        world.says(3, "granted", world.time + day * MINUTE)
    world.says(1, "withdrawn", world.time + ahead)
    assert world.look().people == 1
    world.time += ahead + MINUTE
    assert world.look().people == 0
    assert world.ledger.newest_withdrawal() == count + 1
    channels = [world.ledger.withdrawals()[at].channel for at in (0, 1)]
    assert channels == ["consent log", "consent log, dated ahead"]


def test_a_grant_after_the_refusal_outlasts_it(world: WatchedWorld) -> None:
    """Whoever refused and granted again between two looks is left alone, and stays."""
    world.look()
    world.says(1, "withdrawn", world.time)
    world.says(1, "granted", world.time + MINUTE)
    world.time += 2 * MINUTE
    assert world.look().people == 0
    world.lane_works()
    assert world.left() == {0, 1, 2, 3}


def test_a_row_that_comes_late_is_found(world: WatchedWorld) -> None:
    """A few minutes may pass until a row can be read, and others come first."""
    world.says(1, "withdrawn", world.time)
    world.look()
    world.says(2, "withdrawn", world.time - 8 * MINUTE)
    received = world.look()
    assert (received.people, received.repeated) == (1, 1)
    world.lane_works()
    assert world.left() == {0, 3}


def test_a_refusal_of_one_partner_concerns_no_other(world: WatchedWorld) -> None:
    """And one of a partner whom nobody knows concerns all (L1)."""
    world.says(1, "withdrawn", world.time, partner=" Other ")
    world.says(2, "objected", world.time, partner="Memory")
    world.says(3, "denied", world.time, partner="mystery")
    received = world.look()
    assert received.people == 3
    partners = {one.partner for one in world.ledger.withdrawals() if one.id in received.withdrawals}
    assert partners == {"other", "memory", None}
    world.lane_works()
    assert world.left() == {0, 1}


def test_what_could_not_be_recorded_is_found_by_the_next_look(
    world: WatchedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watch remembers how far it looked only after what it saw is on record."""
    world.look()
    world.says(1, "withdrawn", world.time)
    world.says(2, "withdrawn", world.time, partner="memory")
    usual, calls = Recorder.receive_decisions, []

    def fails(self: Recorder, *words: Any, **more: Any) -> Received:
        calls.append(words)
        if len(calls) == 2:
            raise StateError("the disk is full")
        return usual(self, *words, **more)

    with monkeypatch.context() as broken:
        broken.setattr(Recorder, "receive_decisions", fails)
        with pytest.raises(StateError):
            world.look()
    world.time += timedelta(hours=1)
    received = world.look()
    assert (received.people, received.repeated) == (1, 1)
    world.lane_works()
    assert world.left() == {0, 3}


def test_what_bears_no_time_waits_for_the_next_sync(world: WatchedWorld) -> None:
    """Nobody can tell it from an older word; the sync reads all of them."""
    assert world.decisions is not None
    world.decisions.append({"customer_id": "c1", "decision": "withdrawn", "decided_at": None})
    world.write(PEOPLE)
    assert world.look().people == 0
    world.ran()
    assert world.left() == {0, 2, 3}
