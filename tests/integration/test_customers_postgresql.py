"""Customers in a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import psycopg
import pytest
from sqlalchemy import make_url

from audience_sync.customers import sql
from audience_sync.customers.decisions import read_decisions
from audience_sync.customers.description import DecisionsDescription, SourceDescription
from audience_sync.customers.policy import microseconds
from audience_sync.customers.session import alchemy_session
from audience_sync.customers.source import Source, open_source
from audience_sync.errors import ConfigurationError, SourceError

COLUMNS = {
    "customer_id": "id",
    "email": "Mail",
    "consent": "consent",
    "consent_at": "consent_at",
    "last_activity_at": "seen",
    "birth_date": "born",
}
SECRET = "anna@example.com"
TABLE = """
    CREATE TABLE customers (
        number serial, id uuid, "Mail" varchar, consent boolean,
        consent_at timestamptz, seen timestamp, born date, value numeric
    );
    INSERT INTO customers (id, "Mail", consent, consent_at, seen, born, value) VALUES
    (NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    ('6f1cf3e2-5d1b-4c8a-9f6d-0a1b2c3d4e5f', 'anna@example.com', true,
     '2026-01-02 04:04:05+01', '2026-01-02 03:04:05', '1899-12-31', 6000.5),
    (NULL, '', false, 'infinity', '-infinity', 'infinity', 0),
    (NULL, 'å', false, '0044-03-15 BC', '9999-12-31 23:59', '0044-03-15 BC', 'NaN')
"""


@pytest.fixture
def database(postgresql_url: str) -> Iterator[psycopg.Connection]:
    address = make_url(postgresql_url).set(drivername="postgresql")
    with psycopg.connect(
        address.render_as_string(hide_password=False), autocommit=True
    ) as connection:
        connection.execute(TABLE)
        yield connection


def source(
    url: str,
    columns: Mapping[str, str] = COLUMNS,
    *,
    table: str | None = "public.customers",
    query: str | None = None,
) -> Source:
    return open_source(
        SourceDescription(
            url=url, columns=columns, base=Path(), table=None if query else table, query=query
        )
    )


def read(
    source: Source, predicates: Mapping[str, str] | None = None, rows: int = 3
) -> pl.DataFrame:
    frames = list(source.batches(predicates or {}, rows))
    assert all(0 < frame.height <= rows for frame in frames)
    return pl.concat(frames)


@pytest.mark.parametrize("driver", ["arrow", "rows"])
def test_types_of_postgresql(
    database: psycopg.Connection,
    postgresql_url: str,
    monkeypatch: pytest.MonkeyPatch,
    driver: str,
) -> None:
    """UUIDs, Booleans, zones, infinities and days before Christ come out canonical."""
    moment = microseconds(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    if driver == "rows":
        monkeypatch.setattr(sql, "adbc_session", alchemy_session)
        # Python's dates know neither infinity nor the years before 1.
        database.execute("DELETE FROM customers WHERE number > 2")

    found = read(source(postgresql_url), {"rich": "value > 5000 AND value < 1e6", "x": "NULL"})

    expected = {
        "customer_id": [None, "6f1cf3e2-5d1b-4c8a-9f6d-0a1b2c3d4e5f", None, None],
        "email": [None, SECRET, None, "å"],
        "consent": [None, "true", "false", "false"],
        "consent_at": [None, moment, None, None],
        "last_activity_at": [
            None, moment, None, microseconds(datetime(9999, 12, 31, 23, 59, tzinfo=UTC))
        ],
        "birth_date": [None, date(1899, 12, 31), None, None],
        "audience:rich": [False, True, False, False],
        "audience:x": [False] * 4,
    }  # fmt: skip
    assert found.to_dict(as_series=False) == {
        name: values[: found.height] for name, values in expected.items()
    }
    assert source(postgresql_url).count() == found.height


def test_many_rows_are_streamed(database: psycopg.Connection, postgresql_url: str) -> None:
    """Rows come in frames of the size that was asked for, every one once."""
    query = "SELECT i AS id, i % 2 AS consent, i AS value FROM generate_series(1, 50000) i"
    columns = {"customer_id": "id", "consent": "consent"}

    found = read(source(postgresql_url, columns, query=query), {"few": "value % 1000 = 0"}, 9_999)

    assert found["customer_id"].n_unique() == 50_000
    assert set(found["consent"]) == {"1", "0"}
    assert found["audience:few"].sum() == 50


def test_one_read_sees_one_state(database: psycopg.Connection, postgresql_url: str) -> None:
    """Rows deleted while customers are read are still read."""
    frames = source(postgresql_url).batches({}, 1)
    first = next(frames)
    database.execute("DELETE FROM customers")

    assert first.height + sum(frame.height for frame in frames) == 4


def test_the_database_is_only_read(database: psycopg.Connection, postgresql_url: str) -> None:
    """A query with a side effect is refused, and has none."""
    with pytest.raises((ConfigurationError, SourceError)):
        read(
            source(postgresql_url, {"customer_id": "id", "consent": "consent"},
                   query="SELECT nextval('customers_number_seq') AS id, true AS consent")
        )  # fmt: skip

    assert database.execute("SELECT last_value FROM customers_number_seq").fetchone() == (4,)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT nope FROM customers", "there is no column nope"),
        ("SELECT * FROM custmers", "there is no relation custmers"),
        ("SELECT *, id FROM customers", 'names "id", which the query has more than once'),
        ("SELECT * FROM customers WHERE value = 'anna@example.com'", "SQLSTATE 22P02"),
        ("SELEC", "SQLSTATE 42601"),
        ('SELECT id, "Mail", consent FROM customers', 'names "consent_at", but the query has no'),
    ],
)
def test_queries_that_fail_are_explained(
    database: psycopg.Connection, postgresql_url: str, query: str, message: str
) -> None:
    """Each mistake is told in one sentence that holds no value."""
    with pytest.raises((ConfigurationError, SourceError), match=message) as caught:
        read(source(postgresql_url, query=query))
    assert SECRET not in str(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__


@pytest.mark.parametrize("condition", ["valu > 5", "value >", "value", '"Mail" > 5', "f(value)"])
def test_a_wrong_condition_names_its_audience(
    database: psycopg.Connection, postgresql_url: str, condition: str
) -> None:
    """A condition that cannot be run is refused before a row is read."""
    with pytest.raises(ConfigurationError, match=r"audience lapsed.*audiences\.lapsed\.where"):
        source(postgresql_url).check({"fine": "value > 1", "lapsed": condition})


def test_a_condition_that_fails_on_a_row_names_its_audience(
    database: psycopg.Connection, postgresql_url: str
) -> None:
    """A condition that some row breaks stops the read with the audience's name, not the row."""
    predicates = {"fine": "value > 1", "lapsed": 'CAST("Mail" AS integer) > 5'}

    with pytest.raises(SourceError, match="audience lapsed failed on some row") as caught:
        read(source(postgresql_url), predicates)
    assert SECRET not in str(caught.value)


def test_an_unreachable_database_is_told_without_its_password() -> None:
    """A server that does not answer is an error of the source; the password stays out of it."""
    opened = source("postgresql://shop:hunter2@127.0.0.1:1/shop")

    for read_it in (opened.columns, opened.count, lambda: read(opened)):
        with pytest.raises(SourceError, match=r"database of source\.url cannot be") as caught:
            read_it()
        assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_decisions_in_postgresql(database: psycopg.Connection, postgresql_url: str) -> None:
    """A consent log is read with the same care."""
    description = DecisionsDescription(
        url=postgresql_url,
        base=Path(),
        query="SELECT number AS customer_id, consent AS decision, consent_at AS decided_at "
        "FROM customers WHERE number = 2",
    )

    frames = list(read_decisions(description))

    at = microseconds(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert pl.concat(frames).rows() == [("2", "true", at, None, None)]
