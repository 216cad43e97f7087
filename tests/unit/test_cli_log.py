"""The transfer log as people read it, on narrow terminals and in pipes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from ledger_contract.builders import line

from audience_sync.cli import ending
from audience_sync.cli.ledgers import print_log
from audience_sync.ledger.records.log import Event, LoggedLine

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
RUN = "r20261122-4kge6jwe7q"
FAILURE = (
    "failed: TikTok keeps at least 1,000 people on a list made from files; set flow: streaming, or "
    "set on_refused_removal (HTTP 400, code 40002)"
)


def lines() -> list[LoggedLine]:
    sent = line(event=Event.OUTCOME, run=RUN, accepted=10_000, status=200)
    failed = replace(sent, accepted=0, unattributed=1, sent=1, status=400, note=FAILURE)
    return [
        LoggedLine(sequence=at, at=NOON, line=one, previous_hash="", hash="")
        for at, one in enumerate([replace(sent, event=Event.INTENT), sent, failed], start=1)
    ]


@pytest.mark.parametrize("width", [80, 120])
def test_a_failure_has_room_on_a_usual_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    """No word is broken, and a long sentence does not run down a narrow column."""
    monkeypatch.setenv("COLUMNS", str(width))
    print_log(lines(), 0, UTC)
    told = capsys.readouterr().out.splitlines()
    assert max(map(len, told)) <= width
    assert len(told) <= 11
    text = " ".join(" ".join(told).split())
    assert FAILURE in text
    assert "lapsed-vip, meta-se add 10,000: 10,000 accepted" in text
    assert text.count(RUN) == 3


def test_what_reads_a_pipe_finds_a_line_of_the_log_in_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With columns that can be cut."""
    print_log(lines(), 0, UTC)
    head, *told = capsys.readouterr().out.splitlines()
    assert head.split() == ["#", "when", "UTC", "run", "list", "what", "result"]
    assert len(told) == 3
    assert told[2].endswith(FAILURE)


def test_sentences_on_stderr_are_folded_as_the_terminal_is_wide(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between words; what reads a pipe finds the whole sentence, and lines that are meant stay."""
    ending.say(f"{FAILURE}\nsecond")
    assert capsys.readouterr().err == f"{FAILURE}\nsecond\n"
    monkeypatch.setenv("COLUMNS", "60")
    ending.say(f"{FAILURE}\nsecond")
    told = capsys.readouterr().err.splitlines()
    assert max(map(len, told)) <= 60
    assert len(told) == 4
    assert " ".join(told[:3]) == FAILURE
    assert told[3] == "second"
