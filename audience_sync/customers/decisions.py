"""Reads decisions: one row for each thing that a customer said, any number per customer."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing

import polars as pl

from audience_sync.customers.columns import DECISION_COLUMNS, canonical
from audience_sync.customers.description import DecisionsDescription
from audience_sync.customers.source import ROWS
from audience_sync.customers.table import Place, open_table
from audience_sync.errors import ConfigurationError

_LABEL = "decisions"
_OPTIONAL = ("partner", "channel")


def read_decisions(
    description: DecisionsDescription, rows: int = ROWS
) -> Generator[pl.DataFrame, None, None]:
    """Frames of `customer_id`, `decision` (the raw word), `decided_at`, `partner`, `channel`.

    All five are always there; an optional one that the source lacks is null, and so is a time that
    cannot be read. A null partner speaks of every partner.
    """
    for name in description.columns:
        if name not in DECISION_COLUMNS:
            raise ConfigurationError(
                f"decisions.columns has no {name}; it may map {', '.join(DECISION_COLUMNS)}"
            )
    place = Place(
        label=_LABEL,
        url=description.url,
        base=description.base,
        query=description.query,
        table=description.table,
    )
    table = open_table(place)
    there = set(table.names())
    columns = {name: description.columns.get(name, name) for name in DECISION_COLUMNS}
    wanted = {
        ours: theirs
        for ours, theirs in columns.items()
        if ours not in _OPTIONAL or ours in description.columns or theirs in there
    }
    missing = [pl.lit(None, dtype=pl.String).alias(name) for name in columns if name not in wanted]
    with closing(table.read(wanted, {}, rows)) as frames:
        for frame in frames:
            yield canonical(frame, _LABEL).with_columns(missing).select(*columns)
