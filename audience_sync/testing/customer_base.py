"""A made-up customer base as a file: for the demonstration, the tests and the benchmarks."""

from __future__ import annotations

import gzip
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, cast

import adbc_driver_sqlite.dbapi as adbc
import numpy as np
import polars as pl
import pyarrow.parquet as pq

from audience_sync.errors import ConfigurationError
from audience_sync.testing.customer_rows import customer_rows

CHUNK = 250_000  # rows; also a row group of Parquet
TABLE = "customers"

_NEW_PEOPLE = 10**9 + 5_000_000  # ids of newcomers begin here, far from everybody's phone number
_TABLE_SQL = f"""CREATE TABLE {TABLE} (
    id INTEGER PRIMARY KEY, email TEXT, phone_number TEXT, ios_ad_id TEXT, android_ad_id TEXT,
    country TEXT, market TEXT, ads_consent TEXT, ads_consent_at TEXT, status TEXT,
    last_purchase_at TEXT, birth_date TEXT, collected_through TEXT, lifetime_value REAL
)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """How many customers changed in a base."""

    withdrawn: int
    changed: int
    new: int


def write_customer_base(
    target: Path | str,
    customers: int,
    *,
    seed: int = 1,
    churn: float = 0.0,
    as_of: datetime | None = None,
) -> Path:
    """Write so many customers to a new .db, .parquet, .csv, .csv.gz or .ndjson file.

    The same numbers and `as_of` (default: now, by the day) give the same customers. With `churn`
    that share of them differs: half have withdrawn, half are new people instead of old ones.
    """
    path = Path(target)
    if path.exists():
        raise ConfigurationError(f"{path} exists already; choose another name or remove it")
    day = _day(as_of)
    frames = (_chunk(start, customers, seed, churn, day) for start in range(0, customers, CHUNK))
    _writer(path)(path, frames)
    return path


def change_customers(
    target: Path | str,
    *,
    withdraw: int,
    changed: int,
    new: int,
    seed: int = 2,
    as_of: datetime | None = None,
) -> Changes:
    """Let customers of a SQLite base withdraw, change their e-mail address, or arrive."""
    chance = np.random.default_rng(seed)
    moment = (as_of or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M:%S")
    with closing(sqlite3.connect(target)) as base, base:
        consenting = base.execute(
            f"SELECT id FROM {TABLE} WHERE ads_consent = 'granted' ORDER BY id"  # noqa: S608 - a constant
        ).fetchall()
        chosen = chance.permutation(np.array(consenting, dtype=np.int64).reshape(-1))
        leaving = chosen[:withdraw].tolist()
        moving = chosen[withdraw : withdraw + changed].tolist()
        base.executemany(
            f"UPDATE {TABLE} SET ads_consent = 'withdrawn', ads_consent_at = ? WHERE id = ?",  # noqa: S608 - a constant
            [(moment, key) for key in leaving],
        )
        base.executemany(
            f"UPDATE {TABLE} SET email = ? WHERE id = ?",  # noqa: S608 - a constant
            [(f"moved.{key}.{seed}@post.example.net", key) for key in moving],
        )
        (last,) = base.execute(f"SELECT max(id) FROM {TABLE}").fetchone()  # noqa: S608 - a constant
    ids = np.arange(new, dtype=np.int64) + (last or 0) + 1
    if new:
        _append_sqlite(Path(target), iter([customer_rows(ids, (seed, 0), _day(as_of))]))
    return Changes(withdrawn=len(leaving), changed=len(moving), new=new)


def _day(as_of: datetime | None) -> datetime:
    moment = as_of or datetime.now(UTC)
    return moment.replace(tzinfo=UTC, hour=0, minute=0, second=0, microsecond=0)


def _chunk(start: int, customers: int, seed: int, churn: float, as_of: datetime) -> pl.DataFrame:
    ids = np.arange(start, min(start + CHUNK, customers), dtype=np.int64) + 1
    frame = customer_rows(ids, (seed, start), as_of)
    if not churn:
        return frame
    draw = np.random.default_rng((seed, start, 1)).random(len(ids))
    newcomers = customer_rows(ids + _NEW_PEOPLE, (seed, start, 2), as_of)
    left = pl.Series(draw < churn / 2)
    withdrawn = frame.with_columns(
        ads_consent=pl.when(left).then(pl.lit("withdrawn")).otherwise("ads_consent"),
        ads_consent_at=pl.when(left)
        .then(pl.lit(as_of.replace(tzinfo=None)))
        .otherwise("ads_consent_at"),
    )
    arrived = pl.Series((draw >= churn / 2) & (draw < churn))
    return pl.concat([withdrawn.filter(~arrived), newcomers.filter(arrived)])


def _writer(path: Path) -> Callable[[Path, Iterator[pl.DataFrame]], None]:
    for suffix, writer in _WRITERS.items():
        if path.name.endswith(suffix):
            return writer
    raise ConfigurationError(f"{path}: the name must end in one of {' '.join(_WRITERS)}")


def _write_sqlite(path: Path, frames: Iterator[pl.DataFrame]) -> None:
    with closing(sqlite3.connect(path)) as base:
        base.execute(_TABLE_SQL)
    _append_sqlite(path, frames)


def _append_sqlite(path: Path, frames: Iterator[pl.DataFrame]) -> None:
    with closing(adbc.connect(str(path))) as base, base.cursor() as cursor:
        for frame in frames:
            cursor.adbc_ingest(TABLE, _as_text(frame).to_arrow(), mode="append")
        base.commit()


def _as_text(frame: pl.DataFrame) -> pl.DataFrame:
    """Times as SQLite and CSV write them."""
    return frame.with_columns(
        pl.col(pl.Datetime).dt.strftime("%Y-%m-%d %H:%M:%S"),
        pl.col(pl.Date).dt.strftime("%Y-%m-%d"),
    )


def _write_parquet(path: Path, frames: Iterator[pl.DataFrame]) -> None:
    first = next(frames, None)
    nobody = np.arange(0, dtype=np.int64)
    table = (customer_rows(nobody, (0,), _day(None)) if first is None else first).to_arrow()
    with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
        writer.write_table(table)
        for frame in frames:
            writer.write_table(frame.to_arrow())


def _write_csv(path: Path, frames: Iterator[pl.DataFrame]) -> None:
    with gzip.open(path, "wb", 1) if path.suffix == ".gz" else path.open("wb") as file:
        for number, frame in enumerate(frames):
            _as_text(frame).write_csv(cast("IO[bytes]", file), include_header=number == 0)


def _write_ndjson(path: Path, frames: Iterator[pl.DataFrame]) -> None:
    with path.open("wb") as file:
        for frame in frames:
            _as_text(frame).write_ndjson(file)


_WRITERS = {
    ".db": _write_sqlite,
    ".sqlite": _write_sqlite,
    ".parquet": _write_parquet,
    ".csv": _write_csv,
    ".csv.gz": _write_csv,
    ".ndjson": _write_ndjson,
}
