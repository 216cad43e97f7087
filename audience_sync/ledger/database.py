"""The ledger's database: connecting, transactions, and its errors in one sentence."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from audience_sync.errors import AwayError, ConfigurationError, StateError
from audience_sync.ledger.compiled import COMPILED

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

    Insert = sqlite.Insert | postgresql.Insert

Clock = Callable[[], datetime]

PATIENCE = 30  # seconds to wait for another process that writes
WRONG_BY = 60.0  # seconds that a machine's clock may differ from the database's
_CONNECT_TIMEOUT = 10  # seconds
_AGAIN = 0.01  # seconds between two tries where SQLite does not wait itself
_WRITES = "audience_sync_writes"

_RESTORE = (
    "put ledger and state back from one backup, and do what docs/operations.md says under Keys and "
    "backups: the withdrawals and the transfer log since that backup are lost, and partners hold "
    "what was sent since"
)
# What SQLite and PostgreSQL call the failures that an operator can mend.
_REMEDIES = {
    "SQLITE_BUSY": "another process keeps it locked; stop that process and try again",
    "SQLITE_FULL": "the disk is full; make room and try again",
    "SQLITE_READONLY": "it may not be written; change its owner or its mode",
    "SQLITE_CANTOPEN": "it cannot be opened; check that its folder exists and may be written",
    "SQLITE_NOTADB": f"the file is not a SQLite database; name another file, or {_RESTORE}",
    "SQLITE_CORRUPT": f"the file is damaged; {_RESTORE}",
    "SQLITE_IOERR": "the disk does not answer; check the disk",
    "53100": "its disk is full; make room and try again",
    "53300": "it takes no more connections; raise max_connections or run fewer workers",
    "25006": "it is a read-only standby; name the primary server",
}
# What passes by itself, or once somebody made room: lost connections, servers that start or stop,
# deadlocks, locks, full disks, and a server that became a standby.
_AWAY = ("08", "25006", "40", "53", "55P03", "57", "58", *("SQLITE_BUSY", "SQLITE_FULL"))
_UNREACHABLE = "check that the server runs and that AUDIENCE_SYNC_DATABASE_URL names it rightly"


def utc_now() -> datetime:
    """The time now, in UTC."""
    return datetime.now(UTC)


class Database:
    """An engine, a clock and the two kinds of transaction; the rooms of the ledger build on it.

    Without a `clock` it is this machine's, but for what machines must agree on: see `_agreed_now`.
    """

    def __init__(self, engine: sa.Engine, clock: Clock | None = None) -> None:
        self._engine = engine
        self._writer = engine.execution_options(**{_WRITES: True})
        self._clock = clock or utc_now
        self._by_server = clock is None and engine.dialect.name == "postgresql"
        # SQLite's own waiting is a sleep of growing length; threads of one process queue here.
        self._turn: AbstractContextManager[Any] = (
            threading.Lock() if engine.dialect.name == "sqlite" else nullcontext()
        )

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with translated(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        with translated(), self._turn, self._writer.begin() as connection:
            yield connection

    def check_clock(self) -> str:
        """How this machine's clock differs from the server's; a StateError when it is wrong.

        Leases go by the server's; schedules, waits and the transfer log by this machine's.
        """
        if self._engine.dialect.name != "postgresql":
            return "this machine's"
        with self._reading() as connection:
            before = self._clock()
            there = _server_now(connection)
            ahead = (before + (self._clock() - before) / 2 - there).total_seconds()
        side = "ahead of" if ahead > 0 else "behind"
        words = f"{abs(ahead):,.0f} seconds {side} the database's"
        if abs(ahead) > WRONG_BY:
            raise StateError(f"this machine's clock is {words}; set both by one time server")
        return words

    def _agreed_now(self, connection: sa.Connection) -> datetime:
        """Now, for all machines alike, whatever their own clocks say: the server's clock."""
        return _server_now(connection) if self._by_server else self._clock()

    def close(self) -> None:
        """Give all connections back; the ledger is not used afterwards."""
        self._engine.dispose()


@contextmanager
def translated() -> Iterator[None]:
    """Turn a database's error into one sentence; the cause is cut since it may hold a URL."""
    try:
        yield
    except sa.exc.SQLAlchemyError as error:
        cause = getattr(error, "orig", None)
        if isinstance(cause, TypeError | ValueError):  # a bug of ours, such as a naive time
            raise cause from None
        raise (AwayError if _is_away(error) else StateError)(_sentence(error)) from None


def _server_now(connection: sa.Connection) -> datetime:
    """The server's clock at this moment; `now()` would be when the transaction began."""
    there: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return there.astimezone(UTC)


def _name(error: sa.exc.SQLAlchemyError) -> str:
    """What the database calls its failure; nothing where it could not even be asked."""
    cause = getattr(error, "orig", None)
    return getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None) or ""


def _is_away(error: sa.exc.SQLAlchemyError) -> bool:
    name = _name(error)
    if isinstance(error, sa.exc.TimeoutError):  # no connection of the pool became free
        return True
    unasked = isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError) and not name
    lost = isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated
    return unasked or lost or name.startswith(_AWAY)


def _sentence(error: sa.exc.SQLAlchemyError) -> str:
    name = _name(error)
    for start, remedy in _REMEDIES.items():
        if name.startswith(start):
            return f"the ledger's database cannot be used: {remedy}"
    if isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError) and not name:
        return f"the ledger's database does not answer: {_UNREACHABLE}"
    kind = f"{type(error).__name__} {name}".strip()
    return f"the ledger's database refused a statement ({kind}); nothing of it was kept"


def upsert(dialect: str, table: sa.Table) -> Insert:
    """An insert that can say `on_conflict_…`, in the words of this dialect."""
    if dialect == "postgresql":  # its module is a tenth of a second that SQLite needs not pay
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - see above

        return postgresql.insert(table)
    return sqlite.insert(table)


_PLAIN = frozenset({bool, bytes, datetime, float, int, tuple, type(None)})


def storable(value: Any) -> Any:
    """The value itself, but no NUL and no half a character, which no database takes as text.

    A mapping becomes the dict that JSON columns take.
    """
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Mapping):
        return dict(value)
    if type(value) is str and not value.isprintable():
        return value.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
    return value


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
            f"the ledger's database cannot be used: {_REMEDIES['SQLITE_CANTOPEN']}"
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
    writes = connection.get_execution_options().get(_WRITES)
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
