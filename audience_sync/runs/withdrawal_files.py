"""Reads who withdraws from a file or a stream: columns of identifiers, any of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path

import polars as pl

from audience_sync.customers.columns import canonical
from audience_sync.customers.source import ROWS
from audience_sync.customers.table import Place, open_table
from audience_sync.errors import ConfigurationError

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
_LABEL = "the file of withdrawals"
_PARQUET = b"PAR1"


def read_withdrawals(path: Path, base: Path) -> Iterator[pl.DataFrame]:
    """Frames of canonical columns from a CSV, NDJSON or Parquet file; others' columns are left."""
    table = open_table(Place(label=_LABEL, url=str(path), base=base))
    wanted = _wanted(table.names())
    with closing(table.read(wanted, {}, ROWS)) as frames:
        for frame in frames:
            yield canonical(frame, _LABEL)


def stream_withdrawals(content: bytes) -> Iterator[pl.DataFrame]:
    """The same of a stream that was read whole: a CSV with a header, or Parquet."""
    try:
        if content.startswith(_PARQUET):
            frame = pl.read_parquet(BytesIO(content))
        else:
            frame = pl.read_csv(BytesIO(content), infer_schema=False)
    except (pl.exceptions.PolarsError, OSError):
        raise ConfigurationError(
            f"{_LABEL} cannot be read; send a CSV with a header, or Parquet"
        ) from None
    wanted = _wanted(frame.columns)
    yield canonical(frame.select(pl.col(name).alias(ours) for ours, name in wanted.items()), _LABEL)


def _wanted(names: list[str]) -> dict[str, str]:
    there = {name.strip().lower(): name for name in names}
    wanted = {COLUMNS[name]: there[name] for name in COLUMNS if name in there}
    if not set(wanted) - {"country", "decided_at"}:
        raise ConfigurationError(
            f"{_LABEL} names nobody; it needs a column customer_id, email, phone or device"
        )
    return wanted
