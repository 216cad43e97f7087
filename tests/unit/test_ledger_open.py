"""Opening a ledger: it makes its tables itself, and says what is wrong in one sentence."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from ledger_contract.builders import batch, line, run
from sqlalchemy.sql.compiler import SQLCompiler

from audience_sync.errors import ConfigurationError, StateError
from audience_sync.ledger import engines
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.schema import MIGRATIONS
from audience_sync.ledger.tables import REVISION, metadata


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a folder" / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{path}") as ledger:
        yield ledger


def test_the_migrations_make_what_the_code_expects(ledger: Ledger) -> None:
    """Tables, columns, indexes: the steps and the definitions do not drift apart."""
    with ledger._engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == REVISION
    assert ScriptDirectory(str(MIGRATIONS)).get_heads() == [REVISION]


def test_a_ledger_keeps_what_it_knows(path: Path, ledger: Ledger) -> None:
    """Closed and opened again, by another process or this one."""
    ledger.create_run(run(), [batch()])
    ledger.record([line()])

    with Ledger.open(f"sqlite:///{path}") as again:
        assert again.runs() == [run()]
        assert again.verify_log().lines == 1


def test_a_current_ledger_opens_without_alembic(path: Path, ledger: Ledger) -> None:
    """Alembic takes half a second to load, which every command would pay."""
    code = (
        "import sys\n"
        "from audience_sync.ledger.ledger import Ledger\n"
        "Ledger.open(sys.argv[1]).close()\n"
        "assert 'alembic' not in sys.modules\n"
    )

    subprocess.run([sys.executable, "-c", code, f"sqlite:///{path}"], check=True)  # noqa: S603 - ourselves


def test_what_one_ledger_compiled_serves_the_next(
    path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker opens one for every task, and would compile the same statements for each."""
    ledger.create_run(run(), [batch()])
    assert ledger.runs() == [run()]
    ledger.close()

    def compiles(*_arguments: object, **_options: object) -> None:
        raise AssertionError("a statement is compiled a second time")

    monkeypatch.setattr(SQLCompiler, "__init__", compiles)
    with Ledger.open(f"sqlite:///{path}") as again:
        again.create_run(run(id="r2"), [batch()])
        assert len(again.runs()) == 2


def test_an_intent_outlives_a_power_cut(ledger: Ledger) -> None:
    """Each commit waits for the disk (law L5), and readers do not wait for writers."""
    with ledger._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 30_000


def test_a_newer_ledger_is_refused(path: Path, ledger: Ledger) -> None:
    """Writing into tables that are not understood would damage them."""
    ledger.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()

    with pytest.raises(StateError, match="made by a newer audience-sync; upgrade"):
        Ledger.open(f"sqlite:///{path}")


def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path) -> None:
    """And left as it is."""
    letter = tmp_path / "letter.txt"
    letter.write_text("Dear customer, " * 100)

    with pytest.raises(StateError, match="not a SQLite database"):
        Ledger.open(f"sqlite:///{letter}")

    assert letter.read_text().startswith("Dear customer")


@pytest.mark.parametrize("damage", ["garbage", "half", "hole"])
def test_a_damaged_ledger_says_what_to_do_and_what_is_lost(
    path: Path, ledger: Ledger, damage: str
) -> None:
    """Which file, is known; a backup alone does not bring back who withdrew since."""
    ledger.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        if damage == "half":
            file.truncate(size // 2)
        else:
            file.seek(0 if damage == "garbage" else 4096)
            file.write(b"\xa5" * (size // 2))

    with (
        pytest.raises(StateError, match=r"damaged|not a SQLite database") as caught,
        Ledger.open(f"sqlite:///{path}") as opened,
    ):
        list(opened.log_lines())
    assert "put ledger and state back from one backup" in str(caught.value)
    assert "docs/operations.md says under Keys and backups" in str(caught.value)
    assert "the withdrawals and the transfer log since that backup are lost" in str(caught.value)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "state").write_text("")

    with pytest.raises(StateError, match="check that its folder exists"):
        Ledger.open(f"sqlite:///{tmp_path}/state/ledger.db")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ledger.db",
        "sqlite://",
        "sqlite:///:memory:",
        "mysql://anna:hunter2@db/ledger",
        "postgresql+asyncpg://anna:hunter2@db/ledger",
        "postgresql://anna:hunter2@db:port/ledger",
    ],
)
def test_a_wrong_url_is_a_configuration_error(url: str) -> None:
    """The message shows what a right one looks like, and nothing of the wrong one."""
    with pytest.raises(ConfigurationError, match="sqlite:///path/to/ledger") as caught:
        Ledger.open(url)

    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_server_that_is_not_there_is_a_state_error() -> None:
    """The message names the setting, not the URL or its password."""
    with pytest.raises(StateError, match="AUDIENCE_SYNC_DATABASE_URL") as caught:
        Ledger.open("postgresql://anna:hunter2@127.0.0.1:9/ledger")

    assert "hunter2" not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_full_disk_is_said_and_nothing_is_kept(ledger: Ledger) -> None:
    """Room made, the log goes on without a gap."""
    with ledger._engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    ledger._engine.dispose()

    def limit(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")

    sa.event.listen(ledger._engine, "connect", limit)
    with pytest.raises(StateError, match="the disk is full; make room and try again"):
        ledger.record([line(note="x" * 100_000)])
    sa.event.remove(ledger._engine, "connect", limit)
    ledger._engine.dispose()

    assert ledger.record([line()]) == [1]
    assert ledger.verify_log().sound


def test_a_locked_database_is_said(
    path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the other process does not let go in time."""
    monkeypatch.setattr(engines, "PATIENCE", 0)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")

    with (
        Ledger.open(f"sqlite:///{path}") as waiting,
        pytest.raises(StateError, match="another process keeps it locked"),
    ):
        waiting.record([line()])

    holder.close()
    assert ledger.record([line()]) == [1]


@pytest.fixture
def first(path: Path) -> Iterator[sqlite3.Connection]:
    """Another process that is about to make a new file."""
    path.parent.mkdir()
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN IMMEDIATE")
    yield connection
    connection.close()


def test_a_new_file_that_another_process_makes_is_waited_for(
    path: Path, first: sqlite3.Connection
) -> None:
    """SQLite itself refuses at once where two change the mode of one new file."""
    leaving = threading.Timer(0.2, first.execute, ["ROLLBACK"])
    leaving.start()

    with Ledger.open(f"sqlite:///{path}") as ledger:
        assert ledger.record([line()]) == [1]
    leaving.join()


def test_a_new_file_that_stays_locked_is_said(
    path: Path, first: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait ends, as any other for a lock does."""
    monkeypatch.setattr(engines, "PATIENCE", 0)
    with pytest.raises(StateError, match="another process keeps it locked"):
        Ledger.open(f"sqlite:///{path}")
    assert first.in_transaction


def test_times_have_a_timezone(ledger: Ledger) -> None:
    """Any timezone is written, UTC is read; a time without one is a programmer's error."""
    stockholm = timezone(timedelta(hours=1))
    local = datetime(2026, 11, 21, 13, 0, tzinfo=stockholm)

    ledger.create_run(run(planned_at=local), [])

    assert ledger.run("r1").planned_at == local
    assert ledger.run("r1").planned_at.tzinfo is UTC
    naive = local.replace(tzinfo=None)
    with pytest.raises(ValueError, match="needs a timezone"):
        ledger.create_run(run("r2", planned_at=naive), [])


def test_an_error_names_no_values(ledger: Ledger) -> None:
    """A refused statement is told by its kind, not by what was in it."""
    ledger.create_run(run(reason="secret words"), [])

    with pytest.raises(StateError) as caught:
        ledger.create_run(run(reason="secret words"), [])

    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
