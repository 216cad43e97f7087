"""What the ledger's database fails with, in one sentence that says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from audience_sync.errors import AwayError, StateError

_RESTORE = (
    "put ledger and state back from one backup, and do what docs/operations.md says under Keys and "
    "backups: the withdrawals and the transfer log since that backup are lost, and partners hold "
    "what was sent since"
)
# What SQLite and PostgreSQL call the failures that an operator can mend.
REMEDIES = {
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
    for start, remedy in REMEDIES.items():
        if name.startswith(start):
            return f"the ledger's database cannot be used: {remedy}"
    if isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError) and not name:
        return f"the ledger's database does not answer: {_UNREACHABLE}"
    kind = f"{type(error).__name__} {name}".strip()
    return f"the ledger's database refused a statement ({kind}); nothing of it was kept"
