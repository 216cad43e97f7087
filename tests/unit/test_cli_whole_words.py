"""Whatever the terminal's width: no word of a table or a sentence is broken or cut."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_contract.builders import line, run
from rich.console import Console

from audience_sync.cli.ledgers import print_log
from audience_sync.cli.lists import print_lists, print_run, print_runs
from audience_sync.cli.outcomes import print_outcomes
from audience_sync.cli.whole import WholeConsole, plain_table
from audience_sync.cli.written import console
from audience_sync.ledger.records.log import LoggedLine
from audience_sync.runs.outcome import Outcome

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
ZONE = ZoneInfo("Europe/Stockholm")
RUN = "r20261122-4kge6jwe7q"
AUDIENCE, DESTINATION = "newsletter-readers", "google-display-se"
WORDS = st.text("ab-/,.", min_size=1, max_size=30)
CELLS = st.lists(WORDS, max_size=5).map(" ".join)


@given(
    rows=st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=4),
    heads=st.tuples(WORDS, WORDS, WORDS),
    width=st.integers(10, 120),
)
def test_every_word_of_a_table_stands_there_whole(
    rows: list[tuple[str, str, str]], heads: tuple[str, str, str], width: int
) -> None:
    """As often as it was written; no line is longer than it has to be for that."""
    table = plain_table(*heads, right=heads[:1])
    for row in rows:
        table.add_row(*row)
    page = Console(width=width, color_system=None)
    with page.capture() as captured:
        page.print(table, crop=False)
    told = captured.get()

    words = [word for cell in (*heads, *(cell for row in rows for cell in row))
             for word in cell.split()]  # fmt: skip
    assert sorted(told.split()) == sorted(words)
    columns = list(zip(heads, *rows, strict=True))
    longest = [max((len(w) for cell in column for w in cell.split()), default=0)
               for column in columns]  # fmt: skip
    assert max(map(len, told.splitlines())) <= max(width, sum(longest) + 4)


@pytest.mark.parametrize("width", [20, 60, 80])
def test_the_tables_of_commands_break_no_word(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `status`, `runs`, `run` and `sync` say is the same on a narrow terminal."""
    done = replace(run(), id=RUN, audience=AUDIENCE, destination=DESTINATION, outbox="outbox/r1")
    place = {
        "audience": AUDIENCE,
        "destination": DESTINATION,
        "members": 576,
        "last_run": done,
        "reached": "processed",
        "next_run_at": None,
        "told_by_partner": {"size_lower": 377, "size_upper": 377, "status": "in preparation"},
        "in_project": True,
    }
    outcome = Outcome(audience=AUDIENCE, destination=DESTINATION, run=done)

    def told() -> list[str]:
        print_lists([place], NOW)
        print_runs([done], NOW, ZONE)
        print_run(done, [], "processed", 0, ZONE)
        print_outcomes([outcome], {RUN: "processed"}, {})
        return sorted(capsys.readouterr().out.split())

    wide = told()
    monkeypatch.setenv("COLUMNS", str(width))
    assert told() == wide
    assert f"{AUDIENCE}," in wide


def test_the_log_breaks_no_word(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its columns are the same on any terminal that is not wide."""
    sent = line(run=RUN, audience=AUDIENCE, destination=DESTINATION)
    logged = [LoggedLine(sequence=1, at=NOW, line=sent, previous_hash="", hash="")]

    def told(width: int) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(width))
        print_log(logged, 0, ZONE)
        return capsys.readouterr().out.split()

    assert sorted(told(25)) == sorted(told(100))


def test_a_path_in_a_sentence_is_copied_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the only word that runs over."""
    path = "file:/srv/" + "shop/" * 12 + "token"
    monkeypatch.setenv("COLUMNS", "40")
    console().print(f"[bold]vip[/]: cannot read the token in {path}, which is not there; write it")
    assert path + "," in capsys.readouterr().out.split()


def test_a_table_wider_than_its_terminal_ends_no_line_in_blanks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """They would run over into a line of their own, and an empty one stand after each row."""
    table = plain_table("what", "which")
    for what, which in (("state", "confirmed"), ("outbox", "f" * 64)):
        table.add_row(what, which)

    WholeConsole(width=50, force_terminal=True, color_system=None).print(table)

    lines = capsys.readouterr().out.splitlines()
    assert lines == ["what   which", "state  confirmed", "outbox " + "f" * 64]
