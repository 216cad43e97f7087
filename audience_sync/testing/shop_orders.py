"""Made-up orders beside a made-up customer base, some of which came by an affiliate's link."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import adbc_driver_sqlite.dbapi as adbc
import numpy as np
import polars as pl

from audience_sync.testing.customer_base import TABLE as CUSTOMERS

TABLE = "order_lines"
CLICKED = 0.6  # share of orders that came by an affiliate's link
GUESTS = 0.05  # share of orders without an account

_MOST_LINES = 3  # of an order
_DAYS = 60  # the oldest order
_ARTICLES = ("Wool sweater", "Rain jacket", "Linen shirt", "Trail shoes", "Beanie", "Scarf")
_DAY = 86_400  # seconds
_HOUR = 3_600.0  # seconds; a click is at most that long before its order
_WRITTEN = "%Y-%m-%d %H:%M:%S"
_CHOICE = (  # orders that an affiliate is paid for, of customers who let them be reported
    f"SELECT DISTINCT order_number FROM {TABLE} JOIN {CUSTOMERS} ON id = customer_id "  # noqa: S608 - constants
    "WHERE affiliate_click IS NOT NULL AND ads_consent = 'granted' ORDER BY order_number"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderChanges:
    """How many orders changed in a base."""

    cancelled: int
    returned: int  # in part
    new: int


def write_orders(
    target: Path | str, orders: int, *, seed: int = 1, as_of: datetime | None = None
) -> None:
    """Add the lines of so many orders to a SQLite customer base, in a table of their own."""
    _append(Path(target), orders, 1, (seed, 7), as_of)


def change_orders(
    target: Path | str,
    *,
    cancelled: int,
    returned: int,
    new: int,
    seed: int = 2,
    as_of: datetime | None = None,
) -> OrderChanges:
    """Let orders be cancelled, lose a line, or arrive; at most as many as there are."""
    chance = np.random.default_rng(seed)
    with closing(sqlite3.connect(target)) as base, base:
        (last,) = base.execute(f"SELECT max(order_number) FROM {TABLE}").fetchone()  # noqa: S608 - a constant
        there = np.array(base.execute(_CHOICE).fetchall(), dtype=np.int64).reshape(-1)
        chosen = chance.permutation(there)
        off, back = chosen[:cancelled], chosen[cancelled : cancelled + returned]
        base.executemany(
            f"UPDATE {TABLE} SET status = 'cancelled' WHERE order_number = ?",  # noqa: S608 - a constant
            [(number,) for number in off.tolist()],
        )
        base.executemany(
            f"UPDATE {TABLE} SET status = 'returned' WHERE order_number = ? AND sku LIKE '1-%'",  # noqa: S608 - a constant
            [(number,) for number in back.tolist()],
        )
    _append(Path(target), new, (last or 0) + 1, (seed, 8), as_of)
    return OrderChanges(cancelled=len(off), returned=len(back), new=new)


def _append(
    path: Path, orders: int, first: int, seed: tuple[int, ...], as_of: datetime | None
) -> None:
    if not orders:
        return
    with closing(sqlite3.connect(path)) as base:
        (customers,) = base.execute(f"SELECT max(id) FROM {CUSTOMERS}").fetchone()  # noqa: S608 - a constant
    rows = _order_rows(orders, first, customers or 1, seed, as_of or datetime.now(UTC))
    with closing(adbc.connect(str(path))) as opened, opened.cursor() as cursor:
        cursor.adbc_ingest(TABLE, rows.to_arrow(), mode="create_append")
        opened.commit()


def _order_rows(
    orders: int, first: int, customers: int, seed: tuple[int, ...], as_of: datetime
) -> pl.DataFrame:
    """One row a line: each order has one to three, every one of another article."""
    chance = np.random.default_rng(seed)
    start = as_of - timedelta(days=_DAYS)
    ordered = (start.timestamp() + chance.random(orders) * (_DAYS - 1) * _DAY).astype(np.int64)
    clicked = ordered - (chance.random(orders) * _HOUR).astype(np.int64)
    by_link = pl.Series(chance.random(orders) < CLICKED)
    numbers = pl.Series(np.arange(orders, dtype=np.int64) + first)
    made = pl.DataFrame(
        {
            "order_number": numbers,
            "customer_id": _blank(
                pl.Series(chance.integers(1, customers + 1, orders)), chance.random(orders) < GUESTS
            ),
            "ordered_at": _written(ordered),
            "currency": pl.repeat("SEK", orders, eager=True),
            "status": pl.repeat("paid", orders, eager=True),
            "affiliate_click": _blank(
                "nordicfashion-" + numbers.cast(pl.String).str.zfill(20), ~by_link
            ),
            "clicked_at": _blank(_written(clicked), ~by_link),
            "new_or_existing": pl.Series(["new", "existing"]).gather(
                (chance.random(orders) < 0.7).astype(np.int64)  # noqa: PLR2004 - a share
            ),
        }
    )
    lines = chance.integers(1, _MOST_LINES + 1, orders)
    own = np.repeat(np.arange(orders), lines)
    turn = np.arange(len(own)) - np.repeat(np.cumsum(lines) - lines, lines) + 1
    article = (chance.integers(0, 2, len(own)) + 2 * (turn - 1)) % len(_ARTICLES)
    pieces = chance.integers(1, 3, len(own))
    cents = pieces * chance.integers(99, 1_999, len(own)) * 100 - pieces * 10
    return made[own].with_columns(
        sku=pl.Series(turn).cast(pl.String) + "-" + pl.Series(article).cast(pl.String).str.zfill(3),
        article=pl.Series(_ARTICLES).gather(article),
        quantity=pl.Series(pieces),
        amount=pl.Series(cents / 100).round(2).cast(pl.Decimal(12, 2)).cast(pl.String),
    )


def _blank(
    values: pl.Series, gone: pl.Series | np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> pl.Series:
    """The values, with null where they are gone."""
    return pl.select(pl.when(~pl.Series(gone)).then(values)).to_series()


def _written(seconds: np.ndarray[tuple[int], np.dtype[np.int64]]) -> pl.Series:
    return pl.Series(seconds * 1_000_000).cast(pl.Datetime("us")).dt.strftime(_WRITTEN)
