"""From arguments to exit codes: errors in one sentence, light to start, quiet when nobody reads."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from audience_sync import cli
from audience_sync.cli import codes, setup
from audience_sync.cli.start import globals_first, run
from audience_sync.errors import (
    BusyError,
    ConfigurationError,
    GuardError,
    RefusedError,
    SourceError,
)
from audience_sync.runs.outcome import Outcome

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("polars", "sqlalchemy", "celery", "uvicorn", "starlette", "requests", "pydantic", "rich")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["sync", "--project", "p", "a"], ["--project", "p", "sync", "a"]),
        (["sync", "--project=p", "--debug"], ["--project=p", "--debug", "sync"]),
        (["worker", "--", "--debug"], ["worker", "--", "--debug"]),
        (["sync", "--project"], ["--project", "sync"]),
        ([], []),
    ],
)
def test_global_options_may_stand_anywhere(given: list[str], expected: list[str]) -> None:
    """They are moved to the front; what follows a double hyphen is left alone."""
    assert globals_first(given) == expected


def test_help_imports_nothing_heavy() -> None:
    """Start-up is felt with every command and every completion."""
    script = (
        "import sys; from audience_sync.cli.start import run; code = run(['--help']);"
        f"print([m for m in {HEAVY} if m in sys.modules], code, file=sys.stderr)"
    )
    told = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert told.stderr.strip() == "[] 0"


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    """What bug reports begin with."""
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"audience-sync {version('audience-sync')}"


def test_wrong_usage_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown command, an unknown option, nothing at all."""
    assert run(["snyc"]) == codes.USAGE
    assert run(["sync", "--fast"]) == codes.USAGE
    assert run([]) == codes.USAGE
    assert "Traceback" not in capsys.readouterr().err


def test_the_unexpected_is_told_by_its_class_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The text of a stranger's exception may hold a person; --debug shows it to who asks."""

    def broken() -> Path:
        raise KeyError("anna@example.com")

    monkeypatch.setattr(setup, "_new_project_file", broken)
    assert run(["init"]) == codes.FAILED
    told = capsys.readouterr().err
    assert "KeyError" in told
    assert "--debug" in told
    assert "anna@example.com" not in told
    assert run(["init", "--debug"]) == codes.FAILED
    assert "Traceback" in capsys.readouterr().err


def test_nobody_reads_any_more() -> None:
    """`audience-sync schema | head -1` says nothing on stderr."""
    process = subprocess.Popen(
        [sys.executable, "-m", "audience_sync.cli", "schema"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    told = process.stderr.read()
    process.stderr.close()
    process.wait(timeout=30)
    assert told == ""


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([None, None], codes.DONE),
        ([BusyError("b")], codes.DONE),
        ([RefusedError("r")], codes.FAILED),
        ([RefusedError("r"), None], codes.PARTLY),
        ([ConfigurationError("c")], codes.USAGE),
        ([ConfigurationError("c"), RefusedError("r")], codes.FAILED),
    ],
)
def test_the_code_of_many_lists(errors: list[ConfigurationError | None], expected: int) -> None:
    """Done in part is another thing than failed; busy is neither."""
    outcomes = [Outcome(audience="a", destination="d", error=error) for error in errors]
    assert codes.of_outcomes(outcomes) == expected


def test_the_code_of_an_error() -> None:
    """By what the caller should do."""
    assert codes.of_error(ConfigurationError("c")) == codes.USAGE
    assert codes.of_error(GuardError("g")) == codes.HELD
    assert codes.of_error(SourceError("s")) == codes.FAILED


@pytest.mark.parametrize("module", ["audience_sync", "audience_sync.cli"])
def test_the_package_runs_as_a_module(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    """`python -m audience_sync` is the command, where no script is on the path."""
    called = []
    monkeypatch.setattr("audience_sync.cli.main", lambda: called.append(module))
    runpy.run_module(module, run_name="__main__")
    assert called == [module]


def test_init_writes_a_project_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The commented file, never over another one, whatever its ending."""
    monkeypatch.chdir(tmp_path)
    assert run(["init"]) == 0
    assert "audience-sync check" in capsys.readouterr().out
    written = (tmp_path / "audience-sync.yaml").read_text()
    assert "controller:" in written
    assert run(["init"]) == codes.USAGE
    (tmp_path / "audience-sync.yaml").rename(tmp_path / "audience-sync.yml")
    assert run(["init"]) == codes.USAGE
    assert os.listdir(tmp_path) == ["audience-sync.yml"]  # noqa: PTH208 - names are wanted
    assert run(["--project", str(tmp_path / "new"), "init"]) == 0
    assert (tmp_path / "new/audience-sync.yaml").read_text() == written


@pytest.mark.parametrize(
    "words", [["sync", "--nonsense"], ["nonsense"], ["run"], ["sync", "--dry-run", "--force"]]
)
def test_wrong_usage_is_json_too(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A script that reads stdout finds the error there, whatever kind it is."""
    assert run([*words, "--json"]) == codes.USAGE
    told = capsys.readouterr()
    assert set(json.loads(told.out)) == {"error"}
    assert json.loads(told.out)["error"] in " ".join(told.err.replace("│", " ").split())


@pytest.mark.parametrize(
    "words",
    [
        ["runs", "--audience", "\udcff"],
        ["runs", "--destination=\udcff"],
        ["run", "r\udcff"],
        ["log", "--run", "\udcff"],
        ["sandbox", "--host", "\udcff"],
        ["\udcff"],
    ],
)
def test_bytes_that_are_no_text_are_told(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """As Python hands them over; the sentence says what to do, and shows none of them."""
    assert run(words) == codes.USAGE
    told = capsys.readouterr().err
    assert "in bytes that are not UTF-8; type it anew" in told
    assert "udcff" not in told


def test_a_file_may_have_a_name_that_is_no_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is there: nobody has to rename it, and the sentence about it can be written."""
    (tmp_path / "proof\udcff.json").write_text("{}")
    assert run(["log", "verify", str(tmp_path / "proof\udcff.json"), "--json"]) == codes.USAGE
    told = capsys.readouterr()
    assert "is neither what" in told.err
    assert "is neither what" in json.loads(told.out)["error"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["sync", "--fast"], "no such option: --fast; see `audience-sync sync --help`"),
        (["run"], "missing argument 'RUN'; see `audience-sync run --help`"),
        (["log", "--since", "x"], "write 2026-05-01, 2026-05-01T03:00, 12h, 7d or 4w; see"),
    ],
)
def test_wrong_usage_is_one_sentence(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says what is wrong and where to look, as every other error does."""
    assert run(words) == codes.USAGE
    told = capsys.readouterr().err
    assert told.startswith(f"audience-sync: {sentence}")
    assert told.count("\n") == 1


@pytest.mark.parametrize(("modules", "left"), [({"pyarrow": None}, [3]), ({}, [])])
def test_the_code_is_not_left_to_the_threads_of_a_library(
    monkeypatch: pytest.MonkeyPatch, modules: dict[str, None], left: list[int]
) -> None:
    """What Arrow leaves behind at the end may abort a process or hang it; Python's own is done."""
    at_exit: list[Callable[[], None]] = []
    codes_left: list[int] = []
    monkeypatch.setattr("atexit.register", at_exit.append)
    monkeypatch.setattr("os._exit", codes_left.append)
    monkeypatch.setattr("gc.set_threshold", lambda _: None)
    monkeypatch.setattr(cli, "make_ready", lambda: None)
    monkeypatch.setattr(cli, "leave_no_core", lambda: None)
    monkeypatch.setattr(cli, "_codes", [])
    monkeypatch.setattr("audience_sync.cli.start.run_and_exit", lambda: sys.exit(3))
    with pytest.raises(SystemExit):
        cli.main()
    monkeypatch.setattr("sys.modules", modules)
    at_exit[0]()
    assert codes_left == left
