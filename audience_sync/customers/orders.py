"""Reads order lines, from files or a database, as typed columns in bounded frames.

An amount is the whole line's: its price times its quantity, without tax and shipping. It becomes
minor units by the currency's own decimal places. A line that was taken back counts nothing from
then on. What cannot be read is marked, never guessed.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from audience_sync.customers.columns import ORDER_COLUMNS, canonical
from audience_sync.customers.source import ROWS
from audience_sync.customers.table import Place, Table, open_table
from audience_sync.errors import ConfigurationError

TAKEN_BACK = ("cancelled", "canceled", "returned", "refunded")
# ISO 4217; every other currency has two decimal places.
DECIMAL_PLACES = (
    dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG"), 0)
    | dict.fromkeys(("RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"), 0)
    | dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3)
    | dict.fromkeys(("CLF", "UYW"), 4)
)

_LABEL = "orders"
_REQUIRED = ("order_id", "customer_id", "ordered_at", "sku", "amount")
_DECIMAL = r"^[+-]?[0-9]{1,12}(\.[0-9]*)?$"
_WHOLE = r"^[+-]?[0-9]{1,12}(\.0*)?$"
_CURRENCY = r"^[A-Z]{3}$"
_LONGEST = 200  # characters of an id; a longer one is a mistake
_KNOWN = ("new", "existing")


@dataclass(frozen=True, slots=True, kw_only=True)
class OrdersDescription:
    """Where order lines are read from, and how amounts and states are written there."""

    url: str = field(repr=False)
    columns: Mapping[str, str]
    base: Path
    query: str | None = None
    table: str | None = None
    in_minor_units: bool = False
    currency: str | None = None  # of lines without one of their own
    taken_back: tuple[str, ...] = TAKEN_BACK


@dataclass(frozen=True, repr=False)
class OrderSource:
    """The order lines of a project; nothing is opened before it is read."""

    table: Table
    description: OrdersDescription

    def count(self) -> int | None:
        """About how many lines there are; None when nobody can tell cheaply."""
        return self.table.count()

    def batches(self, rows: int = ROWS) -> Generator[pl.DataFrame, None, None]:
        """Frames of typed lines, `readable` where everything that a report needs is there.

        Close the iterator when it is left before its end.
        """
        mapped = dict(self.description.columns)
        missing = [pl.lit(None, dtype=pl.String).alias(n) for n in ORDER_COLUMNS if n not in mapped]
        with closing(self.table.read(mapped, {}, rows)) as frames:
            for frame in frames:
                whole = canonical(frame, _LABEL).with_columns(missing)
                yield _typed(whole, self.description)


def open_orders(description: OrdersDescription) -> OrderSource:
    """The order lines that the project file describes."""
    for name in description.columns:
        if name not in ORDER_COLUMNS:
            raise ConfigurationError(
                f"orders.columns has no {name}; it may map {', '.join(ORDER_COLUMNS)}"
            )
    for name in _REQUIRED:
        if name not in description.columns:
            raise ConfigurationError(f"orders.columns must map {name}; no order can do without")
    place = Place(
        label=_LABEL,
        url=description.url,
        base=description.base,
        query=description.query,
        table=description.table,
    )
    return OrderSource(open_table(place), description)


def _typed(frame: pl.DataFrame, description: OrdersDescription) -> pl.DataFrame:
    written = frame.with_columns(
        *(_trimmed(name) for name in ("order_id", "customer_id", "sku", "name", "click_id")),
        currency=pl.col("currency").str.strip_chars().str.to_uppercase()
        .fill_null(pl.lit(description.currency, dtype=pl.String)),
        status=pl.col("status").str.strip_chars().str.to_lowercase(),
        customer_status=pl.col("customer_status").str.strip_chars().str.to_lowercase(),
        landed_at=pl.col("landed_at").cast(pl.Int64),
    ).with_columns(
        exponent=pl.col("currency").replace_strict(DECIMAL_PLACES, default=2).cast(pl.Int64),
        taken_back=pl.col("status").is_in(list(description.taken_back)).fill_null(value=False),
        customer_status=pl.when(pl.col("customer_status").is_in(_KNOWN)).then("customer_status"),
    )  # fmt: skip
    zero = pl.when("taken_back").then(0)
    counted = written.with_columns(
        quantity=zero.otherwise(_quantity(description)), amount=zero.otherwise(_amount(description))
    )
    return counted.with_columns(
        readable=pl.all_horizontal(
            _is_id("order_id"),
            _is_id("sku"),
            pl.col("currency").str.contains(_CURRENCY),
            pl.col("ordered_at", "quantity", "amount").is_not_null(),
        ).fill_null(value=False),
        reason=pl.when("taken_back").then("status"),
    ).drop("status")


def _trimmed(name: str) -> pl.Expr:
    value = pl.col(name).str.strip_chars()
    return pl.when(value != "").then(value).alias(name)


def _is_id(name: str) -> pl.Expr:
    return pl.col(name).str.len_chars().is_between(1, _LONGEST)


def _quantity(description: OrdersDescription) -> pl.Expr:
    if "quantity" not in description.columns:
        return pl.lit(1, dtype=pl.Int64)
    value = pl.col("quantity").str.strip_chars()
    return pl.when(value.str.contains(_WHOLE)).then(
        value.cast(pl.Float64, strict=False).cast(pl.Int64, strict=False)
    )


def _amount(description: OrdersDescription) -> pl.Expr:
    """Rounded to whole minor units, since a sum of floats is off by a hair."""
    value = pl.col("amount").str.strip_chars()
    pattern = _WHOLE if description.in_minor_units else _DECIMAL
    number = pl.when(value.str.contains(pattern)).then(value.cast(pl.Float64, strict=False))
    scale = 1.0 if description.in_minor_units else pl.lit(10.0).pow(pl.col("exponent"))
    return (number * scale).round().cast(pl.Int64, strict=False)
