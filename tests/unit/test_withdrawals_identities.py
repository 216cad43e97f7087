"""A withdrawal by phone reaches lists that hold the person by e-mail alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from pipeline_world import digest, granted
from two_partners_world import TwoPartnersWorld

from audience_sync.errors import StateError, TemporaryPartnerError
from audience_sync.identifiers.kinds import Kind
from audience_sync.ledger.withdrawal_deliveries import WithdrawalState
from audience_sync.runs import identities

PEOPLE = [granted(f"c{n}", email=f"p{n}@example.com", phone=f"+4670000000{n}") for n in range(8)]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[TwoPartnersWorld]:
    """Eight people on two lists; the second holds no phones."""
    world = TwoPartnersWorld(tmp_path)
    only = dataclasses.replace(world.lists[1], forms={Kind.EMAIL: "email/plain"})
    world.lists = [world.lists[0], only]
    world.write(PEOPLE)
    assert [outcome.error for outcome in world.sync_both()] == [None, None]
    yield world
    world.ledger.close()


def away(_when: str, _operation: str) -> None:
    """The partner cannot be reached."""
    raise TemporaryPartnerError("the partner is away")


def emails(*numbers: int) -> set[str]:
    """What the second partner holds of these people."""
    return {digest(f"p{number}@example.com") for number in numbers}


def test_whoever_withdraws_by_phone_leaves_lists_of_emails(world: TwoPartnersWorld) -> None:
    """At once, and it is confirmed there as well; nobody else leaves."""
    assert world.other.holds == emails(*range(8))
    world.withdraw_from(None, world.now(), phone="+46700000003")
    assert world.lane_works().open == 0
    assert world.other.holds == world.held_by("other") == emails(0, 1, 2, 4, 5, 6, 7)
    assert digest("46700000003") not in world.memory.holds
    assert set(world.states()) == {WithdrawalState.CONFIRMED}
    assert [outcome.error for outcome in world.sync_both()] == [None, None]
    assert world.other.holds == emails(0, 1, 2, 4, 5, 6, 7)


def test_it_is_not_forgotten_while_the_partner_is_away(world: TwoPartnersWorld) -> None:
    """The list that showed who it is has let go long before."""
    world.other.fault = away
    world.withdraw_from(None, world.now(), phone="+46700000003")
    assert world.lane_works().open == 1
    assert digest("p3@example.com") not in world.memory.holds
    world.other.fault = lambda _when, _operation: None
    world.time += timedelta(hours=1)
    assert world.lane_works().open == 0
    assert world.other.holds == emails(0, 1, 2, 4, 5, 6, 7)


def test_a_withdrawal_from_one_partner_stays_with_it(world: TwoPartnersWorld) -> None:
    """Whose list shows who it is keeps the person, where it is not meant."""
    world.withdraw_from("other", world.now(), phone="+46700000003")
    assert world.lane_works().open == 0
    assert world.other.holds == emails(0, 1, 2, 4, 5, 6, 7)
    assert digest("p3@example.com") in world.memory.holds


def test_each_is_looked_for_once(world: TwoPartnersWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often the lane looks, and an e-mail address needs nothing more."""
    world.withdraw_from(None, world.now(), email="p1@example.com")
    world.withdraw_from(None, world.now(), phone="+46700000003")
    world.withdraw_from(None, world.now(), phone="+46709999999")
    world.lane_works()
    found = world.ledger.withdrawals()
    assert [one.resolved_by for one in found[:3]] == [1, 4, 3]
    assert [one.parent for one in found] == [None, None, None, 2]
    monkeypatch.setattr(world.ledger, "resolve_withdrawal", pytest.fail)
    monkeypatch.setattr(world.ledger, "resolve_themselves", pytest.fail)
    world.lane_works()


def test_a_list_that_cannot_be_read_hides_no_other(
    world: TwoPartnersWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the others show counts; whom they do not show is looked for again."""
    usual, looked = identities.leaving, count()

    def broken(*words: Any) -> Any:
        if next(looked) == 1:  # the second list
            raise StateError("the membership cannot be read")
        return usual(*words)

    monkeypatch.setattr(identities, "leaving", broken)
    world.other.fault = away
    world.withdraw_from(None, world.now(), phone="+46700000003")
    world.withdraw_from(None, world.now(), phone="+46709999999")
    assert "the membership cannot be read" in world.lane_works().reasons
    assert [one.resolved_by for one in world.ledger.withdrawals()[:2]] == [3, None]
    world.other.fault = lambda _when, _operation: None
    world.time += timedelta(hours=1)
    world.lane_works()
    assert [one.resolved_by for one in world.ledger.withdrawals()[:2]] == [3, 2]
    assert world.other.holds == emails(0, 1, 2, 4, 5, 6, 7)


def test_a_later_grant_brings_back_whoever_was_found(world: TwoPartnersWorld) -> None:
    """It is the phone that was refused: nobody is refused by their identity."""
    world.withdraw_from(None, world.now(), phone="+46700000003")
    world.lane_works()
    rows: list[Any] = list(PEOPLE)
    rows[3] = granted("c3", email="p3@example.com", phone="+46705550003")
    world.write(rows)
    assert [outcome.error for outcome in world.sync_both()] == [None, None]
    assert world.other.holds == emails(*range(8))
