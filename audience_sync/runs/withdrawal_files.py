"""Reads who withdraws from a file or a stream: columns of identifiers, any of them."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path

import polars as pl

from audience_sync.customers.columns import canonical
from audience_sync.customers.source import ROWS
from audience_sync.customers.table import FILE_NAMES, Place, open_table
from audience_sync.errors import AudienceSyncError, ConfigurationError, SourceError

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


def read_withdrawals(path: Path, base: Path) -> Iterator[pl.DataFrame]:
    """Frames of canonical columns from a CSV, NDJSON or Parquet file; others' columns are left.

    Errors name the file as it was given.
    """
    if not FILE_NAMES.search(path.name):
        raise ConfigurationError(
            f"{path} does not tell what it is; name it .csv, .ndjson (either with .gz) or .parquet"
        )
    if not (base / path).is_file():
        raise ConfigurationError(f"there is no file {path}; correct --file")
    table = open_table(Place(label=str(path), url=str(path), base=base, shown="--file"))
    wanted = _wanted(table.names(), str(path))
    with closing(table.read(wanted, {}, ROWS)) as frames:
        for frame in frames:
            yield canonical(frame, str(path))


def stream_withdrawals(content: bytes) -> Iterator[pl.DataFrame]:
    """The same of a stream that was read whole: a CSV with a header, or Parquet."""
    frame = _parquet(content) if content.startswith(_PARQUET) else _csv(content)
    wanted = _wanted(frame.columns, _STDIN)
    yield canonical(frame.select(pl.col(name).alias(ours) for ours, name in wanted.items()), _STDIN)


def _parquet(content: bytes) -> pl.DataFrame:
    try:
        return pl.read_parquet(BytesIO(content))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _unreadable(error, None) from None


def _csv(content: bytes) -> pl.DataFrame:
    from audience_sync.customers import rows  # noqa: PLC0415 - only what is needed

    try:
        text = gzip.decompress(content) if content.startswith(_GZIP) else content
        separator = rows.separator_in(text)
        scan = pl.scan_csv(text, infer_schema=False, separator=separator)
        wrong = rows.find_wrong_header(scan.collect_schema())
        wrong = wrong or rows.find_uneven_row(text, separator)
        if wrong is not None:
            raise SourceError(f"{_STDIN} cannot be read as csv: {wrong}")
        return rows.without_blank_lines(scan).collect()
    except (pl.exceptions.PolarsError, OSError, EOFError, zlib.error) as error:
        raise _unreadable(error, content) from None


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
