"""Order lines as sources write them become whole minor units; what cannot be read is marked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from audience_sync.customers.orders import OrdersDescription, open_orders
from audience_sync.errors import ConfigurationError

COLUMNS = (
    *("order_id", "customer_id", "ordered_at", "sku", "amount", "quantity", "currency"),
    *("status", "click_id", "landed_at", "customer_status"),
)


def read(tmp_path: Path, *rows: dict[str, Any], **more: Any) -> pl.DataFrame:
    """These lines as they are read; missing columns are usual."""
    usual = {
        "order_id": "1",
        "customer_id": "7",
        "ordered_at": "2026-11-21 09:12:00",
        "sku": "a",
        "amount": "49.99",
        "quantity": "1",
        "currency": "USD",
        "status": "paid",
        "click_id": "c",
        "landed_at": "2026-11-21",
        "customer_status": "New",
    }
    frame = pl.DataFrame([usual | row for row in rows], schema=dict.fromkeys(COLUMNS, pl.String))
    frame.write_parquet(tmp_path / "orders.parquet")
    mapped = {name: name for name in COLUMNS}
    description = OrdersDescription(url="orders.parquet", base=tmp_path, columns=mapped, **more)
    return pl.concat(list(open_orders(description).batches()))


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("49.99", "USD", 4999),
        ("49.9", " usd ", 4990),
        ("-49.99", "USD", -4999),
        ("125", "USD", 12500),
        ("0.30000000000000004", "USD", 30),
        ("1500", "JPY", 1500),
        ("1.234", "KWD", 1234),
        ("999999999.99", "EUR", 99999999999),
        ("49,99", "USD", None),
        ("1e5", "USD", None),
        ("nan", "USD", None),
        ("", "USD", None),
        ("$5", "USD", None),
        ("5", "dollars", None),
    ],
)
def test_amounts_become_minor_units(
    tmp_path: Path, amount: str, currency: str, minor: int | None
) -> None:
    """By the currency's own decimal places; anything else is no amount."""
    found = read(tmp_path, {"amount": amount, "currency": currency})
    assert found["readable"].item() is (minor is not None)
    if minor is not None:
        assert found["amount"].item() == minor


@pytest.mark.parametrize(("amount", "minor"), [("4999", 4999), ("4999.0", 4999), ("49.99", None)])
def test_minor_units_are_whole(tmp_path: Path, amount: str, minor: int | None) -> None:
    """A decimal where cents are promised is a mistake, not half a cent."""
    assert read(tmp_path, {"amount": amount}, in_minor_units=True)["amount"].item() == minor


def test_a_line_that_was_taken_back_counts_nothing(tmp_path: Path) -> None:
    """Whatever else stands there; in the words that the project names, in any case."""
    rows = [
        {"status": " Returned ", "amount": "?"},
        {"status": "CANCELLED"},
        {"status": "shipped"},
        {"status": None},
    ]
    found = read(tmp_path, *rows)
    assert found["amount"].to_list() == [0, 0, 4999, 4999]
    assert found["quantity"].to_list() == [0, 0, 1, 1]
    assert found["reason"].to_list() == ["returned", "cancelled", None, None]
    assert found["readable"].all()
    own = read(tmp_path, *rows, taken_back=("shipped",))
    assert own["taken_back"].to_list() == [False, False, True, False]


@pytest.mark.parametrize(
    "wrong",
    [
        {"order_id": " "},
        {"order_id": "1" * 201},
        {"sku": None},
        {"quantity": "2.5"},
        {"quantity": "many"},
        {"ordered_at": "21/11/2026"},
        {"currency": None},
    ],
)
def test_what_cannot_be_read_is_marked(tmp_path: Path, wrong: dict[str, Any]) -> None:
    """And everything beside it stays readable."""
    assert read(tmp_path, wrong, {})["readable"].to_list() == [False, True]


def test_only_two_words_tell_of_the_customer(tmp_path: Path) -> None:
    """New or existing; anything else is not guessed."""
    found = read(tmp_path, *({"customer_status": word} for word in ("NEW ", "existing", "1", None)))
    assert found["customer_status"].to_list() == ["new", "existing", None, None]


def test_a_source_needs_its_columns(tmp_path: Path) -> None:
    """What no order can do without, and nothing that is unknown."""
    for columns, told in (
        ({"order_id": "a"}, "must map customer_id"),
        ({"colour": "a"}, "has no colour"),
    ):
        with pytest.raises(ConfigurationError, match=told):
            open_orders(OrdersDescription(url="orders.csv", base=tmp_path, columns=columns))
