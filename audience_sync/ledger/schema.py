"""Brings a database to the schema of this code; Alembic is loaded only when there is a step.

A SQLite file belongs to whoever opens it, and is upgraded on the way. A PostgreSQL database is
shared with processes that may still run older code, so it changes only when somebody says so.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from audience_sync.errors import StateError
from audience_sync.ledger.tables import REVISION

MIGRATIONS = Path(__file__).parent / "migrations"
_ADVISORY_LOCK = 0x6175_6469_656E_6365  # "audience": one process migrates, the others wait
_NEWER = "the ledger's database was made by a newer audience-sync; upgrade this installation"


def prepare(engine: sa.Engine, writer: sa.Engine) -> None:
    """Refuse a database of another schema; a SQLite file that is older is upgraded instead."""
    found = version(engine)
    if found == REVISION:
        return
    refuse_newer(found)
    if engine.dialect.name == "sqlite":
        migrate(writer)
        return
    state = "has no tables yet" if found is None else f"has schema {found}"
    raise StateError(
        f"the ledger's database {state} and this audience-sync needs schema {REVISION}: "
        "stop the workers, run `audience-sync migrate`, and start them again"
    )


def migrate(writer: sa.Engine) -> str | None:
    """Make or upgrade the tables, once, however many ask together; the schema that was found."""
    with writer.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
        found = _version(connection)
        refuse_newer(found)
        if found != REVISION:
            _upgrade(connection)
        return found


def version(engine: sa.Engine) -> str | None:
    """The schema of a database; None when it has no tables of ours."""
    with engine.connect() as connection:
        return _version(connection)


def refuse_newer(found: str | None) -> None:
    """A StateError when code of this age would not understand the tables."""
    if found is not None and found > REVISION:  # revisions are numbers of one length
        raise StateError(_NEWER)


def _version(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(connection: sa.Connection) -> None:
    from alembic import command  # noqa: PLC0415 - half a second that most starts do not need
    from alembic.config import Config  # noqa: PLC0415 - the same
    from alembic.util.exc import CommandError  # noqa: PLC0415 - the same

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError:
        raise StateError(_NEWER) from None  # a revision that this code never heard of
