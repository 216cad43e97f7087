"""Whether every row of a CSV is as long as its header.

Polars takes a row that is too short with its missing fields empty. A file that is still being
written ends in such a row, and whoever stands in it would lose a consent or an address.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
from pyarrow import csv

_BLOCK = 1 << 22  # bytes; no row is longer, or the file is not looked at further
_GZIP = b"\x1f\x8b"
_NOTHING = csv.ConvertOptions(include_columns=["\x00"], include_missing_columns=True)


def find_uneven_row(path: Path, separator: str) -> str | None:
    """What is wrong with the first row that has not one field for each column, None without one.

    Blank lines are no rows. All other damage is left to whoever reads the rows.
    """
    if _read(path, separator):
        return None
    row = _first_uneven(path, separator)
    if row is None:
        return None
    if row.text.count('"') % 2:
        return find_open_quote(path)
    size = "fewer" if row.actual_columns < row.expected_columns else "more"
    return (
        f"row {row.number}, counted with the header, has {size} fields than the header; "
        "write the file whole before it takes its name"
    )


def find_open_quote(path: Path | None) -> str:
    """Where a quote is opened that nobody closes: told if one line only can be meant."""
    place = _odd_line(path) if path is not None else ""
    return f"{place}a quote is opened and never closed; close it, or write the file whole"


def _odd_line(path: Path) -> str:
    odd = pl.col("line").str.count_matches('"', literal=True) % 2 == 1
    lines = pl.scan_lines(path, row_index_name="at", row_index_offset=1, glob=False)
    try:
        found = lines.filter(odd).select("at").head(2).collect(engine="streaming")["at"].to_list()
    except pl.exceptions.PolarsError:
        return ""
    return f"in line {found[0]} " if len(found) == 1 else ""


def _first_uneven(path: Path, separator: str) -> csv.InvalidRow | None:
    found: list[csv.InvalidRow] = []

    def stop(row: csv.InvalidRow) -> str:
        found.append(row)
        return "error"

    _read(path, separator, stop)
    return found[0] if found else None


def _read(path: Path, separator: str, look: Callable[[csv.InvalidRow], str] | None = None) -> bool:
    """Whether the rows can be read to the end; with a `look` several times as slow.

    Only a reader without threads can number rows, and only as Latin-1 any row can be looked at.
    """
    with path.open("rb") as file:
        packed = file.read(len(_GZIP)) == _GZIP  # whatever its name, as Polars sees it
    try:
        with csv.open_csv(
            pa.input_stream(str(path), compression="gzip" if packed else None),
            read_options=csv.ReadOptions(
                use_threads=look is None,
                block_size=_BLOCK,
                encoding="utf8" if look is None else "latin-1",
            ),
            parse_options=csv.ParseOptions(
                delimiter=separator, newlines_in_values=True, invalid_row_handler=look
            ),
            convert_options=_NOTHING,
        ) as batches:
            for _ in batches:
                pass
    except pa.ArrowException:
        return False
    return True
