"""A table's splits are, together, every row once."""

from __future__ import annotations

import sqlite3
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audience_sync.customers.description import SourceDescription
from audience_sync.customers.source import Source, open_source
from audience_sync.customers.sql import key_ranges
from audience_sync.customers.table import WHOLE, Split
from audience_sync.errors import SourceError

ROWS = 1_000


def frame() -> pl.DataFrame:
    """Customers whose ids lie apart."""
    ids = [7 * n - 2_000 for n in range(ROWS)]
    return pl.DataFrame({"id": ids, "consent": ["granted"] * ROWS, "value": list(range(ROWS))})


def described(base: Path, url: str, table: str | None = None) -> Source:
    """A source of these customers."""
    columns = {"customer_id": "id", "consent": "consent"}
    return open_source(SourceDescription(url=url, columns=columns, base=base, table=table))


def database(base: Path, ids: list[object]) -> Source:
    """The same in SQLite, with ids of any type."""
    with sqlite3.connect(base / "shop.db") as connection:
        connection.execute("CREATE TABLE customers (id, consent)")
        connection.executemany("INSERT INTO customers VALUES (?, 'granted')", [[i] for i in ids])
    return described(base, "sqlite:///shop.db", "customers")


def ids_of(source: Source, splits: list[Split]) -> list[str | None]:
    """Every id that the splits hold, sorted."""
    found = [
        one
        for split in splits
        for part in source.batches({}, 100, split=split)
        for one in part["customer_id"]
    ]
    return sorted(found, key=str)


def test_parquet_is_cut_into_rows(tmp_path: Path) -> None:
    """Whatever its row groups are; two files are cut each on its own."""
    frame().write_parquet(tmp_path / "a.parquet", row_group_size=150)
    frame().head(30).write_parquet(tmp_path / "b.parquet")
    source = described(tmp_path, "*.parquet")
    splits = source.splits(400, {"all": "value >= 0"})
    assert [(split.file, split.start, split.stop) for split in splits] == [
        ("a.parquet", 0, 400),
        ("a.parquet", 400, 800),
        ("a.parquet", 800, 1000),
        ("b.parquet", 0, 30),
    ]
    assert ids_of(source, splits) == ids_of(source, [WHOLE])


def test_csv_and_ndjson_are_split_by_file(tmp_path: Path) -> None:
    """A CSV that conditions look at stays whole, because all of it tells what a column holds."""
    for name in ("a", "b"):
        frame().write_csv(tmp_path / f"{name}.csv")
        frame().write_ndjson(tmp_path / f"{name}.ndjson")
    for url in ("*.csv", "*.ndjson"):
        source = described(tmp_path, url)
        splits = source.splits(400, {})
        assert len(splits) == 2
        assert ids_of(source, splits) == ids_of(source, [WHOLE])
    assert described(tmp_path, "*.csv").splits(400, {"rich": "value > 5"}) == [WHOLE]


def test_a_file_that_is_gone_stops_the_read(tmp_path: Path) -> None:
    """Its customers would be taken for people who left."""
    frame().write_ndjson(tmp_path / "a.ndjson")
    frame().write_ndjson(tmp_path / "b.ndjson")
    source = described(tmp_path, "*.ndjson")
    splits = source.splits(400, {})
    (tmp_path / "a.ndjson").unlink()
    with pytest.raises(SourceError, match="taken away"):
        ids_of(source, splits)


def test_a_database_is_cut_by_whole_numbers(tmp_path: Path) -> None:
    """Rows without an id are read once, and no bound of a split is anybody's id."""
    ids = [*frame()["id"].to_list(), None, None]
    source = database(tmp_path, ids)
    splits = source.splits(300, {})
    assert len(splits) > 2
    assert ids_of(source, splits) == ids_of(source, [WHOLE])


@pytest.mark.parametrize("ids", [["a", "b", "c"], [1, "b", 3], [1.5, 2.5, 3.5], []])
def test_a_database_with_other_ids_is_read_as_one(tmp_path: Path, ids: list[object]) -> None:
    """A range of texts would have to be looked for in all of them."""
    assert database(tmp_path, ids).splits(2, {}) == [WHOLE]


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**40), st.integers(1, 300))
def test_key_ranges_cover_every_key_once(low: int, width: int, parts: int) -> None:
    """Any whole number falls into exactly one range; there are not many more than asked for."""
    ranges = key_ranges("id", low, low + width, parts)
    assert len(ranges) <= 2 * parts + 2
    assert ranges[0].start is None
    assert ranges[-1].stop is None
    for before, after in pairwise(ranges):
        assert before.stop == after.start is not None
        assert low < after.start <= low + width
