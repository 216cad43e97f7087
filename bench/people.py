"""Make the customers that the benchmark syncs, the same ones each time: Parquet or SQLite.

`python bench/people.py customers.parquet --rows 1000000 [--replaced 0.02] [--phones]`; with
`--replaced` that share of the people gave their row to somebody new.
"""

from __future__ import annotations

import argparse
import sqlite3
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

ROW_GROUP = 250_000
CONSENTING = 0.576
TWINS = 100  # one row in so many is a second account of the person before it

_NAMES = ("anna.lindqvist", "johanbergman", "k.m.nielsen", "mariavirtanen", "peterschulz")
_DOMAINS = ("gmail.com", "hotmail.com", "example.se", "firma.example.de", "mail.example.dk")
_DOMAIN_SHARES = (0.41, 0.2, 0.17, 0.13, 0.09)
_CONSENT = ("granted", "denied", "withdrawn", None)
_CONSENT_SHARES = (CONSENTING, 0.17, 0.08, 1 - CONSENTING - 0.25)
_USELESS = ("", "  ", "not known", "anna@", "@example.se", "a@b@example.se")
_HEADS = ("070", "072", "073", "076")
_NEW = 40  # the bit that tells a new person from the one whose row it was
_FIRST = 1_600_000_000_000_000  # microseconds since 1970: no consent is older
_YEARS = 190_000_000_000_000  # microseconds over which consent was given


def people(start: int, rows: int, replaced: float, *, phones: bool) -> pl.DataFrame:
    """Rows from `start` on; what a row holds depends on its number only."""
    number = np.arange(start, start + rows, dtype=np.uint64)
    person = number - (number % np.uint64(TWINS) == TWINS - 1)
    person[_share(person, 1) < replaced] += np.uint64(1 << _NEW)
    frame = pl.DataFrame(
        {
            "id": number,
            "email": _emails(person),
            "ads_consent": _pick(_CONSENT, _CONSENT_SHARES, person, 2),
            "ads_consent_at": (_FIRST + _share(person, 3) * _YEARS).astype(np.int64),
        }
    ).with_columns(pl.col("ads_consent_at").cast(pl.Datetime("us")))
    if phones:
        digits = pl.Series((_share(person, 4) * 10_000_000).astype(np.int64)).cast(pl.String)
        head = _pick(_HEADS, (0.25,) * 4, person, 5)
        frame = frame.with_columns(
            phone=head + pl.lit("-").first() + digits.str.zfill(7), country=pl.lit("SE")
        )
    return frame


def _emails(person: np.ndarray) -> pl.Series:
    """Messy in these shares: 25 % capitals, 10 % padded, 8 % tagged, 3.5 % of no use."""
    frame = pl.DataFrame(
        {
            "name": _pick(_NAMES, (0.2,) * 5, person, 6),
            "number": pl.Series(_account_number(person)),
            "domain": _pick(_DOMAINS, _DOMAIN_SHARES, person, 12),
            "nothing": _pick(_USELESS, (1 / 6,) * 6, person, 13),
            "odd": _share(person, 7) < 0.0016,
            "tagged": _share(person, 8) < 0.08,
            "capital": _share(person, 9) < 0.25,
            "padding": _share(person, 10),
            "useless": _share(person, 11),
        }
    )
    name = pl.when("odd").then(pl.lit("jürgen.å")).otherwise("name")
    tag = pl.when("tagged").then(pl.lit("+shop")).otherwise(pl.lit(""))
    email = pl.concat_str(name, "number", tag, pl.lit("@"), "domain")
    useless, padding = pl.col("useless"), pl.col("padding")
    messy = (
        pl.when(useless < 0.015).then(None)
        .when(useless < 0.035).then("nothing")
        .when(padding < 0.005).then(email + "\r\n")
        .when(padding < 0.01).then("\t" + email)
        .when(padding < 0.1).then(" " + email + " ")
        .when("capital").then(email.str.to_titlecase())
        .otherwise(email)
    )  # fmt: skip
    return frame.select(messy).to_series()


def _account_number(person: np.ndarray) -> np.ndarray:
    """One that is its own for each person; neighbours look different."""
    mixed = person * np.uint64(0x9E3779B1) & np.uint64((1 << 30) - 1)
    return mixed + ((person >> np.uint64(_NEW)) << np.uint64(30))


def _pick(
    values: tuple[str | None, ...], shares: tuple[float, ...], person: np.ndarray, salt: int
) -> pl.Series:
    edges = np.cumsum(shares[:-1])
    at = np.searchsorted(edges, _share(person, salt), side="right")
    return pl.Series(values, dtype=pl.String).gather(at)


def _share(person: np.ndarray, salt: int) -> np.ndarray:
    """A number from 0 to 1 that is the same for a person and a question whenever it is asked."""
    mixed = person + np.uint64(salt * 0x9E3779B97F4A7C15 % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return (mixed ^ (mixed >> np.uint64(31))).astype(np.float64) / 2**64


def write_parquet(path: Path, frames: list[tuple[int, int]], replaced: float, phones: bool) -> None:
    """One row group after the other, compressed with zstd."""
    writer = None
    for start, rows in frames:
        table = people(start, rows, replaced, phones=phones).to_arrow()
        table = table.cast(
            pa.schema(
                [
                    pa.field(f.name, pa.string() if pa.types.is_large_string(f.type) else f.type)
                    for f in table.schema
                ]
            )
        )
        if writer is None:
            writer = pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table)
    if writer is not None:
        writer.close()


def write_sqlite(path: Path, frames: list[tuple[int, int]], replaced: float, phones: bool) -> None:
    """One table `customers`; times as text, as SQLite has them."""
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = OFF")
    for start, rows in frames:
        frame = people(start, rows, replaced, phones=phones).with_columns(
            pl.col("ads_consent_at").dt.strftime("%Y-%m-%d %H:%M:%S")
        )
        names = ", ".join(frame.columns)
        connection.execute(f"CREATE TABLE IF NOT EXISTS customers ({names})")
        marks = ", ".join("?" * len(frame.columns))
        connection.executemany(f"INSERT INTO customers VALUES ({marks})", frame.iter_rows())  # noqa: S608 - our own names
        connection.commit()
    connection.close()


def main() -> None:
    """Write one file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--replaced", type=float, default=0.0)
    parser.add_argument("--phones", action="store_true")
    found = parser.parse_args()
    frames = [
        (start, min(ROW_GROUP, found.rows - start)) for start in range(0, found.rows, ROW_GROUP)
    ]
    write = write_parquet if found.path.suffix == ".parquet" else write_sqlite
    write(found.path, frames, found.replaced, found.phones)


if __name__ == "__main__":
    main()
