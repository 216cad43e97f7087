"""A withdrawal by phone reaches lists that hold the person by e-mail alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pipeline_world import digest, granted
from two_partners_world import OtherPartner, TwoPartnersWorld

from audience_sync.errors import StateError, TemporaryPartnerError
from audience_sync.identifiers.kinds import Kind
from audience_sync.ledger.withdrawal_deliveries import WithdrawalState
from audience_sync.membership.held import Manifest, Membership
from audience_sync.runs.identities import Identities

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


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The destinations whose lists cannot be read."""
    usual, there = Membership.read, set[str]()

    def read(membership: Membership, *words: Any) -> Any:
        paths = membership.manifest.files.values()
        if any(destination in path for destination in there for path in paths):
            raise StateError("the membership cannot be read")
        return usual(membership, *words)

    monkeypatch.setattr(Membership, "read", read)
    return there


def test_a_list_that_cannot_be_read_hides_no_other(
    world: TwoPartnersWorld, broken: set[str]
) -> None:
    """What the others show counts at once; it is looked for again, since there may be more."""
    broken.add("other-1")
    world.withdraw_from(None, world.now(), phone="+46700000003")
    world.withdraw_from(None, world.now(), phone="+46709999999")
    for _ in range(2):
        assert "the membership cannot be read" in world.lane_works().reasons
    found = world.ledger.withdrawals()
    assert [(one.parent, one.resolved_by) for one in found] == [
        (None, None),
        (None, None),
        (1, None),
    ]
    assert digest("p3@example.com") not in world.memory.holds
    broken.clear()
    world.time += timedelta(hours=1)
    world.lane_works()
    assert set(world.states()) == {WithdrawalState.CONFIRMED}
    assert world.other.holds == emails(0, 1, 2, 4, 5, 6, 7)


def test_a_list_that_was_written_anew_meanwhile_is_read_again(
    world: TwoPartnersWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that ended deleted the files that were being read: nobody is told of any trouble."""
    usual, left = Membership.read, [1]

    def read(*words: Any) -> Any:
        if left and left.pop():
            lease = world.ledger.take_lease("vip/memory-1", "a run", 60.0)
            before = world.ledger.remote_list("vip", "memory-1")
            newer = dataclasses.replace(before, generation=before.generation + 1)
            world.ledger.save_remote_list(newer, expect_generation=before.generation, lease=lease)
            world.ledger.release_lease(lease)
            raise StateError("the state file is missing")
        return usual(*words)

    monkeypatch.setattr(Membership, "read", read)
    world.withdraw_from(None, world.now(), phone="+46700000003")
    worked = world.lane_works()
    assert (worked.open, worked.reasons) == (0, ())
    assert world.other.holds == emails(0, 1, 2, 4, 5, 6, 7)


def test_a_phone_of_two_is_looked_for_on_every_list(
    world: TwoPartnersWorld, broken: set[str]
) -> None:
    """One list shows one of them, the other, which cannot be read, shows both."""
    there = dataclasses.replace(world.lists[0], destination="other-1", partner="other")
    world.lists[1] = dataclasses.replace(there, forms=OtherPartner.forms)
    rows: list[Any] = [*PEOPLE, granted("c9", email="p9@example.com", phone="+46700000003")]
    world.write(rows)
    only = dataclasses.replace(world.lists[1], audience="mail", forms={Kind.EMAIL: "email/plain"})
    assert [one.error for one in world.sync_all([world.lists[1], only])] == [None, None]
    broken.add("other-1/vip")
    world.withdraw_from(None, world.now(), phone="+46700000003")
    world.lane_works()
    assert WithdrawalState.CONFIRMED not in world.states()
    broken.clear()
    for _ in range(2):
        world.time += timedelta(hours=1)
        world.lane_works()
    assert set(world.states()) == {WithdrawalState.CONFIRMED}
    remote = world.ledger.remote_list("mail", "other-1")
    membership = Membership(world.location, world.keyring, Manifest.of(remote.manifest))
    held = {v.tobytes().hex() for v in membership.read(0, 1).columns[Kind.EMAIL]}
    assert held == emails(0, 1, 2, 4, 5, 6, 7)


def test_nothing_is_confirmed_before_all_lists_could_be_read(
    world: TwoPartnersWorld, broken: set[str]
) -> None:
    """The list that cannot be read may be the one that shows who it is whom the others hold."""
    broken.add("memory-1")
    world.withdraw_from(None, world.now(), phone="+46700000003")
    assert (world.lane_works().again or 0.0) > 2.0
    assert WithdrawalState.CONFIRMED not in world.states()
    [row] = world.ledger.withdrawal_deliveries(destination="other-1")
    assert row.reason == "the membership cannot be read"
    broken.clear()
    for _ in range(2):
        world.time += timedelta(hours=1)
        world.lane_works()
    assert set(world.states()) == {WithdrawalState.CONFIRMED}
    assert world.other.holds == emails(0, 1, 2, 4, 5, 6, 7)


def test_whoever_withdraws_during_the_look_is_looked_for_before_a_list_lets_go(
    world: TwoPartnersWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the list that shows who it is would forget it first."""
    usual, left = Membership.read, [4]

    def read(*words: Any) -> Any:
        if left:
            world.withdraw_from(None, world.now(), phone=f"+4670000000{left.pop()}")
        return usual(*words)

    world.withdraw_from(None, world.now(), phone="+46700000003")
    monkeypatch.setattr(Membership, "read", read)
    for _ in range(3):
        world.lane_works()
    assert world.other.holds == emails(0, 1, 2, 5, 6, 7)
    assert set(world.states()) == {WithdrawalState.CONFIRMED}


def test_rows_of_a_file_are_looked_for_beside_customer_ids(world: TwoPartnersWorld) -> None:
    """A file names some by customer id, known or not, and others by phone alone."""
    rows = {"customer_id": ["c1", "gone", None], "phone": [None, None, "+46700000003"]}
    world.recorder().receive_frames([pl.DataFrame(rows)])
    world.lane_works()
    assert world.other.holds == emails(0, 2, 4, 5, 6, 7)


def test_whom_a_run_at_work_brings_is_found(tmp_path: Path) -> None:
    """During a first sync no membership shows anybody: what is sent does."""
    world = TwoPartnersWorld(tmp_path)
    world.lists[1] = dataclasses.replace(world.lists[1], forms={Kind.EMAIL: "email/plain"})
    world.write(PEOPLE)
    left = [1]

    def on_add() -> None:
        if left:
            left.clear()
            world.withdraw_from(None, world.now(), phone="+46700000003")
            world.lane_works()

    world.memory.on_add = on_add
    assert [outcome.error for outcome in world.sync_both()] == [None, None]
    world.time += timedelta(hours=1)
    world.lane_works()
    assert world.other.holds == emails(0, 1, 2, 4, 5, 6, 7)
    assert set(world.states()) == {WithdrawalState.CONFIRMED}
    world.ledger.close()


def test_by_an_email_address_no_list_is_read_before_it_is_told(
    world: TwoPartnersWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the identity, so that there is nobody to look for on lists of millions."""
    world.withdraw_from(None, world.now(), email="p1@example.com")
    with monkeypatch.context() as unreadable:
        unreadable.setattr(Membership, "read", pytest.fail)
        Identities(
            ledger=world.ledger, location=world.location, keyring=world.keyring, now=world.now
        ).look(world.ledger.withdrawal_deliveries())
    assert [one.resolved_by for one in world.ledger.withdrawals()] == [1]
    assert world.lane_works().open == 0


def test_a_later_grant_brings_back_whoever_was_found(world: TwoPartnersWorld) -> None:
    """It is the phone that was refused: nobody is refused by their identity."""
    world.withdraw_from(None, world.now(), phone="+46700000003")
    world.lane_works()
    rows: list[Any] = list(PEOPLE)
    rows[3] = granted("c3", email="p3@example.com", phone="+46705550003")
    world.write(rows)
    assert [outcome.error for outcome in world.sync_both()] == [None, None]
    assert world.other.holds == emails(*range(8))
