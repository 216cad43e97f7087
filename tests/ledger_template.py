"""A new SQLite ledger without the wait: it gets at once what migrating gave to the first one."""

from __future__ import annotations

from functools import cache

import pytest
import sqlalchemy as sa

from audience_sync.ledger import schema

_migrated = schema._upgrade


def spare_migrations(patch: pytest.MonkeyPatch) -> None:
    """Let new ledgers of this process be copies of one that was really migrated."""
    patch.setattr(schema, "_upgrade", _upgraded)


def _upgraded(connection: sa.Connection) -> None:
    if connection.dialect.name != "sqlite" or sa.inspect(connection).get_table_names():
        _migrated(connection)
        return
    for statement in _statements():
        connection.exec_driver_sql(statement)


@cache
def _statements() -> tuple[str, ...]:
    """Whatever makes an empty ledger, as SQLite itself tells it after all steps."""
    engine = sa.create_engine("sqlite://")
    try:
        with engine.begin() as connection:
            _migrated(connection)
        with engine.connect() as connection:
            told = tuple(connection.connection.driver_connection.iterdump())  # type: ignore[union-attr]  # it is open
    finally:
        engine.dispose()
    return tuple(one for one in told if one not in ("BEGIN TRANSACTION;", "COMMIT;"))
