"""Brings a database to the schema of this code; Alembic is loaded only when there is a step."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from audience_sync.errors import StateError
from audience_sync.ledger.tables import REVISION

MIGRATIONS = Path(__file__).parent / "migrations"
_ADVISORY_LOCK = 0x6175_6469_656E_6365  # "audience": one process migrates, the others wait


def migrate(engine: sa.Engine, writer: sa.Engine) -> None:
    """Make or upgrade the tables, once, however many processes start together."""
    with engine.connect() as connection:
        if _version(connection) == REVISION:
            return
    with writer.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
        if _version(connection) != REVISION:
            _upgrade(connection)


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
        raise StateError(
            "the ledger's database was made by a newer audience-sync; upgrade this installation"
        ) from None
