"""How a SQLite file or a PostgreSQL server is connected to."""

from __future__ import annotations

import logging
import sqlite3
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from audience_sync.errors import ConfigurationError, StateError
from audience_sync.ledger.compiled import COMPILED
from audience_sync.ledger.failures import REMEDIES

PATIENCE = 30  # seconds to wait for another process that writes
WRITES = "audience_sync_writes"  # the option of a connection whose transactions write
_AGAIN = 0.01  # seconds between two tries where SQLite does not wait itself
_CONNECT_TIMEOUT = 10  # seconds


def connect(url: str) -> sa.Engine:
    """An engine for a SQLite file or a PostgreSQL server; nothing is opened yet."""
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise ConfigurationError(_WRONG_URL) from None
    # It writes parameters and rows into its log, whatever level others ask for.
    logging.getLogger("sqlalchemy.engine.Engine").setLevel(logging.WARNING)
    if parsed.drivername in {"sqlite", "sqlite+pysqlite"}:
        return _sqlite(parsed)
    if parsed.drivername in {"postgres", "postgresql", "postgresql+psycopg"}:
        return _postgresql(parsed.set(drivername="postgresql+psycopg"))
    raise ConfigurationError(_WRONG_URL)


_WRONG_URL = (
    "the ledger's database URL cannot be used: set AUDIENCE_SYNC_DATABASE_URL to"
    " sqlite:///path/to/ledger.db or postgresql://user:password@host/database"
)


def _sqlite(url: sa.URL) -> sa.Engine:
    if url.database in {None, "", ":memory:"}:
        raise ConfigurationError("the ledger needs a file: sqlite:///path/to/ledger.db")
    try:
        Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    except OSError:
        raise StateError(
            f"the ledger's database cannot be used: {REMEDIES['SQLITE_CANTOPEN']}"
        ) from None
    engine = sa.create_engine(
        url,
        connect_args={"timeout": PATIENCE},
        execution_options={"compiled_cache": COMPILED},
        hide_parameters=True,
    )
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves, see below
    _write_ahead(connection)
    # FULL, not NORMAL: an intent must outlive a power cut (law L5). It costs one fsync a
    # commit, 0.2 ms on an ordinary SSD against 0.01 ms.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Readers do not wait for writers; a new file is changed to this by whoever is first.

    SQLite does not wait here as elsewhere: beside another process that changes the file it refuses
    at once, so that we ask again until our patience ends.
    """
    until = time.monotonic() + PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                raise
            time.sleep(_AGAIN)
        else:
            return


def _begin_sqlite(connection: sa.Connection) -> None:
    # A writer takes its lock at once: one that first reads could be refused half-way.
    writes = connection.get_execution_options().get(WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _postgresql(url: sa.URL) -> sa.Engine:
    return sa.create_engine(
        url,
        pool_pre_ping=True,  # a server that was restarted costs nobody an error
        pool_size=8,
        max_overflow=16,
        connect_args={"connect_timeout": _CONNECT_TIMEOUT},
        execution_options={"compiled_cache": COMPILED},
        hide_parameters=True,
    )
