"""Schemas: a SQLite file upgrades itself, a shared PostgreSQL changes when somebody says so."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory

from audience_sync.errors import StateError
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.schema import MIGRATIONS
from audience_sync.ledger.tables import REVISION


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    return str(request.getfixturevalue("postgresql_url"))


def set_schema(url: str, name: str) -> None:
    """What another version of audience-sync would have left."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(
            sa.text("UPDATE alembic_version SET version_num = :name"), {"name": name}
        )
    engine.dispose()


def test_revisions_are_numbers_that_grow() -> None:
    """So that newer and older are told apart without loading Alembic."""
    found = [script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()]
    assert found == sorted(found, reverse=True)
    assert {len(name) for name in found} == {len(REVISION)}
    assert all(name.isdigit() for name in found)


@pytest.mark.postgres
def test_migrate_tells_what_it_found(url: str) -> None:
    """Nothing, then its own; a second time changes nothing."""
    assert Ledger.schema(url) is None
    assert Ledger.migrate(url) is None
    assert Ledger.migrate(url) == REVISION
    assert Ledger.schema(url) == REVISION
    Ledger.open(url).close()


@pytest.mark.postgres
def test_a_newer_schema_is_refused_by_everybody(url: str) -> None:
    """Reading, writing and migrating: code that does not know the tables keeps its hands off."""
    Ledger.migrate(url)
    set_schema(url, "9999")
    for attempt in (Ledger.open, Ledger.migrate):
        with pytest.raises(StateError, match="made by a newer audience-sync; upgrade this"):
            attempt(url)
    assert Ledger.schema(url) == "9999"


def test_an_older_sqlite_file_is_upgraded_when_it_is_opened(tmp_path: Path) -> None:
    """It belongs to the one installation that uses it."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    Ledger.open(url).close()
    assert Ledger.schema(url) == REVISION


def test_a_postgresql_changes_only_when_told(postgresql_url: str) -> None:
    """Workers of the older code may still run; the sentence says what to do."""
    with pytest.raises(StateError, match=r"no tables yet.*stop the workers.*audience-sync migrate"):
        Ledger.open(postgresql_url)
    assert Ledger.schema(postgresql_url) is None
    Ledger.migrate(postgresql_url)
    set_schema(postgresql_url, "0001")
    with pytest.raises(StateError, match=f"has schema 0001 .* needs schema {REVISION}"):
        Ledger.open(postgresql_url)
    assert Ledger.schema(postgresql_url) == "0001"


@pytest.mark.postgres
def test_removals_that_wait_for_an_answer_outlast_an_upgrade(url: str) -> None:
    """What was one removal for all withdrawals so far is the first of several."""
    Ledger.migrate(url)
    at = "2026-11-21 12:00:00" + ("" if url.startswith("sqlite") else "+00")
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for change in (
            "DROP INDEX withdrawals_by_parent",
            "DROP INDEX withdrawal_deliveries_by_time",
            "ALTER TABLE withdrawal_removals DROP COLUMN unanswered",
            "ALTER TABLE withdrawal_removals DROP COLUMN refused",
            "ALTER TABLE withdrawal_removals DROP COLUMN reason",
            "ALTER TABLE withdrawal_removals ADD COLUMN pending JSON DEFAULT '[]' NOT NULL",
            "ALTER TABLE withdrawal_removals ADD COLUMN ask_at TIMESTAMP WITH TIME ZONE",
            "UPDATE alembic_version SET version_num = '0010'",
        ):
            connection.execute(sa.text(change))
        insert = sa.text("INSERT INTO withdrawal_removals VALUES (:a, 'd', 7, 'w1', :at, :p, NULL)")
        for audience, pending in (("waits", '["r1", "r2"]'), ("done", "[]")):
            connection.execute(insert, {"a": audience, "at": at, "p": pending})
    engine.dispose()
    Ledger.migrate(url)
    with Ledger.open(url) as ledger:
        waits, done = (ledger.list_removal(name, "d") for name in ("waits", "done"))
    assert waits is not None
    assert done is not None
    assert (waits.through, done.through, done.unanswered) == (7, 7, ())
    [one] = waits.unanswered
    assert (one.after, one.through, one.references) == (0, 7, ("r1", "r2"))
    assert one.sent_at == one.ask_at == datetime(2026, 11, 21, 12, tzinfo=UTC)
