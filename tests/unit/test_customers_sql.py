"""Customers in SQLite, by the Arrow driver and by SQLAlchemy's rows."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from audience_sync.customers import sql
from audience_sync.customers.columns import canonical
from audience_sync.customers.description import SourceDescription
from audience_sync.customers.policy import microseconds
from audience_sync.customers.session import _columns, alchemy_session
from audience_sync.customers.source import Source, open_source
from audience_sync.errors import ConfigurationError, SourceError

COLUMNS = {
    "customer_id": "id",
    "email": "e mail",
    "consent": "consent",
    "consent_at": "consent_at",
    "birth_date": "born",
}
SECRET = "anna@example.com"
UUID = uuid.UUID("6f1cf3e2-5d1b-4c8a-9f6d-0a1b2c3d4e5f")
MOMENT = microseconds(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))


@pytest.fixture(params=["arrow", "rows"])
def driver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways into a database; the second serves those without an Arrow driver."""
    if request.param == "rows":
        monkeypatch.setattr(sql, "adbc_session", alchemy_session)
    return str(request.param)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    (tmp_path / "shop #1?").mkdir()
    with closing(sqlite3.connect(tmp_path / "shop #1?" / "customers.db")) as connection:
        connection.execute(
            'CREATE TABLE customers (id, "e mail", consent, consent_at, born, value, market)'
        )
        yield connection


def fill(database: sqlite3.Connection, *rows: tuple[object, ...]) -> None:
    database.executemany("INSERT INTO customers VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    database.commit()


def source(
    folder: Path,
    columns: Mapping[str, str] = COLUMNS,
    *,
    query: str | None = None,
    table: str | None = "customers",
    url: str = "sqlite:///shop%20%231%3F/customers.db",
) -> Source:
    description = SourceDescription(
        url=url,
        columns=columns,
        base=folder,
        query=query,
        table=None if query else table,
    )
    return open_source(description)


def read(
    source: Source, predicates: Mapping[str, str] | None = None, rows: int = 2
) -> pl.DataFrame:
    frames = list(source.batches(predicates or {}, rows))
    assert all(0 < frame.height <= rows for frame in frames)
    return pl.concat(frames)


def test_a_type_that_changes_from_row_to_row(
    tmp_path: Path, database: sqlite3.Connection, driver: str
) -> None:
    """SQLite has types per value: a column may begin with NULLs and numbers and end in text."""
    fill(
        database,
        (1, None, None, None, None, None, None),
        (2, None, 1, 1767323045, 18991231, 5, "SE"),
        ("c-3", SECRET, "granted", "2026-01-02T03:04:05Z", "1899-12-31", 6000.5, "SE"),
        ("", 5, 0, 1767323045000, "1899-12-31 00:00:00", "many", None),
    )

    found = read(source(tmp_path), {"rich": "value > 5000 AND value < 'a'", "all": "1 = 1"})

    assert found.to_dict(as_series=False) == {
        "customer_id": ["1", "2", "c-3", None],
        "email": [None, None, SECRET, "5"],
        "consent": [None, "1", "granted", "0"],
        "consent_at": [None, MOMENT, MOMENT, MOMENT],
        "birth_date": [None, *[date(1899, 12, 31)] * 3],
        "audience:rich": [False, False, True, False],
        "audience:all": [True] * 4,
    }


def test_ids_in_bytes(tmp_path: Path, database: sqlite3.Connection) -> None:
    """A BLOB that is no text is a UUID or hexadecimal digits, in an id only."""
    fill(database, *((i, i, None, None, None, None, None) for i in (UUID.bytes, b"\xff\x00", b"a")))

    found = read(source(tmp_path))

    assert found["customer_id"].to_list() == [str(UUID), "ff00", "a"]
    assert found["email"].to_list() == [None, None, "a"]


def test_strange_text_survives(tmp_path: Path, database: sqlite3.Connection, driver: str) -> None:
    """A megabyte in a field, a NUL byte and text that is not UTF-8 stop nothing."""
    fill(database, *((i, "x" * 2**20, None, None, None, None, None) for i in range(3)))
    fill(database, (4, "a\x00b", None, None, None, None, None))

    found = read(source(tmp_path))["email"]

    assert found.str.len_chars().to_list() == [2**20] * 3 + [3]


def test_text_that_is_not_utf8_is_missing(tmp_path: Path, database: sqlite3.Connection) -> None:
    """Bytes that pretend to be text never reach the columns as they are."""
    fill(database, (1, SECRET, None, None, None, None, None))
    database.execute("UPDATE customers SET \"e mail\" = CAST(x'fffe' AS TEXT)")
    database.commit()

    assert read(source(tmp_path))["email"].to_list() == [None]


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("SELECT * FROM customers;", ["1", "2"]),
        ("SELECT * FROM customers -- all of them", ["1", "2"]),
        ("WITH c AS (SELECT * FROM customers WHERE market LIKE 'S%') SELECT * FROM c", ["1"]),
        ("SELECT * FROM customers WHERE market != ':market %s'", ["1", "2"]),
        ("SELECT * FROM customers WHERE 1 = 0", []),
    ],
)
def test_queries(
    tmp_path: Path, database: sqlite3.Connection, driver: str, query: str, ids: list[str]
) -> None:
    """A query may be anything that the database can select from."""
    fill(database, *((i, None, 1, None, None, None, m) for i, m in ((1, "SE"), (2, "DK"))))
    opened = source(tmp_path, query=query)

    found = [i for frame in opened.batches({}, 1) for i in frame["customer_id"]]

    assert found == ids
    assert opened.count() == len(ids)
    assert opened.columns() == ["id", "e mail", "consent", "consent_at", "born", "value", "market"]


def test_rows_are_counted_once(
    tmp_path: Path, database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A count runs the whole query, so a source remembers what it was told."""
    asked = []
    before = sql.SqlTable.count

    def counted(table: sql.SqlTable) -> int | None:
        asked.append(table)
        return before(table)

    monkeypatch.setattr(sql.SqlTable, "count", counted)
    fill(database, (1, None, 1, None, None, None, None))
    opened = source(tmp_path)
    assert [opened.count(), opened.count()] == [1, 1]
    assert len(asked) == 1


def test_a_condition_that_is_neither_true_nor_false_is_false(
    tmp_path: Path, database: sqlite3.Connection, driver: str
) -> None:
    """NULL is not membership; the audience's name may be as long as it likes."""
    fill(database, (1, None, 1, None, None, None, None))
    name = "lapsed-" * 20

    assert read(source(tmp_path), {name: "market = 'SE' -- home"})[
        f"audience:{name}"
    ].to_list() == [False]


def test_one_read_sees_one_state(tmp_path: Path, database: sqlite3.Connection) -> None:
    """Rows written while customers are read are not seen in part."""
    database.execute("PRAGMA journal_mode = WAL")
    fill(database, *((i, None, 1, None, None, None, None) for i in range(10)))
    frames = source(tmp_path).batches({}, 2)
    first = next(frames)
    fill(database, *((i, None, 1, None, None, None, None) for i in range(10, 20)))

    assert first.height + sum(frame.height for frame in frames) == 10


def test_the_database_is_only_read(tmp_path: Path, database: sqlite3.Connection) -> None:
    """A query that writes is refused, and writes nothing."""
    fill(database, (1, None, 1, None, None, None, None))

    with pytest.raises(ConfigurationError):
        read(source(tmp_path, query="DELETE FROM customers RETURNING *"))

    assert database.execute("SELECT count(*) FROM customers").fetchone() == (1,)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"columns": {**COLUMNS, "email": "email"}}, r'"email", but the table has no.*"e mail"'),
        ({"table": "custmers"}, "there is no table custmers"),
        ({"query": "SELECT nope FROM customers"}, "there is no column nope"),
        ({"query": "SELECT 'anna@example.com' FROM WHERE"}, "not understood"),
        ({"table": None}, "either query or table"),
        ({"url": "sqlite:///nowhere.db"}, r"there is no file nowhere\.db"),
        ({"url": "sqlite://"}, "names no database file"),
        ({"url": "nosuchdatabase://host/db"}, "driver that is not installed"),
        ({"url": "mysql://u:p@127.0.0.1/db"}, "driver that is not installed"),
        ({"url": "sqlite:///text.db"}, "not a database"),
        ({"url": "sqlite:///half.db"}, "damaged"),
        ({"url": "sqlite:///spoilt.db"}, "the database stopped while source was read"),
        ({"url": "://u:p@h"}, "not a database URL"),
    ],
)
def test_mistakes_are_explained(
    tmp_path: Path, database: sqlite3.Connection, changed: dict[str, Any], message: str
) -> None:
    """Each mistake is told in one sentence that holds no value."""
    fill(database, *((i, SECRET, 1, None, None, 5, "SE") for i in range(5_000)))
    whole = (tmp_path / "shop #1?" / "customers.db").read_bytes()
    half = len(whole) // 2
    (tmp_path / "text.db").write_text("this is text, " * 100)
    (tmp_path / "half.db").write_bytes(whole[:half])
    (tmp_path / "spoilt.db").write_bytes(whole[:half] + b"\xa5" * 20_000 + whole[half + 20_000 :])

    with pytest.raises((ConfigurationError, SourceError), match=message) as caught:
        read(source(tmp_path, **changed), {"rich": "value > 1"}, rows=500)
    assert SECRET not in str(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__


@pytest.mark.parametrize("condition", ["valu > 5", "value >", "nofunction(value)", "value)"])
def test_a_wrong_condition_names_its_audience(
    tmp_path: Path, database: sqlite3.Connection, driver: str, condition: str
) -> None:
    """A condition that cannot be run is refused before a row is read."""
    opened = source(tmp_path)

    with pytest.raises(ConfigurationError, match=r"audience lapsed.*audiences\.lapsed\.where"):
        opened.check({"fine": "value > 1", "lapsed": condition})


def test_a_read_that_is_left_early_lets_go(
    tmp_path: Path, database: sqlite3.Connection, driver: str
) -> None:
    """Whoever closes the iterator closes the connection, so that the database can be written."""
    fill(database, *((i, None, 1, None, None, None, None) for i in range(10)))
    frames = source(tmp_path).batches({}, 2)
    next(frames)
    frames.close()

    fill(database, (11, None, 1, None, None, None, None))


def test_python_values_become_canonical() -> None:
    """What a driver without Arrow gives is read like everything else."""
    at = datetime(2026, 1, 2, 5, 4, 5, tzinfo=timezone(timedelta(hours=2)))
    rows = [
        (uuid.UUID(int=1), None, True, at, date(1890, 1, 2)),
        (2, b"a@b.se", None, None, None),
        (Decimal(3), SECRET, False, at.astimezone(UTC), None),
    ]

    frame = _columns(rows)
    frame.columns = list(COLUMNS)

    assert canonical(frame, "source").rows() == [
        (str(uuid.UUID(int=1)), None, "true", MOMENT, date(1890, 1, 2)),
        ("2", "a@b.se", None, None, None),
        ("3", SECRET, "false", MOMENT, None),
    ]
