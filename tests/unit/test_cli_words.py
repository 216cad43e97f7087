"""How times, progress and logs are written; what shells complete; when a schedule is due."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import typer

from audience_sync import journal
from audience_sync.cli import options, written
from audience_sync.cli.lists import print_lists, told
from audience_sync.cli.outcomes import DELETED, reached_by
from audience_sync.cli.progress import Bars, working
from audience_sync.cli.show import is_gone, next_run
from audience_sync.cli.transfers import moment
from audience_sync.cli.withdrawals import tell_clock
from audience_sync.cron import next_due
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.runs import (
    Batch,
    BatchState,
    Operation,
    RemoteList,
    Run,
    RunState,
)

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _no_handler_stays() -> Iterator[None]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


def _run(state: RunState, **more: Any) -> Run:
    return Run(id="r1", audience="a", destination="d", state=state, planned_at=NOW, **more)


def _batch(state: BatchState) -> Batch:
    return Batch(run="r1", position=0, operation=Operation.ADD, members=1, state=state)


@pytest.mark.parametrize(
    ("state", "batches", "statistics", "expected"),
    [
        (RunState.HELD, [], {}, "held"),
        (RunState.CONFIRMED, [], {}, "unchanged"),
        (RunState.DELIVERED, [BatchState.PENDING], {"match_range": "65 %"}, "accepted"),
        (RunState.CONFIRMED, [BatchState.ACCEPTED], {}, "accepted"),
        (RunState.CONFIRMED, [BatchState.ACCEPTED], {"usable": True}, "processed"),
        (RunState.CONFIRMED, [BatchState.CONFIRMED], {}, "processed"),
        (RunState.CONFIRMED, [BatchState.CONFIRMED], {"match_range": "65 %"}, "matched 65 %"),
    ],
)
def test_accepted_processed_matched(
    state: RunState, batches: list[BatchState], statistics: dict[str, Any], expected: str
) -> None:
    """Three different words, and none is claimed before a partner told it (L13)."""
    remote = RemoteList(audience="a", destination="d", statistics=statistics)
    assert reached_by(_run(state), [_batch(batch) for batch in batches], remote) == expected


def test_times_in_few_words() -> None:
    """Roughly is enough for a person; the project's timezone decides the day."""
    assert written.ago(NOW - timedelta(seconds=5), NOW) == "just now"
    assert written.ago(NOW - timedelta(minutes=5), NOW) == "5 min ago"
    assert written.ago(NOW - timedelta(hours=30), NOW) == "30 h ago"
    assert written.ahead(NOW + timedelta(days=9), NOW) == "in 9 days"
    late = datetime(2026, 11, 20, 23, 30, tzinfo=UTC)
    assert written.short(late, NOW, UTC) == "20 Nov"
    assert written.short(late, NOW, ZoneInfo("Europe/Stockholm")) == "00:30"
    assert written.clock(None) == "-"


def test_a_usual_terminal_folds_no_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A zone is folded where its parts meet, and a count that is not told is as narrow as one."""
    assert written.in_zone("when", ZoneInfo("Europe/Stockholm")) == "when\nEurope/\nStockholm"
    assert written.in_zone("when", ZoneInfo("UTC")) == "when UTC"
    monkeypatch.setenv("COLUMNS", "80")
    place = {
        "audience": "newsletter-readers",
        "destination": "google-display-se",
        "members": "fewer than 10",
        "last_run": _run(RunState.CONFIRMED),
        "reached": "processed",
        "next_run_at": None,
        "told_by_partner": {"size_lower": 0, "size_upper": 1000, "match_range": "65 %"},
        "in_project": True,
    }
    print_lists([place], NOW)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "newsletter-readers"
    assert lines[2].startswith("  google-display-se     < 10  processed")


def test_a_list_that_was_deleted_is_told_as_that(capsys: pytest.CaptureFixture[str]) -> None:
    """Not as what it had reached before, nor by what the partner said of it."""
    sent = replace(_run(RunState.CONFIRMED), outbox="outbox/r1")
    here = RemoteList(audience="vip", destination="tiktok-se", remote_id="7")
    gone = replace(here, remote_id=None)
    assert [is_gone(here, sent), is_gone(gone, sent), is_gone(gone, None)] == [False, True, False]
    assert is_gone(gone, _run(RunState.FAILED)) is False  # it was never made
    assert is_gone(replace(gone, manifest={"run": "r1"}), _run(RunState.FAILED)) is True
    place = {
        "audience": "vip",
        "destination": "tiktok-se",
        "members": 0,
        "last_run": sent,
        "reached": DELETED,
        "next_run_at": None,
        "told_by_partner": {},
        "in_project": True,
    }
    print_lists([place], NOW)
    told = capsys.readouterr().out
    assert "The list of vip at tiktok-se was deleted; the next sync makes another." in told
    assert "accepted" not in told


def test_sentences_are_folded_at_words_and_hang(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No terminal breaks a word; what reads a pipe finds whole lines."""
    lines = ["Short.", "", f"  meta-se  queued: {'word ' * 20}a-b-c [x]"]
    monkeypatch.setenv("COLUMNS", "80")
    written.tell(lines)
    folded = capsys.readouterr().out.splitlines()
    assert folded[:2] == ["Short.", ""]
    assert len(folded) == 4
    assert max(map(len, folded)) <= 80
    assert folded[3].startswith("    word")
    assert folded[3].endswith("a-b-c [x]")
    monkeypatch.delenv("COLUMNS")
    written.tell(lines)
    assert capsys.readouterr().out.splitlines() == lines


def test_what_a_partner_tells() -> None:
    """A size range, a match range, and its state where the list cannot be used."""
    assert told({}) == "-"
    assert told({"size_lower": 1000, "size_upper": 2000}) == "1,000-2,000"
    assert told({"match_range": "61-70 %", "status": "open", "usable": True}) == "match 61-70 %"
    assert told({"status": "flagged by policy", "usable": False}) == "flagged by policy"
    forgotten = told({"status": "open", "usable": True}, in_project=False)
    assert forgotten == "no longer in the project"


def test_json_holds_records_and_times(capsys: pytest.CaptureFixture[str]) -> None:
    """Records become objects, times ISO 8601."""
    written.print_json({"run": _run(RunState.HELD)})
    found = json.loads(capsys.readouterr().out)["run"]
    assert found["state"] == "held"
    assert found["planned_at"] == "2026-11-21T12:00:00+00:00"


def test_the_next_run_follows_the_local_clock() -> None:
    """03:00 in Stockholm, on both sides of the change to winter time."""
    audience: Any = SimpleNamespace(schedule="0 3 * * *", timezone=ZoneInfo("Europe/Stockholm"))
    summer = next_run(audience, datetime(2026, 10, 23, 12, tzinfo=UTC))
    winter = next_run(audience, datetime(2026, 10, 25, 12, tzinfo=UTC))
    assert summer is not None
    assert winter is not None
    assert summer.astimezone(UTC) == datetime(2026, 10, 24, 1, tzinfo=UTC)
    assert winter.astimezone(UTC) == datetime(2026, 10, 26, 2, tzinfo=UTC)
    audience.schedule = "30 2 * * *"  # a time that the clocks leap over on 2026-03-29
    leap = datetime(2026, 3, 28, 12, tzinfo=UTC)
    assert next_run(audience, leap) == next_due("30 2 * * *", audience.timezone, leap)
    audience.schedule = None
    assert next_run(audience, NOW) is None


def test_since_is_a_time_or_a_span() -> None:
    """A day, a moment, or so long ago."""
    assert moment("2026-05-01") == datetime(2026, 5, 1, tzinfo=UTC)
    assert moment("2026-05-01T03:00+02:00") == datetime(2026, 5, 1, 1, tzinfo=UTC)
    week = moment("1w")
    assert week is not None
    assert datetime.now(UTC) - week >= timedelta(days=7)
    assert moment(None) is None
    with pytest.raises(typer.BadParameter):
        moment("yesterday")


@pytest.mark.parametrize(
    ("hours", "deadline"), [(24, "24 h"), (1.5, "1.5 h"), (1, "1 h"), (0.5, "30 min")]
)
def test_a_deadline_is_told_as_it_was_written(
    hours: float, deadline: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An hour and a half are not two."""
    ages = {"open": 3, "oldest": None, "p50": None, "deadline": hours * 3600}
    tell_clock(ages | {"late": 1, "near": 2})
    told = capsys.readouterr().out
    assert f"1 has missed the deadline of {deadline}." in told
    assert f"2 will miss the deadline of {deadline} soon." in told


def _complete(by: Any, incomplete: str, project: Path | None = None) -> list[str]:
    root = SimpleNamespace(params={"project": project})
    found: list[str] = by(SimpleNamespace(find_root=lambda: root), incomplete)
    return found


def test_names_are_completed_from_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Audiences and destinations of the file, without loading more; never an error."""
    monkeypatch.chdir(tmp_path)
    assert _complete(options.complete_audience, "") == []
    assert _complete(options.complete_run, "") == []
    (tmp_path / "audience-sync.yaml").write_text("audiences: {vip: {}, van: {}, all: {}}\n")
    assert _complete(options.complete_audience, "v") == ["vip", "van"]
    assert _complete(options.complete_destination, "") == []
    monkeypatch.chdir("/")
    assert _complete(options.complete_audience, "v", tmp_path) == ["vip", "van"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "audience-sync.yaml").write_text("audiences: [")
    assert _complete(options.complete_audience, "v") == []


def test_runs_are_completed_from_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest of them; completing makes no ledger where there is none."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "audience-sync.yaml").write_text("project: p\n")
    assert _complete(options.complete_run, "") == []
    assert not (tmp_path / ".audience-sync").exists()
    (tmp_path / ".audience-sync").mkdir()
    with Ledger.open(f"sqlite:///{tmp_path}/.audience-sync/ledger.sqlite") as ledger:
        ledger.create_run(_run(RunState.PLANNED), [])
    assert _complete(options.complete_run, "r") == ["r1"]
    assert _complete(options.complete_run, "x") == []


def test_bars_count_from_any_thread() -> None:
    """Undrawn they cost nothing; drawn they take steps, of a known total or not."""
    bars = Bars()
    bars.stage("Reading", 10)(5)
    with working(bars):
        advance, pulse = bars.stage("Reading", 10), bars.stage("Delivering", None)
        advance(5)
        pulse(3)
        assert bars._drawn is not None
        assert [task.completed for task in bars._drawn.tasks] == [5, 3]
    with working(None):
        pass


def test_text_logs_tell_the_class_of_an_error_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception's text may hold a value; with debug it is asked for."""
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    journal.set_up("text", "debug")
    broken = ValueError("anna@example.com")
    logging.getLogger("audience_sync.x").error("It broke", exc_info=broken)
    assert "ERROR audience_sync.x: It broke\nValueError" in stream.getvalue()
    assert "anna@example.com" not in stream.getvalue()
    assert "Traceback" not in stream.getvalue()


def test_json_logs_are_one_object_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the fields that the caller gave, and the class of an error."""
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    journal.set_up("json", "info")
    log = logging.getLogger("connectors.toy")
    log.debug("too fine")
    log.info("Sent %d", 7, extra={"run": "r1"})
    log.error("It broke", exc_info=ValueError("secret"))
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["message"], first["run"], first["level"]) == ("Sent 7", "r1", "info")
    assert second["exception"] == "ValueError"


def test_libraries_are_not_heard_below_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever our own level is: their debug lines may hold bodies and addresses."""
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    journal.set_up("text", "debug")
    journal.set_up("text", "debug")  # told twice, heard once
    for name in ("requests", "celery.worker", "google.auth", "anything.else"):
        logging.getLogger(name).info("a body")
    logging.getLogger("audience_sync.y").debug("ours")
    assert stream.getvalue().count("\n") == 1
    assert "ours" in stream.getvalue()
