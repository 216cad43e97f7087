"""Log lines say what they are about: run, audience, destination, partition; nothing personal."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest
from pipeline_world import World, fast_folder, granted

from audience_sync import journal
from audience_sync.errors import RefusedError

_log = logging.getLogger("audience_sync.runs.somewhere")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def told(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_lines_of_a_block_are_marked(capsys: pytest.CaptureFixture[str]) -> None:
    """Inner marks add to outer ones and end with their block; a record's own fields stay."""
    journal.set_up("json")
    with journal.about(run="r1", audience="vip"):
        with journal.about(partition=7):
            _log.info("inside", extra={"batch": 3})
        _log.info("outside")
    _log.info("alone")
    inside, outside, alone = told(capsys)
    marks = {"run": "r1", "audience": "vip"}
    assert marks.items() | {"partition": 7, "batch": 3}.items() <= inside.items()
    assert marks.items() <= outside.items()
    assert "partition" not in outside
    assert not set(marks) & set(alone)


def test_a_mark_never_takes_the_place_of_what_was_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever it is called."""
    journal.set_up("json")
    with journal.about(message="other", level="other"):
        _log.warning("what was said", extra={"logger": "other"})
    [line] = told(capsys)
    assert (line["message"], line["level"]) == ("what was said", "warning")
    assert line["logger"] == "audience_sync.runs.somewhere"


def test_text_lines_add_what_the_sentence_does_not_say(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is said twice."""
    journal.set_up("text")
    with journal.about(run="r1", audience="vip", partition=7):
        _log.info("Run r1 goes on")
        _log.info("vip is done by r1 in partition 7")
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("Run r1 goes on [audience=vip partition=7]")
    assert second.endswith("in partition 7")


def test_marks_travel_to_other_threads_when_they_are_carried(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Several threads at once, each with marks of its own."""
    journal.set_up("json")

    def speak(number: int) -> None:
        with journal.about(partition=number):
            _log.info("spoken")

    with journal.about(run="r1"), ThreadPoolExecutor(4) as pool:
        list(pool.map(journal.carried(speak), range(8)))
    lines = told(capsys)
    assert [line["run"] for line in lines] == ["r1"] * 8
    assert sorted(int(str(line["partition"])) for line in lines) == list(range(8))


def test_every_line_of_a_run_names_it_wherever_it_is_spoken(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Also what goes wrong in a thread that uploads; and no identifier is in any line."""
    here = World(fast_folder())
    here.write([granted(str(n), email=f"canary{n}@example.com") for n in range(3)])
    journal.set_up("json")

    def fault(when: str, _operation: str) -> None:
        if when == "before":
            raise KeyError("canary0@example.com")

    here.partner.fault = fault
    outcome = here.sync()
    assert isinstance(outcome.error or RefusedError("-"), RefusedError)
    assert outcome.run is not None
    lines = told(capsys)
    assert lines
    for line in lines:
        assert line["run"] == outcome.run.id
        assert (line["audience"], line["destination"]) == ("vip", outcome.run.destination)
        assert b"canary" not in orjson.dumps(line)
