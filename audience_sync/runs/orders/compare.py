"""Compare order lines with what a destination was told of them: what is to be counted on top.

Of a person who may not be shared any more only what takes back travels, without a reference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Self

import polars as pl

from audience_sync.errors import StateError
from audience_sync.ledger.records.orders import LineState, ReportedLine
from audience_sync.orders import COLUMNS
from audience_sync.runs.orders.keys import OrderKeys

# Why a line is not reported, in the order of judging.
DROPS = (
    "unreadable",
    "too_old",
    "incomplete",
    "not_shareable",
    "awaiting_answer",
    "refused_before",
)
_SHARED = ("customer_id", "customer_status", "ordered_at", "landed_at", "click_id")
_REVISION = ("sku", "name", "currency", "ordered_at", "landed_at", "click_id", "quantity", "amount")
# What stands beside the columns of `Orders` in an outbox, for the ledger.
BESIDE = (
    "line",
    "of_order",
    "revision",
    "held_quantity",
    "held_amount",
    "tried_quantity",
    "tried_amount",
    "expires_at",
)
_GRACE = timedelta(days=2)  # what is known of an order outlasts the last report of it
_MICROSECOND = timedelta(microseconds=1)


@dataclass
class Counts:
    """What became of the lines of a source for one destination; and of the orders among them."""

    rows: int = 0
    drops: Counter[str] = field(default_factory=Counter)
    merged: int = 0
    unchanged: int = 0
    lines: int = 0
    orders: Counter[str] = field(default_factory=Counter)  # by what is reported of them
    vanished: int = 0  # lines that were reported and are no longer in the source

    def __iadd__(self, other: Counts) -> Self:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)
        return self

    def verify(self) -> Self:
        """These counts; a StateError when a line was lost on the way (L3)."""
        found = self.drops.total() + self.merged + self.unchanged + self.lines
        if found != self.rows:
            raise StateError(
                f"{self.rows} order lines were read, but {found} were accounted for; "
                "nothing was sent, please report it"
            )
        return self

    def as_funnel(self) -> dict[str, int]:
        """Every count by name, from rows read to lines reported."""
        drops = {reason: self.drops[reason] for reason in DROPS}
        ends = {"merged": self.merged, "unchanged": self.unchanged, "order_lines": self.lines}
        return {"rows_read": self.rows} | drops | ends


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How one destination wants orders, and with which keys it is told of them."""

    destination: str
    keys: OrderKeys = field(repr=False)
    needs: tuple[str, ...]
    window: timedelta


def lines_of(frame: pl.DataFrame, rules: Rules, counts: Counts) -> pl.DataFrame:
    """One row a line, with its fingerprints; `frame` has readable lines and who `may` be shared."""
    of_one = pl.col("currency").n_unique().over("order_id") == 1
    plain = frame.filter(of_one)
    counts.rows += frame.height
    counts.drops["unreadable"] += frame.height - plain.height
    shared = plain.with_columns(pl.col(*_SHARED, "may").min().over("order_id"))
    lines = shared.group_by("order_id", "sku", "currency").agg(
        pl.col("quantity", "amount").sum(),
        pl.col(*_SHARED, "may", "exponent", "name", "reason").min(),
    )
    counts.merged += plain.height - lines.height
    keys = rules.keys
    return lines.with_columns(
        of_order=keys.fingerprints(lines, "order_id").str.decode("hex"),
        line=keys.fingerprints(lines, "order_id", "sku", "currency").str.decode("hex"),
        revision=keys.fingerprints(lines, *_REVISION).str.decode("hex"),
    )


def compare(
    lines: pl.DataFrame, reported: Sequence[ReportedLine], rules: Rules, counts: Counts
) -> pl.DataFrame:
    """The lines to report, by order: the columns of `Orders`, and those beside them."""
    known = _known(reported)
    gone = known.join(lines, on="line", how="anti").filter(_moved("held_quantity", "held_amount"))
    counts.vanished += gone.height
    held = known.group_by("of_order").agg(had=_moved("held_quantity", "held_amount").any())
    joined = (
        lines.join(known.drop("of_order"), on="line", how="left")
        .join(held, on="of_order", how="left")
        .with_columns(pl.col("held_quantity", "held_amount").fill_null(0))
        .with_columns(_wanted("quantity"), _wanted("amount"))
        .with_columns(
            more_quantity=pl.col("tried_quantity") - pl.col("held_quantity"),
            more_amount=pl.col("tried_amount") - pl.col("held_amount"),
        )
        .with_columns(verdict=_verdict(rules))
    )
    for verdict, count in joined["verdict"].value_counts().iter_rows():
        if verdict == "unchanged":
            counts.unchanged += count
        elif verdict is not None:
            counts.drops[verdict] += count
    changed = _written(joined, gone, rules)
    counts.lines += changed.height
    for change, count in changed.unique("of_order")["change"].value_counts().iter_rows():
        counts.orders[change] += count
    return changed


def _known(reported: Sequence[ReportedLine]) -> pl.DataFrame:
    names = ("line", "of_order", "revision")
    numbers = ("quantity", "amount")
    return pl.DataFrame(
        {
            **{name: [getattr(line, name) for line in reported] for name in names},
            **{f"held_{name}": [getattr(line, name) for line in reported] for name in numbers},
            "state": [line.state.value for line in reported],
        },
        schema={
            **dict.fromkeys(names, pl.Binary()),
            **{f"held_{name}": pl.Int64() for name in numbers},
            "state": pl.String(),
        },
    ).rename({"revision": "known_revision"})


def _moved(*columns: str) -> pl.Expr:
    return pl.any_horizontal(pl.col(column) != 0 for column in columns)


def _wanted(name: str) -> pl.Expr:
    """What the partner should hold; of a person who may not be shared never more than it does."""
    held, now = pl.col(f"held_{name}"), pl.col(name)
    less = now.clip(pl.min_horizontal(held, 0), pl.max_horizontal(held, 0))
    return pl.when("may").then(now).otherwise(less).alias(f"tried_{name}")


def _verdict(rules: Rules) -> pl.Expr:
    """Why a line is not reported; none where it is."""
    needed = pl.any_horizontal(pl.col(name).is_null() for name in rules.needs or ("order_id",))
    same = ~_moved("more_quantity", "more_amount")
    kept = pl.any_horizontal(
        pl.col(f"tried_{name}") != pl.col(name) for name in ("quantity", "amount")
    )
    refused = (pl.col("state") == LineState.REFUSED) & (
        pl.col("revision") == pl.col("known_revision")
    )
    unknown = (pl.col("state") == LineState.UNKNOWN).fill_null(value=False)
    news = (~same & ~refused.fill_null(value=False)).any().over("of_order")
    return (
        pl.when(needed).then(pl.lit("incomplete"))
        .when(same & kept).then(pl.lit("not_shareable"))
        .when(same).then(pl.lit("unchanged"))
        .when(unknown.any().over("of_order")).then(pl.lit("awaiting_answer"))
        .when(~news).then(pl.lit("refused_before"))
    )  # fmt: skip


def _written(joined: pl.DataFrame, gone: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """The lines without a verdict against them, as partners and the ledger want them."""
    nothing_left = (~_moved("tried_quantity", "tried_amount")).all().over("of_order")
    part_gone = pl.col("of_order").is_in(gone["of_order"].implode())
    change = (
        pl.when(~pl.col("had").fill_null(value=False)).then(pl.lit("order"))
        .when(nothing_left & ~part_gone).then(pl.lit("cancellation"))
        .otherwise(pl.lit("correction"))
    )  # fmt: skip
    kept = joined.with_columns(change=change).filter(pl.col("verdict").is_null())
    outlasts = (rules.window + _GRACE) // _MICROSECOND
    written = kept.with_columns(
        customer=rules.keys.references(kept["customer_id"]),
        quantity=pl.col("more_quantity"),
        amount=pl.col("more_amount"),
        reason=pl.when(pl.col("change") != "order").then(pl.coalesce("reason", "change")),
        expires_at=pl.col("ordered_at") + outlasts,
    ).with_columns(
        pl.when("may").then(pl.col(name)).alias(name) for name in ("customer", "customer_status")
    )
    return written.select(*COLUMNS, *BESIDE).sort("order_id", "sku", "currency")
