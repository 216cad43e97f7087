"""Made-up orders beside a made-up customer base."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from audience_sync.testing.customer_base import write_customer_base
from audience_sync.testing.shop_orders import CLICKED, GUESTS, change_orders, write_orders

DAY = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Two thousand customers and five hundred orders."""
    path = write_customer_base(tmp_path / "customers.db", 2000, as_of=DAY)
    write_orders(path, 500, as_of=DAY)
    return path


def _asked(base: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(base)) as opened:
        return opened.execute(query).fetchall()


def test_orders_look_like_a_shops(base: Path) -> None:
    """Some without a click, some of guests; no article twice in one, none before its click."""
    [(orders, lines, articles)] = _asked(
        base,
        "SELECT count(DISTINCT order_number), count(*), count(DISTINCT order_number || sku) "
        "FROM order_lines",
    )
    assert orders == 500
    assert 1.5 * orders < lines == articles <= 3 * orders
    [(clicked, guests)] = _asked(
        base,
        "SELECT avg(affiliate_click IS NOT NULL), avg(customer_id IS NULL) FROM "
        "(SELECT DISTINCT order_number, affiliate_click, customer_id FROM order_lines)",
    )
    assert clicked == pytest.approx(CLICKED, abs=0.1)
    assert guests == pytest.approx(GUESTS, abs=0.04)
    wrong = "SELECT * FROM order_lines WHERE clicked_at > ordered_at OR amount + 0 <= 0"
    assert _asked(base, wrong) == []
    [(first, last)] = _asked(base, "SELECT min(ordered_at), max(ordered_at) FROM order_lines")
    assert "2026-09-22" <= first < last < "2026-11-21"


def test_the_same_numbers_give_the_same_orders(base: Path, tmp_path: Path) -> None:
    """A demonstration can be repeated."""
    other = write_customer_base(tmp_path / "other.db", 2000, as_of=DAY)
    write_orders(other, 500, as_of=DAY)
    everything = "SELECT * FROM order_lines"
    assert _asked(base, everything) == _asked(other, everything)


def test_orders_are_cancelled_returned_and_made(base: Path) -> None:
    """Exactly so many, each of a customer who consents; numbers go on after the last."""
    changes = change_orders(base, cancelled=5, returned=7, new=11, as_of=DAY)

    assert (changes.cancelled, changes.returned, changes.new) == (5, 7, 11)
    counts = "SELECT status, count(DISTINCT order_number) FROM order_lines GROUP BY status"
    assert dict(_asked(base, counts)) == {
        "cancelled": 5,
        "returned": 7,
        "paid": 511 - 5 - _whole(base),
    }
    assert _asked(base, "SELECT max(order_number) FROM order_lines") == [(511,)]
    refused = (
        "SELECT * FROM order_lines LEFT JOIN customers ON id = customer_id "
        "WHERE order_lines.status != 'paid' AND ads_consent IS NOT 'granted'"
    )
    assert _asked(base, refused) == []


def _whole(base: Path) -> int:
    """Orders of one article, which is returned."""
    query = (
        "SELECT count(*) FROM (SELECT order_number FROM order_lines GROUP BY order_number "
        "HAVING count(*) = 1 AND max(status) = 'returned')"
    )
    return int(_asked(base, query)[0][0])


def test_no_more_change_than_there_are(tmp_path: Path) -> None:
    """A small base is changed as far as it reaches."""
    path = write_customer_base(tmp_path / "customers.db", 50, as_of=DAY)
    write_orders(path, 3, as_of=DAY)

    changes = change_orders(path, cancelled=100, returned=100, new=0, as_of=DAY)

    assert changes.cancelled + changes.returned <= 3
    assert changes.new == 0
