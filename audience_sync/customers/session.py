"""Sessions with a database: Arrow batches through ADBC, or rows through SQLAlchemy."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote

import adbc_driver_manager
import adbc_driver_manager.dbapi
import adbc_driver_postgresql.dbapi  # type: ignore[import-untyped] # the driver has no types
import adbc_driver_sqlite.dbapi
import polars as pl
import pyarrow as pa
from sqlalchemy import Connection, create_engine, pool
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from audience_sync.customers.stoppable import stoppable

# ADBC raises its own errors on execution, but plain OSError and Arrow's in the middle of a stream.
DRIVER_ERRORS = (
    adbc_driver_manager.Error,
    pa.ArrowException,
    OSError,
    SQLAlchemyError,
    UnicodeError,
)

_PATIENCE = "10"  # seconds to connect, unless the URL says otherwise
_BYTES_PER_ROW = 160  # about, of a customer; PostgreSQL's driver takes its hint in bytes
_BATCH_BYTES = (1 << 20, 64 << 20)
_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"


class Field(NamedTuple):
    """A column, and whether the driver gives its times as times, not as text."""

    name: str
    is_time: bool


class Session(Protocol):
    """An open read-only connection."""

    def schema(self, statement: str) -> list[Field]:
        """The columns that a statement returns."""
        ...

    def number(self, statement: str) -> int:
        """The one number that a statement returns."""
        ...

    def frames(self, statement: str, rows: int) -> Iterator[pl.DataFrame]:
        """The statement's rows, streamed; `rows` is a hint."""
        ...


class AdbcSession:
    """A session that never makes a Python object of a value."""

    def __init__(self, connection: adbc_driver_manager.dbapi.Connection, hints: Any) -> None:
        self._connection = connection
        self._hints = hints

    def schema(self, statement: str) -> list[Field]:
        """The columns that a statement returns."""
        with self._connection.cursor() as cursor:
            _execute(cursor, statement)
            with closing(cursor.fetch_record_batch()) as reader:
                return [Field(field.name, _is_time(field.type)) for field in reader.schema]

    def number(self, statement: str) -> int:
        """The one number that a statement returns."""
        with self._connection.cursor() as cursor:
            _execute(cursor, statement)
            row = stoppable(cursor.fetchone, cursor.adbc_cancel)
            return int(row[0] or 0) if row else 0

    def frames(self, statement: str, rows: int) -> Iterator[pl.DataFrame]:
        """The statement's rows, streamed."""
        with self._connection.cursor() as cursor:
            cursor.adbc_statement.set_options(**self._hints(rows))
            _execute(cursor, statement)
            with closing(cursor.fetch_record_batch()) as reader:
                for batch in reader:
                    yield _frame(batch)


class AlchemySession:
    """A session by way of Python rows, for the databases that have no Arrow driver here."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def schema(self, statement: str) -> list[Field]:
        """The columns that a statement returns; their types are known by their values only."""
        names = self._connection.exec_driver_sql(statement).keys()
        return [Field(name, is_time=True) for name in names]

    def number(self, statement: str) -> int:
        """The one number that a statement returns."""
        return int(self._connection.exec_driver_sql(statement).scalar() or 0)

    def frames(self, statement: str, rows: int) -> Iterator[pl.DataFrame]:
        """The statement's rows, streamed by a cursor on the server."""
        streaming = self._connection.execution_options(stream_results=True, yield_per=rows)
        result = streaming.exec_driver_sql(statement)
        for part in result.partitions(rows):
            yield _columns(part)


@contextmanager
def adbc_session(url: URL) -> Iterator[Session]:
    """A session with SQLite or PostgreSQL, in one read-only transaction."""
    if url.get_backend_name() == "sqlite":
        path = quote(str(url.database))
        connection = adbc_driver_sqlite.dbapi.connect(f"file:{path}?mode=ro")
        hints: Any = _sqlite_hints
    else:
        address = url.set(drivername="postgresql")
        if "connect_timeout" not in address.query:
            address = address.update_query_dict({"connect_timeout": _PATIENCE})
        connection = adbc_driver_postgresql.dbapi.connect(
            address.render_as_string(hide_password=False)
        )
        hints = _postgresql_hints
    with closing(connection):
        if hints is _postgresql_hints:
            with connection.cursor() as cursor:
                _execute(cursor, _SNAPSHOT)
        yield AdbcSession(connection, hints)


@contextmanager
def alchemy_session(url: URL) -> Iterator[Session]:
    """A session with any database; what its driver does not stream, it holds in memory."""
    # It writes rows into its log, whatever level others ask for.
    logging.getLogger("sqlalchemy.engine.Engine").setLevel(logging.WARNING)
    engine = create_engine(url, poolclass=pool.NullPool, hide_parameters=True)
    try:
        with engine.connect() as connection:
            # Without it a driver would look for parameters behind each % of the query.
            yield AlchemySession(connection.execution_options(no_parameters=True))
    finally:
        engine.dispose()


def _execute(cursor: adbc_driver_manager.dbapi.Cursor, statement: str) -> None:
    stoppable(lambda: cursor.execute(statement), cursor.adbc_cancel)


def _sqlite_hints(rows: int) -> Mapping[str, str]:
    return {"adbc.sqlite.query.batch_rows": str(rows)}


def _postgresql_hints(rows: int) -> Mapping[str, str]:
    smallest, largest = _BATCH_BYTES
    hint = min(max(rows * _BYTES_PER_ROW, smallest), largest)
    return {"adbc.postgresql.batch_size_hint_bytes": str(hint)}


def _is_time(arrow: pa.DataType) -> bool:
    kinds = (pa.types.is_timestamp, pa.types.is_date, pa.types.is_integer, pa.types.is_floating)
    return any(is_kind(arrow) for is_kind in kinds)


def _frame(batch: pa.RecordBatch) -> pl.DataFrame:
    """Text crosses as bytes, because a database may hold text that is not UTF-8."""
    columns = [
        column.cast(pa.binary()) if pa.types.is_string(column.type) else column
        for column in batch.columns
    ]
    names = [str(at) for at in range(len(columns))]
    return pl.DataFrame(pl.from_arrow(pa.RecordBatch.from_arrays(columns, names)))


def _columns(rows: Sequence[Any]) -> pl.DataFrame:
    columns = zip(*rows, strict=True)
    return pl.DataFrame([_series(str(at), list(column)) for at, column in enumerate(columns)])


def _series(name: str, values: list[Any]) -> pl.Series:
    try:
        series = pl.Series(name, values)
    except (TypeError, ValueError, pl.exceptions.PolarsError):
        series = pl.Series(name, values, dtype=pl.Object)
    if isinstance(series.dtype, pl.Object):
        return pl.Series(name, [None if value is None else _written(value) for value in values])
    return series


def _written(value: Any) -> str:
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.hex()
