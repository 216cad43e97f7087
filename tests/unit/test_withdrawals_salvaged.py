"""A withdrawal by customer id while a row of the source is broken: nobody waits for another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from pipeline_world import COLUMNS, granted
from withdrawn_world import WithdrawnWorld, written

from audience_sync.identifiers.forms import FAMILIES
from audience_sync.identifiers.kinds import Kind
from audience_sync.ledger.withdrawal_deliveries import WithdrawalState
from audience_sync.runs.children import Children
from audience_sync.runs.named import IDENTITIES
from audience_sync.runs.targets import Selection

PEOPLE = [granted(f"c{n}", email=f"p{n}@example.com", phone=f"+4670000000{n}") for n in range(4)]
EVERYBODY = {cell for n in range(4) for cell in written(f"p{n}@example.com", f"+4670000000{n}")}


def gone(number: int) -> set[str]:
    return written(f"p{number}@example.com", f"+4670000000{number}")


class CsvWorld(WithdrawnWorld):
    """Its customers are a CSV, whose end can be spoilt."""

    def selection(self) -> Selection:
        usual = super().selection()
        return replace(usual, source=replace(usual.source, url="customers.csv"))

    def write(self, rows: Any, spoilt: Callable[[bytes], bytes] = bytes) -> None:
        full = [{name: row.get(name) for name in COLUMNS} for row in rows]
        path = self.folder / "customers.csv"
        pl.DataFrame(full, schema=dict.fromkeys(COLUMNS, pl.String)).write_csv(path)
        path.write_bytes(spoilt(path.read_bytes()))

    def customers(self) -> list[tuple[str, int]]:
        """The withdrawals, and how many identifiers each holds."""
        return [(one.id, one.identifiers) for one in self.ledger.withdrawals()]


@pytest.fixture
def world(tmp_path: Path) -> CsvWorld:
    """Four people on one list."""
    world = CsvWorld(tmp_path)
    world.write(PEOPLE)
    world.ran()
    return world


def half(content: bytes) -> bytes:
    return content + b"c4,p4@exa"


def in_the_middle(content: bytes) -> bytes:
    return content.replace(b"\nc1,", b"\nbroken,\nc1,").replace(b"\nc2,", b"\nM\xfcller,\nc2,")


def test_whoever_stands_in_a_good_row_leaves_at_once(world: CsvWorld) -> None:
    """The broken one could be more of anybody, so it is confirmed only once all can be read."""
    world.write(PEOPLE, half)
    world.withdraw(customer_id="c2")
    worked = world.lane_works()

    assert world.partner.holds == world.held() == EVERYBODY - gone(2)
    assert worked.open == 1
    [reason] = worked.reasons
    assert "customers.csv" in reason
    assert "row 6" in reason
    assert [row.reason for row in world.ledger.withdrawal_deliveries()] == [reason]
    assert world.states() == [WithdrawalState.QUEUED]

    before = world.customers()
    for _ in range(3):
        world.lane_works()
    assert world.customers() == before  # looked for again, not written down again

    world.write(PEOPLE)
    assert world.lane_works().open == 0
    assert world.states() == [WithdrawalState.CONFIRMED]
    assert [one.missing for one in world.ledger.withdrawals() if one.customers] == [0]
    [row] = world.ledger.withdrawal_deliveries()
    assert row.sent_at is not None  # somebody was held, and it is told so


def test_whoever_stands_in_the_broken_row_is_not_missing(world: CsvWorld) -> None:
    """They wait, until the row says who they are."""
    world.write(PEOPLE[:2] + PEOPLE[3:], lambda content: content + b"c2,p2@exa")
    world.withdraw(customer_id="c2")
    world.withdraw(customer_id="c3")
    assert world.lane_works().open == 2
    assert world.partner.holds == EVERYBODY - gone(3)
    assert [one.missing for one in world.ledger.withdrawals()] == [0, 0, 0]

    world.write(PEOPLE)
    assert world.lane_works().open == 0
    assert world.partner.holds == EVERYBODY - gone(2) - gone(3)


def test_another_row_of_the_same_customer_leaves_when_it_can_be_read(world: CsvWorld) -> None:
    """Two accounts may share an id, and only one of them be readable."""
    second = granted("c2", email="p9@example.com", phone="+46700000009")
    world.write([*PEOPLE, second])
    world.ran()
    world.write([*PEOPLE, second], lambda content: content[: content.index(b"p9@") + 4])
    world.withdraw(customer_id="c2")
    world.lane_works()
    assert world.partner.holds == (EVERYBODY | gone(9)) - gone(2)

    world.write([*PEOPLE, second])
    assert world.lane_works().open == 0
    assert world.partner.holds == EVERYBODY - gone(2)


@pytest.mark.parametrize(
    "spoilt",
    [
        in_the_middle,
        lambda content: content + b'"c4,p4@example.com\n',
        lambda content: content.replace(b"\nc1,", b"\rc1,"),
    ],
)
def test_rows_that_cannot_be_told_apart_are_not_trusted(
    world: CsvWorld, spoilt: Callable[[bytes], bytes]
) -> None:
    """A lost quote or line end may mix two people, and unreadable text what is a row."""
    world.write(PEOPLE, spoilt)
    world.withdraw(customer_id="c3")
    assert world.lane_works().open == 1
    assert world.partner.holds == EVERYBODY
    assert len(world.ledger.withdrawals()) == 1


def test_an_address_that_was_known_as_an_identity_alone_is_written_down(world: CsvWorld) -> None:
    """A list shows under which address it holds somebody; only the source tells that it is one."""
    [made] = world.withdraw(customer_id="c2").withdrawals
    parent = world.ledger.withdrawal(made)
    children = Children(
        ledger=world.ledger, location=world.location, keyring=world.keyring, now=world.now
    )
    digests = np.arange(64, dtype=np.uint8).reshape(2, 32)
    at = np.zeros(2, dtype=np.int64)

    def written_down(family: str, rows: int) -> list[int]:
        """How many identifiers each child holds, after these were found."""
        children.so_far([parent], {parent.sequence: {family: (digests[:rows], at[:rows])}})
        return [one.identifiers for one in world.ledger.withdrawals_under([parent.sequence])]

    assert written_down(IDENTITIES, 1) == [1]
    assert written_down(FAMILIES[Kind.EMAIL], 1) == [1, 1]
    assert written_down(FAMILIES[Kind.EMAIL], 2) == [1, 1, 1]
    assert written_down(IDENTITIES, 1) == [1, 1, 1]
