"""`migrate`, `health` and `ready` as supervisors call them, with real servers and without."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from ledger_contract.builders import run

from audience_sync.cli.start import run as command
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.tables import REVISION
from audience_sync.runs.sweep import note_sweep
from audience_sync.testing.project_template import demo_project, write_demo_secrets

KEY = "A" * 43 + "="
SECRET = "hunter2-canary"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    sandbox = "http://127.0.0.1:8600"
    (tmp_path / "audience-sync.yaml").write_text(demo_project(sandbox))
    write_demo_secrets(tmp_path, sandbox)
    monkeypatch.chdir(tmp_path)
    handlers, level = list(logging.getLogger().handlers), logging.getLogger().level
    yield tmp_path
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch, postgresql_url: str, redis_url: str) -> None:
    monkeypatch.setenv("AUDIENCE_SYNC_DATABASE_URL", postgresql_url)
    monkeypatch.setenv("AUDIENCE_SYNC_BROKER_URL", redis_url)


class Told:
    """The document that a command printed, by subject."""

    def __init__(self, text: str) -> None:
        document = orjson.loads(text)
        self.ok = document["ok"]
        self.failed = {f["subject"] for f in document["findings"] if not f["ok"]}
        self.detail = {f["subject"]: f["detail"] for f in document["findings"]}


def ask(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Told:
    capsys.readouterr()
    assert command([*words, "--json"]) == code
    return Told(capsys.readouterr().out)


def test_a_fresh_folder_is_healthy_and_ready_and_nothing_is_made(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither keys nor a ledger appear because somebody looked."""
    before = {path for path in folder.rglob("*") if ".audience-sync" not in path.name}
    assert ask(capsys, "health").ok
    found = ask(capsys, "ready")
    assert found.detail["ledger"] == found.detail["keys"] == "made by the first run"
    assert found.detail["broker"].startswith("none is set")
    assert list((folder / ".audience-sync").iterdir()) == []
    assert {path for path in folder.rglob("*") if ".audience-sync" not in path.name} == before


@pytest.mark.usefixtures("servers")
def test_a_cluster_is_ready_once_it_was_migrated(
    capsys: pytest.CaptureFixture[str], postgresql_url: str
) -> None:
    """Until then every command says which one to run; afterwards all that it needs answers."""
    found = ask(capsys, "ready", code=1)
    assert {"ledger"} <= found.failed
    assert "audience-sync migrate" in found.detail["ledger"]
    assert command(["status"]) == 1
    assert "run `audience-sync migrate`" in capsys.readouterr().err

    assert command(["migrate"]) == 0
    assert capsys.readouterr().out == f"The ledger had no tables and has schema {REVISION} now.\n"
    assert command(["migrate", "--json"]) == 0
    assert orjson.loads(capsys.readouterr().out) == {"found": REVISION, "schema": REVISION}

    found = ask(capsys, "ready")
    assert found.detail["broker"] == "answers"
    assert found.detail["sweep"].startswith("nobody swept lately")
    with Ledger.open(postgresql_url) as ledger:
        note_sweep(ledger, "somebody")
        note_sweep(ledger, "somebody else")
        ledger.create_run(run(), [])
    assert ask(capsys, "ready").detail["sweep"] == "just now"


@pytest.mark.parametrize(
    ("name", "value", "subject", "words"),
    [
        ("BROKER_URL", f"redis://:{SECRET}@127.0.0.1:1/0", "broker", "Redis does not answer"),
        ("DATABASE_URL", f"postgresql://a:{SECRET}@127.0.0.1:1/x", "ledger", "does not answer"),
        ("STATE_URL", "/dev/null/here", "state", "cannot be used"),
    ],
)
def test_what_does_not_answer_is_named(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    value: str,
    subject: str,
    words: str,
) -> None:
    """In one sentence with what to look at, without addresses and passwords; exit code 1."""
    monkeypatch.setenv(f"AUDIENCE_SYNC_{name}", value)
    assert command(["ready"]) == 1
    told = capsys.readouterr()
    assert f"FAILED  {subject}: " in told.out
    assert words in told.out
    assert SECRET not in told.out + told.err
    assert subject in ask(capsys, "ready", code=1).failed


def test_keys_of_another_state_are_not_ready(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong fingerprint key is found before a run finds it."""
    marks = folder / ".audience-sync" / "keys"
    marks.mkdir(parents=True)
    (marks / "0123456789abcdef").write_text("\n")
    monkeypatch.setenv("AUDIENCE_SYNC_STATE_KEYS", f"one:{KEY}")
    monkeypatch.setenv("AUDIENCE_SYNC_FINGERPRINT_KEY", KEY)
    assert ask(capsys, "ready", code=2).failed == {"keys"}


def test_a_wrong_project_is_not_healthy_but_its_servers_are_ready(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The two questions have answers of their own."""
    (folder / "audience-sync.yaml").write_text("project: only-a-name\n")
    assert ask(capsys, "health", code=2).failed == {"project"}
    assert ask(capsys, "ready").ok


def test_a_newer_ledger_is_refused_by_every_command(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also by those that only read, and by migrate itself."""
    assert command(["runs"]) == 0
    connection = sqlite3.connect(folder / ".audience-sync" / "ledger.sqlite")
    with connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    capsys.readouterr()
    for words in (["status"], ["runs"], ["sync"], ["log", "verify"], ["migrate"]):
        assert command(words) == 1
        assert "made by a newer audience-sync" in capsys.readouterr().err
    assert "ledger" in ask(capsys, "ready", code=1).failed
