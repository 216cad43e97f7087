"""A batch of orders in columns, as a partner that pays for sales is told of them.

One row is one order line; the lines of an order stand together. Amounts are whole minor units
(cents). Nothing here prints an order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

# What each line of a batch has. The lines of one order share everything before `sku`.
COLUMNS: Mapping[str, pl.DataType] = {
    "order_id": pl.String(),
    "customer": pl.String(),  # keyed reference of this destination alone; none in a taking back
    "customer_status": pl.String(),  # "new" or "existing", where the shop knows
    "ordered_at": pl.Int64(),  # microseconds since 1970, UTC
    "landed_at": pl.Int64(),  # of the click, the same
    "click_id": pl.String(),
    "currency": pl.String(),  # ISO 4217
    "exponent": pl.Int64(),  # decimal places of the currency: 2 for USD, 0 for JPY
    "change": pl.String(),  # "order", "correction" or "cancellation"
    "sku": pl.String(),
    "name": pl.String(),
    "quantity": pl.Int64(),  # what is to be counted on top: negative where a line is taken back
    "amount": pl.Int64(),  # the same, in minor units
    "reason": pl.String(),  # the shop's word for a line that is taken back, such as "returned"
}
_MOMENTS = ("ordered_at", "landed_at")
_NOT_TEXT = r"[\x00-\x1f\x7f]+"  # line breaks and the like, which would begin another field


class OrderCell(NamedTuple):
    """One field of a written line: a column, or a fixed text where it is empty or there is none."""

    column: str = ""
    fixed: str = ""
    moment: str = "%Y-%m-%d"  # how a time is written
    major: bool = False  # an amount as 49.99 instead of 4999


@dataclass(frozen=True, repr=False)
class Orders:
    """A columnar batch; `name` is one that no other batch has, the same when it is sent again."""

    name: str
    frame: pl.DataFrame = field(repr=False)

    def __len__(self) -> int:
        """How many orders there are; one may have several lines."""
        return len(self._starts)

    def __repr__(self) -> str:
        return f"Orders({len(self)} with {self.frame.height} lines)"

    @property
    def lines(self) -> int:
        """How many lines there are."""
        return self.frame.height

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        ids = self.frame["order_id"]
        return np.flatnonzero((ids != ids.shift(1)).fill_null(value=True).to_numpy())

    def column(self, name: str) -> list[Any]:
        """A column, one value a line; times are microseconds since 1970."""
        return self.frame[name].to_list()

    def each(self, name: str) -> list[Any]:
        """A column that all lines of an order share, one value an order."""
        return self.frame[name].gather(self._starts).to_list()

    def moments(self, name: str, form: str) -> list[str | None]:
        """A time of each order as text, in UTC."""
        times = self.frame[name].gather(self._starts)
        return times.cast(pl.Datetime("us")).dt.strftime(form).to_list()

    def take(self, positions: Sequence[int]) -> Orders:
        """The orders at these positions, in this order."""
        ends = np.append(self._starts[1:], self.frame.height)
        rows = [np.arange(self._starts[at], ends[at]) for at in positions]
        chosen = np.concatenate(rows) if rows else np.zeros(0, dtype=np.int64)
        return Orders(self.name, self.frame[chosen])

    def render(self, cells: Sequence[OrderCell], *, separator: str, after: str = "\n") -> str:
        """One written line for each order line; a separator within a value becomes a blank."""
        written = [self._cell(cell, separator) for cell in cells]
        joined = pl.concat_str(written, separator=separator) + pl.lit(after)
        return str(self.frame.select(joined.str.join("")).item() or "")

    def _cell(self, cell: OrderCell, separator: str) -> pl.Expr:
        if not cell.column:
            return pl.lit(cell.fixed)
        value = pl.col(cell.column)
        if cell.column in _MOMENTS:
            text = value.cast(pl.Datetime("us")).dt.strftime(cell.moment)
        elif cell.major and cell.column == "amount":
            text = _major(value, pl.col("exponent"))
        else:
            text = value.cast(pl.String)
        clean = text.str.replace_all(_NOT_TEXT, " ").str.replace_all(separator, " ", literal=True)
        return clean.fill_null(cell.fixed)


def _major(amount: pl.Expr, exponent: pl.Expr) -> pl.Expr:
    """Minor units with a decimal point, by whole numbers alone."""
    sign = pl.when(amount < 0).then(pl.lit("-")).otherwise(pl.lit(""))
    digits = amount.abs().cast(pl.String).str.pad_start(5, "0")
    cut = digits.str.len_chars().cast(pl.Int64) - exponent
    whole = digits.str.slice(0, cut).str.strip_chars_start("0")
    whole = pl.when(whole == "").then(pl.lit("0")).otherwise(whole)
    point = pl.when(exponent > 0).then(pl.lit(".")).otherwise(pl.lit(""))
    return pl.concat_str([sign, whole, point, digits.str.slice(cut)])


def orders_of(name: str, rows: Mapping[str, Sequence[Any]]) -> Orders:
    """A batch of columns given as plain values; those left out are empty."""
    height = len(next(iter(rows.values()), ()))
    columns = {
        column: pl.Series(column, rows.get(column, [None] * height), dtype=dtype)
        for column, dtype in COLUMNS.items()
    }
    return Orders(name, pl.DataFrame(columns))
