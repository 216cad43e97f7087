"""`worker` and `beat` before they run: what they check, and what a forked process inherits."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from audience_sync.errors import ConfigurationError
from audience_sync.testing.project_template import demo_project, write_demo_secrets
from audience_sync.worker import command

SANDBOX = "http://127.0.0.1:8600"
# What starts threads when it is imported, or holds connections and locks.
HEAVY = ("polars", "numpy", "pyarrow", "sqlalchemy", "requests", "adbc_driver_manager")


class Started(list[tuple[list[str], Mapping[str, str]]]):
    """Stands in for `os.execve`."""

    def __call__(self, _program: str, argv: list[str], environ: Mapping[str, str]) -> None:
        self.append((argv, environ))


@pytest.fixture
def started() -> Started:
    return Started()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "audience-sync.yaml").write_text(demo_project(SANDBOX))
    write_demo_secrets(tmp_path, SANDBOX)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("POLARS_MAX_THREADS", raising=False)
    return tmp_path


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDIENCE_SYNC_BROKER_URL", "redis://127.0.0.1:1/0")


def test_a_worker_starts_anew_with_its_share_of_the_processors(
    folder: Path, broker: None, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Polars reads its number of threads when it is imported, so it stands in the environment."""
    monkeypatch.setattr(command, "cores", lambda: 8)

    for concurrency in (8, 2, 16):
        command.worker([f"--concurrency={concurrency}"], started)

    assert [environ["POLARS_MAX_THREADS"] for _, environ in started] == ["1", "4", "1"]
    argv, environ = started[0]
    assert argv == [sys.executable, "-P", "-m", "audience_sync.worker", "--concurrency=8"]
    assert environ["AUDIENCE_SYNC_BROKER_URL"] == "redis://127.0.0.1:1/0"


def test_the_operators_own_number_of_threads_wins(
    folder: Path, broker: None, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sets POLARS_MAX_THREADS knows the machine."""
    monkeypatch.setenv("POLARS_MAX_THREADS", "3")

    command.worker([], started)

    assert started[0][1]["POLARS_MAX_THREADS"] == "3"


def test_the_process_that_forks_has_loaded_nothing_that_a_fork_would_break() -> None:
    """Threads of Polars and connections of SQLAlchemy do not survive a fork: they come after it."""
    asked = (
        "import sys, threading; import audience_sync.worker.command;"
        "from celery.apps import worker;"
        f"print([name for name in {HEAVY} if name in sys.modules], threading.active_count())"
    )

    found = subprocess.run(  # noqa: S603 - our own interpreter and words
        [sys.executable, "-c", asked], capture_output=True, text=True, check=True
    )

    assert found.stdout.split() == ["[]", "1"]


@pytest.mark.parametrize("name", ["worker", "beat"])
def test_a_missing_broker_is_named_before_anything_starts(
    folder: Path, started: Started, name: str
) -> None:
    """The setting to make, and the command that needs none."""
    arguments: list[Any] = [[], started] if name == "worker" else [[]]

    with pytest.raises(ConfigurationError, match="AUDIENCE_SYNC_BROKER_URL is not set"):
        getattr(command, name)(*arguments)

    assert started == []


def test_a_wrong_project_stops_a_worker_before_it_starts(
    folder: Path, broker: None, started: Started
) -> None:
    """One sentence now rather than an error with every task."""
    (folder / "audience-sync.yaml").write_text("project: only-a-name\n")

    with pytest.raises(ConfigurationError, match=r"audience-sync\.yaml"):
        command.worker([], started)

    assert started == []


@pytest.mark.parametrize("argv", [["--concurrency=0"], ["--queues", "hurried"], ["--pool=solo"]])
def test_wrong_options_are_refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """With the usage and exit code 2, as every command does."""
    with pytest.raises(SystemExit) as ended:
        command.worker(argv)

    assert ended.value.code == 2
    assert "usage: audience-sync worker" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_beat_is_told_to_stop_besides_what_is_raised(number: signal.Signals) -> None:
    """What is raised inside of a destructor is dropped, and the loop would go on for ever."""
    told = []
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        command._end_when_told(SimpleNamespace(stop=lambda: told.append("stop")))
        with pytest.raises(SystemExit):
            signal.raise_signal(number)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert told == ["stop"]
