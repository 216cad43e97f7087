"""Whether the column of customer ids looks like one: an id in each row, and mostly its own."""

from __future__ import annotations

import polars as pl

FEW = 1_000  # rows that are looked at

_TOLERATED = 0.05  # the share of rows that come twice, as with a customer of two shops
_REMEDY = (
    "map the column that tells customers apart, or decisions and withdrawals by customer go astray"
)


def doubt_of_ids(ids: pl.Series) -> str | None:
    """What is strange about the first ids of a source, without any of them; None for nothing."""
    if ids.null_count():
        return f"source.columns.customer_id: some of the first rows have no id; {_REMEDY}"
    repeated = len(ids) - ids.n_unique()
    if repeated <= max(1, _TOLERATED * len(ids)):
        return None
    share = repeated / len(ids)
    return (
        f"source.columns.customer_id: {share:.0%} of the first rows repeat the id of another; "
        f"{_REMEDY}"
    )
