"""Ctrl-C while a command is at work: told once, and never lost."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from audience_sync.cli.ending import STOPPING, patient


@pytest.fixture(autouse=True)
def usual() -> Iterator[None]:
    """Ctrl-C as Python answers it, and nothing of ours left behind."""
    before, hook = signal.signal(signal.SIGINT, signal.default_int_handler), sys.unraisablehook
    yield
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler
    assert sys.unraisablehook is hook


class Freed:
    """Ctrl-C comes while it is freed, where Python drops whatever is raised."""

    def __init__(self, error: type[BaseException] | None = None) -> None:
        self.error = error

    def __del__(self) -> None:
        if self.error is not None:
            raise self.error
        signal.raise_signal(signal.SIGINT)


def _at_once(told: list[str]) -> None:
    with patient(told.append):
        signal.raise_signal(signal.SIGINT)


def _free(told: list[str]) -> None:
    with patient(told.append):
        freed: Any = Freed()
        del freed
        time.sleep(20)


def _free_at_the_end(told: list[str]) -> None:
    with patient(told.append):
        freed: Any = Freed()
        del freed


@pytest.mark.parametrize("work", [_at_once, _free, _free_at_the_end])
def test_ctrl_c_ends_the_work_wherever_it_comes(
    work: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    """Also where Python itself would print a traceback and go on: all would be sent."""
    told: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        work(told)
    assert told == [STOPPING]
    assert capfd.readouterr() == ("", "")


def test_other_errors_that_python_drops_are_told_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """By whoever was there before."""
    seen: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda dropped: seen.append(dropped.exc_type))
    with patient():
        freed: Any = Freed(LookupError)
        del freed
    assert seen == [LookupError]
    monkeypatch.undo()
