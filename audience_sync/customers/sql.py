"""Reads a table of a database: one read-only transaction, conditions judged in the database."""

from __future__ import annotations

import re
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import NoReturn

import polars as pl
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from audience_sync.customers.columns import AUDIENCE_PREFIX, CONTENT, Content, find_column
from audience_sync.customers.session import (
    DRIVER_ERRORS,
    Field,
    Session,
    adbc_session,
    alchemy_session,
)
from audience_sync.customers.table import WHOLE, Place, Split
from audience_sync.errors import ConfigurationError, SourceError

# Names of the schema, which may be told; anything else in a driver's message might be a value.
_UNKNOWN_NAME = re.compile(
    r"no such (?P<what>table|column|function): (?P<name>[A-Za-z_][\w.]*)(?:\s|$)"
    r'|(?P<what2>column|relation|function) "?(?P<name2>[A-Za-z_][\w.]*)"?(?:\([\w\s,]*\))? does not'
)
_DAMAGED = ("not a database", "malformed")
_TIMES = (Content.MOMENT, Content.DATE)


class SqlTable:
    """A query or table of any database that SQLAlchemy or ADBC can open."""

    def __init__(self, place: Place) -> None:
        if (place.query is None) == (place.table is None):
            raise ConfigurationError(
                f"{place.label} needs either query or table, and not both, to read a database"
            )
        self._label = place.label
        self.called = "the query" if place.table is None else "the table"
        self._url = _url(place)
        try:
            self._dialect = self._url.get_dialect()()
        except (NoSuchModuleError, ImportError):
            raise self._no_driver() from None
        if place.query is not None:
            self._from = f"({place.query.strip().rstrip(';')}\n) customers"
        else:
            quote = self._dialect.identifier_preparer.quote
            self._from = ".".join(quote(part) for part in str(place.table).split("."))

    def names(self) -> list[str]:
        """The columns that the query returns."""
        with self._open() as session:
            return [field.name for field in self._schema(session)]

    def count(self) -> int | None:
        """How many rows the query returns."""
        with self._open() as session:
            try:
                return session.number(f"SELECT count(*) FROM {self._from}")  # noqa: S608 - the operator's own query
            except DRIVER_ERRORS as error:
                self._refuse_query(error)

    def splits(self, rows: int, key: str, conditions: Mapping[str, str]) -> list[Split]:  # noqa: ARG002 - judged in the database
        """Ranges of the key where it is a whole number; else the table is read as one."""
        with self._open() as session:
            try:
                total = session.number(f"SELECT count(*) FROM {self._from}")  # noqa: S608 - the operator's own query
                if total <= rows or not self._is_whole(session, key):
                    return [WHOLE]
                column = self._quoted(key)
                low, high = (
                    session.number(f"SELECT {end}({column}) FROM {self._from}")  # noqa: S608 - the same
                    for end in ("min", "max")
                )
            except DRIVER_ERRORS as error:
                self._refuse_query(error)
        return key_ranges(key, low, high, -(-total // rows))

    def _is_whole(self, session: Session, key: str) -> bool:
        names = [one.name for one in self._schema(session)]
        find_column(self._label, "customer_id", key, names, self.called)
        column = self._quoted(key)
        backend = self._url.get_backend_name()
        if backend == "sqlite":
            asked = f"sum(typeof({column}) NOT IN ('integer', 'null'))"
        elif backend == "postgresql":
            whole = "'smallint', 'integer', 'bigint'"
            asked = f"CASE WHEN pg_typeof(min({column}))::text IN ({whole}) THEN 0 ELSE 1 END"
        else:
            return False
        return session.number(f"SELECT {asked} FROM {self._from}") == 0  # noqa: S608 - the operator's own query

    def _quoted(self, column: str) -> str:
        return self._dialect.identifier_preparer.quote_identifier(column)

    def _range(self, split: Split) -> str:
        """The rows of a split; those without a key are in the first."""
        if split.key is None:
            return ""
        column = self._quoted(split.key)
        bounds = [] if split.start is None else [f"{column} >= {split.start:d}"]
        bounds += [] if split.stop is None else [f"{column} < {split.stop:d}"]
        alone = f" OR {column} IS NULL" if split.start is None else ""
        return f" WHERE {' AND '.join(bounds)}{alone}"

    def salvage(self, columns: Mapping[str, str]) -> Iterator[pl.DataFrame]:  # noqa: ARG002 - nothing to pick from
        """Nothing more than was read before it failed."""
        return iter(())

    def read(
        self,
        columns: Mapping[str, str],
        conditions: Mapping[str, str],
        rows: int,
        split: Split = WHOLE,
    ) -> Generator[pl.DataFrame, None, None]:
        """Stream the query in one statement; each condition is one more column of it."""
        with self._open() as session:
            fields = self._schema(session)
            names = [field.name for field in fields]
            times = {field.name for field in fields if field.is_time}
            written = [
                self._expression(
                    ours, find_column(self._label, ours, theirs, names, self.called), times
                )
                for ours, theirs in columns.items()
            ]
            for name, condition in conditions.items():
                self._try_condition(session, name, condition)
                written.append(_condition(condition))
            # Short names of our own: a database may cut a long one.
            listed = ", ".join(f"{one} AS c{at}" for at, one in enumerate(written))
            ours = [*columns, *(AUDIENCE_PREFIX + name for name in conditions)]
            statement = f"SELECT {listed} FROM {self._from}{self._range(split)}"  # noqa: S608 - the operator's own query
            try:
                for frame in session.frames(statement, rows):
                    frame.columns = ours
                    yield from frame.iter_slices(rows)
            except DRIVER_ERRORS:
                self._refuse_read(written[: len(columns)], conditions)

    @contextmanager
    def _open(self) -> Iterator[Session]:
        has_adbc = self._url.get_backend_name() in ("sqlite", "postgresql")
        with ExitStack() as stack:
            opened = adbc_session(self._url) if has_adbc else alchemy_session(self._url)
            yield self._entered(stack, opened)

    def _entered(self, stack: ExitStack, opened: AbstractContextManager[Session]) -> Session:
        try:
            return stack.enter_context(opened)
        except ImportError:
            raise self._no_driver() from None
        except DRIVER_ERRORS as error:
            refused = "authentication failed" in str(error)
            raise SourceError(
                f"the database of {self._label}.url refuses the user or the password"
                if refused
                else f"the database of {self._label}.url cannot be opened; check the URL, and that "
                "the server runs and can be reached from here"
            ) from None

    def _no_driver(self) -> ConfigurationError:
        return ConfigurationError(
            f"{self._label}.url asks for a database driver that is not installed; "
            "install its package, or use sqlite or postgresql"
        )

    def _schema(self, session: Session) -> list[Field]:
        try:
            return session.schema(f"SELECT * FROM {self._from} WHERE 1 = 0")  # noqa: S608 - the operator's own query
        except DRIVER_ERRORS as error:
            self._refuse_query(error)

    def _expression(self, ours: str, theirs: str, times: Collection[str]) -> str:
        """Their column in SQL, as text where a driver would guess a type row by row."""
        column = self._dialect.identifier_preparer.quote_identifier(theirs)
        backend = self._url.get_backend_name()
        if backend == "sqlite":
            # Without NULLs the driver cannot take a first batch of them for numbers; an empty text
            # is a missing value to us anyway.
            return f"COALESCE(CAST({column} AS TEXT), '')"
        if backend == "postgresql" and not (CONTENT[ours] in _TIMES and theirs in times):
            return f"CAST({column} AS TEXT)"
        return column

    def _try_condition(self, session: Session, name: str, condition: str) -> None:
        try:
            session.schema(f"SELECT {_condition(condition)} FROM {self._from} WHERE 1 = 0")  # noqa: S608 - the operator's own condition
        except DRIVER_ERRORS as error:
            raise ConfigurationError(
                f"the condition of audience {name} cannot be run by the database: {_cause(error)}; "
                f"correct audiences.{name}.where"
            ) from None

    def _refuse_query(self, error: Exception) -> NoReturn:
        if any(sign in str(error) for sign in _DAMAGED):
            raise SourceError(
                f"the file of {self._label}.url is damaged or not a database"
            ) from None
        raise ConfigurationError(
            f"the database cannot run the query of {self._label}: {_cause(error)}; correct "
            f"{self._label}.query or {self._label}.table"
        ) from None

    def _refuse_read(self, columns: Sequence[str], conditions: Mapping[str, str]) -> NoReturn:
        """Reads again what is read without conditions, then each, to tell which one fails."""
        if self._can_be_read(" + ".join(f"count({column})" for column in columns)):
            for name, condition in conditions.items():
                if not self._can_be_read(f"sum({_condition(condition)})"):
                    raise SourceError(
                        f"the condition of audience {name} failed on some row; make it fit every "
                        f"row in audiences.{name}.where"
                    ) from None
        raise SourceError(
            f"the database stopped while {self._label} was read; see the database's own log"
        ) from None

    def _can_be_read(self, expression: str) -> bool:
        with self._open() as session:
            try:
                session.number(f"SELECT {expression} FROM {self._from}")  # noqa: S608 - the operator's own query
            except DRIVER_ERRORS:
                return False
        return True


def key_ranges(key: str, low: int, high: int, parts: int) -> list[Split]:
    """Ranges of keys between multiples of a power of two, so that no bound is anybody's key."""
    step = 1 << max(0, ((high - low) // max(1, parts)).bit_length())
    bounds = [*range((low // step + 1) * step, high + 1, step)]
    starts, stops = [None, *bounds], [*bounds, None]
    return [
        Split(key=key, start=start, stop=stop) for start, stop in zip(starts, stops, strict=True)
    ]


def _condition(condition: str) -> str:
    """A condition as 1 or 0; on a line of its own, so that a comment in it ends there."""
    return f"CASE WHEN ({condition}\n) THEN 1 ELSE 0 END"


def _cause(error: Exception) -> str:
    found = _UNKNOWN_NAME.search(str(error))
    if found:
        what, name = found["what"] or found["what2"], found["name"] or found["name2"]
        return f"there is no {what} {name}"
    state = getattr(error, "sqlstate", None)
    return f"it answers SQLSTATE {state}" if state else "it is not understood"


def _url(place: Place) -> URL:
    try:
        url = make_url(place.url)
    except (ArgumentError, ValueError):
        raise ConfigurationError(f"{place.label}.url is not a database URL") from None
    if url.get_backend_name() != "sqlite":
        return url
    if not url.database or url.database == ":memory:":
        raise ConfigurationError(f"{place.label}.url names no database file")
    path = (place.base / url.database).absolute()
    if not path.is_file():
        raise ConfigurationError(
            f"{place.label}.url: there is no file {url.database}; correct the path"
        )
    return url.set(database=str(path))
