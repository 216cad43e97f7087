"""Reads who withdraws from a file or a stream: columns of identifiers, any of them."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from audience_sync.customers.columns import canonical
from audience_sync.customers.rows import Text, rows_of_nothing, separator_of
from audience_sync.customers.salvage import even_rows, uneven_rows
from audience_sync.customers.source import ROWS
from audience_sync.customers.table import FILE_NAMES, Place, open_table
from audience_sync.customers.text import text as as_text
from audience_sync.errors import AudienceSyncError, ConfigurationError, SourceError
from audience_sync.runs.withdrawal_rows import ROW, TIMELESS, UNEVEN, placed

# Our name of a column that a file may have, and the canonical column that reads it.
COLUMNS = {
    "customer_id": "customer_id",
    "email": "email",
    "phone": "phone",
    "device": "idfa",
    "idfa": "idfa",
    "gaid": "gaid",
    "country": "country",
    "decided_at": "decided_at",
}
_STDIN = "stdin"
_PARQUET = b"PAR1"
_GZIP = b"\x1f\x8b"
_CSV = re.compile(r"\.csv(\.gz)?$", re.IGNORECASE)


def read_withdrawals(path: Path, base: Path) -> Iterator[pl.DataFrame]:
    """Frames of canonical columns from a CSV, NDJSON or Parquet file; others' columns are left.

    Rows of a CSV that are not as long as its header come last, and name nobody. Errors name the
    file as it was given.
    """
    if not FILE_NAMES.search(path.name):
        raise ConfigurationError(
            f"{path} does not tell what it is; name it .csv, .ndjson (either with .gz) or .parquet"
        )
    if not (base / path).is_file():
        raise ConfigurationError(f"there is no file {path}; correct --file")
    table = open_table(Place(label=str(path), url=str(path), base=base, shown="--file"))
    wanted = _wanted(table.names(), str(path))
    try:
        with closing(table.read(wanted, {}, ROWS)) as frames:
            told = (_told(frame, str(path)) for frame in frames)
            yield from _numbered(told, base / path) if _CSV.search(path.name) else told
    except SourceError as error:
        if not _CSV.search(path.name):
            raise
        yield from _salvaged(base / path, table.names(), str(path), error)


def stream_withdrawals(content: bytes) -> Iterator[pl.DataFrame]:
    """The same of a stream that was read whole: a CSV with a header, or Parquet."""
    return _parquet(content) if content.startswith(_PARQUET) else _csv(content)


def _parquet(content: bytes) -> Iterator[pl.DataFrame]:
    try:
        frame = pl.read_parquet(BytesIO(content))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _unreadable(error, None) from None
    yield _chosen(frame)


def _csv(content: bytes) -> Iterator[pl.DataFrame]:
    from audience_sync.customers import rows  # noqa: PLC0415 - only what is needed

    try:
        text = gzip.decompress(content) if content.startswith(_GZIP) else content
        separator = rows.separator_in(text)
        scan = pl.scan_csv(text, infer_schema=False, separator=separator)
        names = scan.collect_schema().names()
        if unreadable := rows.find_wrong_header(names, text):
            raise SourceError(f"{_STDIN} cannot be read as csv: {unreadable}")
        wrong = rows.find_uneven_row(text, separator)
        frame = None if wrong else rows.without_blank_lines(scan).collect()
    except (pl.exceptions.PolarsError, OSError, EOFError, zlib.error) as error:
        raise _unreadable(error, content) from None
    if frame is None:
        broken = SourceError(f"{_STDIN} cannot be read as csv: {wrong}")
        yield from _salvaged(text, names, _STDIN, broken)
    else:
        yield from _numbered([_chosen(frame)], text)


def _chosen(frame: pl.DataFrame) -> pl.DataFrame:
    wanted = _wanted(frame.columns, _STDIN)
    return _told(frame.select(pl.col(name).alias(ours) for ours, name in wanted.items()), _STDIN)


def _numbered(frames: Iterable[pl.DataFrame], text: Path | bytes) -> Iterator[pl.DataFrame]:
    """Frames of a CSV with the number of each row, which a row of separators alone takes, too."""
    moved: NDArray[np.int64] | None = None
    read = 0
    for frame in frames:
        if moved is None:
            left_out = np.array(_left_out(text), dtype=np.int64)
            moved = left_out - np.arange(len(left_out))
        at = np.arange(read + 1, read + 1 + frame.height)
        read += frame.height
        yield frame if not len(moved) else frame.with_columns(_moved(at, moved))


def _left_out(text: Path | bytes) -> list[int]:
    """What cannot be read is told by who reads it for the people."""
    try:
        return rows_of_nothing(text)
    except pl.exceptions.PolarsError:
        return []


def _moved(at: NDArray[np.int64], moved: NDArray[np.int64]) -> pl.Series:
    """The numbers of rows in the text, by their places without those that were left out."""
    return pl.Series(ROW, at + np.searchsorted(moved, at, side="right"))


def _told(frame: pl.DataFrame, place: str) -> pl.DataFrame:
    """As canonical columns, and of which rows the time or the country cannot be read."""
    found = placed(canonical(frame, place))
    if "decided_at" not in frame.columns:
        return found
    written = as_text(frame["decided_at"]).str.strip_chars().fill_null("") != ""
    timeless = written & found["decided_at"].is_null()
    return found.with_columns(timeless.alias(TIMELESS)) if timeless.any() else found


def _salvaged(
    text: Text, names: list[str], place: str, error: SourceError
) -> Iterator[pl.DataFrame]:
    """The rows of a CSV in which others are too short or too long, then those; else the error."""
    separator = separator_of(text)
    uneven = np.array(uneven_rows(text, separator) or [], dtype=np.int64)
    if not len(uneven):
        raise error
    wanted, read = _wanted(names, place), 0
    moved = uneven - np.arange(len(uneven))  # each row after so many even ones stands one later
    try:
        for frame in even_rows(text, separator, set(wanted.values())):
            at = np.arange(read + 1, read + 1 + frame.height)
            chosen = frame.select(pl.col(name).alias(ours) for ours, name in wanted.items())
            yield _told(chosen, place).with_columns(_moved(at, moved))
            read += frame.height
    except pa.ArrowException:
        raise error from None
    if not read:
        raise error
    yield pl.DataFrame({ROW: uneven, UNEVEN: np.ones(len(uneven), dtype=np.bool_)})


def _unreadable(error: Exception, csv: bytes | None) -> AudienceSyncError:
    from audience_sync.customers.causes import cause_of  # noqa: PLC0415 - only what is needed

    cause = cause_of(error, csv)
    if cause is not None:
        return SourceError(f"{_STDIN} cannot be read: {cause}")
    return ConfigurationError(f"{_STDIN} cannot be read; send a CSV with a header, or Parquet")


def _wanted(names: list[str], place: str) -> dict[str, str]:
    there = {name.strip().lower(): name for name in names}
    if {"device", "idfa"} <= there.keys():
        raise ConfigurationError(
            f"{place} has both a column device and a column idfa, which mean the same; keep one"
        )
    wanted = {COLUMNS[name]: there[name] for name in COLUMNS if name in there}
    if not set(wanted) - {"country", "decided_at"}:
        raise ConfigurationError(
            f"{place} names nobody; it needs a column customer_id, email, phone or device"
        )
    return wanted
