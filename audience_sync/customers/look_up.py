"""One customer of the source by id, for a person who asks."""

from __future__ import annotations

from contextlib import closing

import polars as pl

from audience_sync.customers.description import SourceDescription
from audience_sync.customers.source import open_source
from audience_sync.customers.table import WHOLE, Split
from audience_sync.errors import SourceError


def customer_row(description: SourceDescription, customer_id: str) -> pl.DataFrame | None:
    """The rows of one customer id; None where there are none.

    A database with whole numbers for ids is asked for that id alone; any other source is read once.
    """
    wanted = customer_id.strip()
    source = open_source(description)
    found = []
    for split in _splits(description, wanted):
        try:
            with closing(source.batches({}, split=split)) as frames:
                found = [_of(frame, wanted) for frame in frames]
        except SourceError:
            if split is WHOLE:
                raise
            continue  # ids that are no numbers: read it whole
        if any(part.height for part in found):
            return pl.concat(part for part in found if part.height)
    return None


def _splits(description: SourceDescription, wanted: str) -> list[Split]:
    is_database = description.query is not None or description.table is not None
    if is_database and wanted.isascii() and wanted.isdigit() and wanted == str(int(wanted)):
        number = int(wanted)
        column = description.columns["customer_id"]
        return [Split(key=column, start=number, stop=number + 1), WHOLE]
    return [WHOLE]


def _of(frame: pl.DataFrame, wanted: str) -> pl.DataFrame:
    return frame.filter(frame["customer_id"].cast(pl.String).str.strip_chars() == wanted)
