"""The ledger's database: its clock, its two kinds of transaction, and what it can store."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from audience_sync.errors import StateError
from audience_sync.ledger.engines import WRITES
from audience_sync.ledger.failures import translated

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

    Insert = sqlite.Insert | postgresql.Insert

Clock = Callable[[], datetime]

WRONG_BY = 60.0  # seconds that a machine's clock may differ from the database's


def utc_now() -> datetime:
    """The time now, in UTC."""
    return datetime.now(UTC)


class Database:
    """An engine, a clock and the two kinds of transaction; the rooms of the ledger build on it.

    Without a `clock` it is this machine's, but for what machines must agree on: see `_agreed_now`.
    """

    def __init__(self, engine: sa.Engine, clock: Clock | None = None) -> None:
        self._engine = engine
        self._writer = engine.execution_options(**{WRITES: True})
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


def _server_now(connection: sa.Connection) -> datetime:
    """The server's clock at this moment; `now()` would be when the transaction began."""
    there: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return there.astimezone(UTC)


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
