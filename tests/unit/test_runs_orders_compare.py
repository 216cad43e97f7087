"""What is reported on top: differences alone, and never more of a person who may not be shared."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audience_sync.errors import StateError
from audience_sync.ledger.records.orders import LineState, ReportedLine
from audience_sync.runs.orders.compare import Counts, Rules, compare, lines_of
from audience_sync.runs.orders.keys import OrderKeys

RULES = Rules(
    destination="rakuten-se",
    keys=OrderKeys.derive(b"f" * 32, "rakuten-se"),
    needs=("click_id",),
    window=timedelta(days=90),
)
NOON = 1_795_262_400_000_000  # microseconds
FAR = datetime(2030, 1, 1, tzinfo=UTC)
Row = dict[str, Any]
Held = dict[bytes, ReportedLine]


def row(order: str = "1", sku: str = "a", amount: int = 100, **more: Any) -> Row:
    """One readable line; name what should differ."""
    usual: Row = {
        "order_id": order,
        "customer_id": "7",
        "ordered_at": NOON,
        "sku": sku,
        "name": "Fine thing",
        "quantity": 1,
        "amount": amount,
        "currency": "USD",
        "exponent": 2,
        "click_id": "click",
        "landed_at": NOON - 1,
        "customer_status": "new",
        "reason": None,
        "taken_back": False,
        "may": True,
    }
    return usual | more


SCHEMA = {
    **dict.fromkeys(("order_id", "customer_id", "sku", "name", "currency"), pl.String),
    **dict.fromkeys(("click_id", "customer_status", "reason"), pl.String),
    **dict.fromkeys(("ordered_at", "landed_at", "quantity", "amount", "exponent"), pl.Int64),
    **dict.fromkeys(("taken_back", "may"), pl.Boolean),
}


def compared(rows: list[Row], held: Held) -> tuple[pl.DataFrame, Counts]:
    """What would be reported of these lines, and the counts, which add up."""
    counts = Counts()
    lines = lines_of(pl.DataFrame(rows, schema=SCHEMA), RULES, counts)
    changed = compare(lines, list(held.values()), RULES, counts)
    return changed, counts.verify()


def remember(held: Held, changed: pl.DataFrame, state: LineState = LineState.REPORTED) -> None:
    """The ledger after this was accepted, refused or never answered."""
    for line in changed.iter_rows(named=True):
        surely = state is LineState.REPORTED
        held[line["line"]] = ReportedLine(
            destination="rakuten-se",
            line=line["line"],
            of_order=line["of_order"],
            quantity=line["tried_quantity" if surely else "held_quantity"],
            amount=line["tried_amount" if surely else "held_amount"],
            tried_quantity=line["tried_quantity"],
            tried_amount=line["tried_amount"],
            revision=line["revision"],
            state=state,
            run="r1",
            expires_at=FAR,
        )


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.lists(
            st.builds(
                row,
                order=st.sampled_from("12"),
                sku=st.sampled_from("ab"),
                amount=st.integers(-500, 500),
                quantity=st.integers(0, 3),
            ),
            min_size=1,
            max_size=6,
        ),
        min_size=1,
        max_size=4,
    )
)
def test_the_differences_add_up_to_what_is_wanted(histories: list[list[Row]]) -> None:
    """However an order changes, the sums told are those of now; and told again, nothing."""
    held: Held = {}
    told: Counter[tuple[str, str, str]] = Counter()
    for rows in histories:
        changed, _ = compared(rows, held)
        for line in changed.iter_rows(named=True):
            told[line["order_id"], line["sku"], "amount"] += line["amount"]
            told[line["order_id"], line["sku"], "quantity"] += line["quantity"]
        remember(held, changed)
        wanted: Counter[tuple[str, str, str]] = Counter()
        for line in rows:
            wanted[line["order_id"], line["sku"], "amount"] += line["amount"]
            wanted[line["order_id"], line["sku"], "quantity"] += line["quantity"]
        for key, total in wanted.items():
            assert told[key] == total
        again, counts = compared(rows, held)
        assert (again.height, counts.lines) == (0, 0)


@settings(max_examples=40, deadline=None)
@given(st.integers(-300, 300), st.integers(-300, 300))
def test_of_a_person_who_refused_only_what_takes_back_travels(before: int, after: int) -> None:
    """Between nothing and what is held, and without a reference."""
    held: Held = {}
    remember(held, compared([row(amount=before)], held)[0])
    changed, _ = compared([row(amount=after, may=False)], held)
    now = before + sum(changed["amount"].to_list())
    assert min(before, 0) <= now <= max(before, 0)
    assert changed["customer"].null_count() == changed["customer_status"].null_count()
    assert changed["customer"].null_count() == changed.height
    if abs(after) < abs(before) and after * before >= 0:
        assert now == after


def test_a_new_order_is_an_order_and_the_rest_takes_back() -> None:
    """Each with its own word, and a reason where something is taken back."""
    held: Held = {}
    first, _ = compared([row(sku="a"), row(sku="b")], held)
    assert set(first["change"]) == {"order"}
    assert set(first["reason"]) == {None}
    remember(held, first)
    part = row(sku="a", quantity=0, amount=0, taken_back=True, reason="returned")
    second, counts = compared([part, row(sku="b")], held)
    assert second["change"].to_list() == ["correction"]
    assert second["reason"].to_list() == ["returned"]
    assert (second["quantity"].item(), second["amount"].item()) == (-1, -100)
    remember(held, second)
    assert counts.orders == {"correction": 1}
    third, _ = compared([part, part | {"sku": "b"}], held)
    assert third["change"].to_list() == ["cancellation"]


def test_what_is_unknown_waits_with_its_whole_order() -> None:
    """Nothing of it is reported until somebody knows."""
    held: Held = {}
    remember(held, compared([row(sku="a")], held)[0], LineState.UNKNOWN)
    changed, counts = compared([row(sku="a"), row(sku="b")], held)
    assert (changed.height, counts.drops["awaiting_answer"]) == (0, 2)


def test_what_was_refused_is_reported_once_it_has_changed() -> None:
    """The whole order then, since nothing of it was taken."""
    held: Held = {}
    rows = [row(sku="a"), row(sku="b")]
    remember(held, compared(rows, held)[0], LineState.REFUSED)
    changed, counts = compared(rows, held)
    assert (changed.height, counts.drops["refused_before"]) == (0, 2)
    changed, _ = compared([row(sku="a", name="A better name"), row(sku="b")], held)
    assert changed["sku"].to_list() == ["a", "b"]


def test_what_cannot_be_counted_is_named() -> None:
    """Without a click, in two currencies; and lines that left the source."""
    changed, counts = compared([row(click_id=None), row("2"), row("2", currency="SEK")], {})
    assert changed.height == 0
    assert counts.drops == {"incomplete": 1, "unreadable": 2}
    held: Held = {}
    remember(held, compared([row(sku="a"), row(sku="b")], held)[0])
    _, counts = compared([row(sku="a")], held)
    assert counts.vanished == 1


def test_twins_are_one_line() -> None:
    """Rows of one article in one order are added up."""
    changed, counts = compared([row(amount=100), row(amount=50)], {})
    assert (changed["amount"].item(), changed["quantity"].item(), counts.merged) == (150, 2, 1)


def test_a_lost_line_is_no_report() -> None:
    """Counts that do not add up stop everything (L3)."""
    with pytest.raises(StateError, match="2 order lines were read, but 1"):
        Counts(rows=2, lines=1).verify()


def test_references_are_of_one_destination_alone() -> None:
    """Two partners cannot bring a customer together, nor can two readings of one id differ."""
    ids = pl.Series(["7", "8", None])
    here = RULES.keys.references(ids)
    there = OrderKeys.derive(b"f" * 32, "rakuten-no").references(ids)
    other = OrderKeys.derive(b"g" * 32, "rakuten-se").references(ids)
    assert here.to_list() == RULES.keys.references(ids).to_list()
    assert not set(here[:2]) & {*there[:2], *other[:2], "7", "8"}
    assert here[2] is None
    assert here[0] != RULES.keys.fingerprints(pl.DataFrame({"id": ["7"]}), "id")[0]
    assert "f" * 8 not in repr(RULES)
