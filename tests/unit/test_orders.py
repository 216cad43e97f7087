"""A batch of orders: counted by order, written by line, never shown."""

from __future__ import annotations

import pytest

from audience_sync.orders import OrderCell, Orders, orders_of

MIDDAY = 1_795_000_000_000_000  # microseconds; 2026-11-18 11:06:40 UTC


@pytest.fixture
def orders() -> Orders:
    """Two orders, the first one with two lines."""
    return orders_of(
        "r1-0",
        {
            "order_id": ["100045", "100045", "100046"],
            "sku": ["SKU|1", "SKU2", "SKU\n3"],
            "amount": [4999, -5, 1000],
            "exponent": [2, 2, 0],
            "ordered_at": [MIDDAY, MIDDAY, MIDDAY],
        },
    )


def test_an_order_counts_once(orders: Orders) -> None:
    """Whatever number of lines it has."""
    assert (len(orders), orders.lines) == (2, 3)
    assert orders.each("order_id") == ["100045", "100046"]
    assert orders.moments("ordered_at", "%Y%m%d_%H%M") == ["20261118_1106"] * 2
    assert len(orders_of("r1-1", {"order_id": []})) == 0


def test_orders_are_taken_whole(orders: Orders) -> None:
    """With all their lines, in the order asked for."""
    assert orders.take([1, 0]).column("amount") == [1000, 4999, -5]
    assert len(orders.take([])) == 0


def test_a_value_begins_no_other_field(orders: Orders) -> None:
    """A separator or a line break within a value becomes a blank; none is empty."""
    cells = [OrderCell("order_id"), OrderCell("sku"), OrderCell("name"), OrderCell(fixed="x")]
    written = orders.render(cells, separator="|")
    assert written == "100045|SKU 1||x\n100045|SKU2||x\n100046|SKU 3||x\n"
    assert orders_of("r1-1", {"order_id": []}).render(cells, separator="|") == ""


def test_amounts_have_the_currencys_decimals(orders: Orders) -> None:
    """Minor units as they are, or with as many decimal places as the currency has."""
    cells = [OrderCell("amount"), OrderCell("amount", major=True)]
    assert orders.render(cells, separator=" ") == "4999 49.99\n-5 -0.05\n1000 1000\n"


def test_a_batch_shows_no_order(orders: Orders) -> None:
    """Neither alone nor in a message."""
    assert repr(orders) == "Orders(2 with 3 lines)"
