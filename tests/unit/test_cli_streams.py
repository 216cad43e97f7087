"""Standard streams that are closed, full, or of few letters: a sentence, or it simply works."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
from pathlib import Path

import pytest

from audience_sync.cli import codes, setup, start, streams, written


class Full(io.StringIO):
    """A stream on a disk without room."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_output_without_room_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a sentence on stderr, with --json too, where the document cannot be written either."""
    for words in (["schema"], ["schema", "--debug"], ["nonsense", "--json"]):
        with monkeypatch.context() as patched:
            patched.setattr("sys.stdout", Full())
            assert start.run(words) != codes.DONE
    told = " ".join(capsys.readouterr().err.split())
    assert told.count("audience-sync: a disk is full or fails") == 2
    assert "something unexpected" not in told


def test_output_without_room_at_the_end_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is written with the last flush only is lost as well; the code is not 0."""
    monkeypatch.setattr("sys.argv", ["audience-sync", "--version"])
    with open("/dev/full", "w", encoding="utf-8") as full:  # noqa: PTH123 - a device
        monkeypatch.setattr("sys.stdout", full)
        with pytest.raises(SystemExit) as ended:
            start.run_and_exit()
    assert ended.value.code == codes.FAILED
    assert "a disk is full or fails" in " ".join(capsys.readouterr().err.split())


def test_nobody_can_be_told_on_a_full_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    """The code is what it is all the same."""
    monkeypatch.setattr("sys.stderr", Full())
    assert start.run(["nonsense"]) == codes.USAGE


def test_a_file_that_cannot_be_opened_is_not_told_as_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error of the system that names a file is about that file."""

    def broken() -> Path:
        raise OSError(errno.ENOSPC, "full", "a file")

    monkeypatch.setattr(setup, "_new_project_file", broken)
    assert start.run(["init"]) == codes.FAILED
    assert "a disk is full or fails" not in capsys.readouterr().err


def test_a_closed_stream_goes_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python has None in its place; nothing that is printed may reach the file opened next."""
    monkeypatch.setattr("sys.stderr", io.StringIO())
    for name in ("stdin", "stdout"):
        monkeypatch.setattr(sys, name, None)
    numbers: list[int] = []

    def nowhere(number: int) -> io.StringIO:
        numbers.append(number)
        return io.StringIO()

    monkeypatch.setattr(streams, "_nowhere", nowhere)
    streams.make_ready()
    assert numbers == [0, 1]
    assert sys.stdin.read() == ""
    assert sys.stdout.write("to nobody")


def test_any_letter_is_written_to_a_terminal_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A document stays one, our own signs have plain ones, and names are told escaped."""
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.StringIO())
    streams.make_ready()
    sent = io.BytesIO()
    stream = io.TextIOWrapper(sent, encoding="ascii", errors="audience-sync-escaped")
    name = "Åsa 😀"
    stream.write(json.dumps({"name": name}, ensure_ascii=False))
    stream.write("\n✓ torn \udcff")
    stream.flush()
    document, sentence = sent.getvalue().decode().split("\n")
    assert json.loads(document) == {"name": name}
    assert sentence == "+ torn \\udcff"


def test_no_columns_are_an_unknown_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of no width would show nothing at all."""
    monkeypatch.setenv("COLUMNS", "0")
    assert written.console(page=77).width == 77
    monkeypatch.setenv("COLUMNS", "60")
    assert written.console(page=77).width == 60
