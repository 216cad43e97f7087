"""The rows of a CSV that are as long as its header, where others are not."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import polars as pl
import pyarrow as pa
from pyarrow import csv

from audience_sync.customers.rows import BLANK, Text, find_lone_return, read_through, row_reader


def uneven_rows(text: Text, separator: str) -> list[int] | None:
    """The numbers of the other rows, in order; neither the header nor blank lines are counted.

    None where those may have moved a break or a quote, so that no row can be trusted.
    """
    sound, blank = True, 0
    found: list[int] = []

    def look(row: csv.InvalidRow) -> str:
        nonlocal sound, blank
        if row.text.strip(BLANK):
            found.append(row.number - 1 - blank)
            sound = sound and row.text.count('"') % 2 == 0 and _is_utf8(row.text)
        else:
            blank += 1
        return "skip"

    if not read_through(text, separator, look) or not sound or find_lone_return(text):
        return None
    return found


def even_rows(text: Text, separator: str, columns: Collection[str]) -> Iterator[pl.DataFrame]:
    """Some columns of the whole rows; an ArrowException ends it where one cannot be read."""
    wanted = csv.ConvertOptions(
        include_columns=list(columns),
        column_types=dict.fromkeys(columns, pa.string()),
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    with row_reader(text, separator, lambda _: "skip", wanted) as batches:
        for batch in batches:
            yield pl.DataFrame(pl.from_arrow(batch))


def _is_utf8(latin: str) -> bool:
    try:
        latin.encode("latin-1").decode()
    except UnicodeDecodeError:
        return False
    return True
