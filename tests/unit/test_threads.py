"""Threads whose work a person can stop, whoever else listens to the signals of the process."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import wait
from typing import Any

import pytest

from audience_sync.runs import threads
from audience_sync.runs.threads import WORKERS, Threads, in_order, result

TOO_LONG = 20.0  # seconds


@pytest.fixture(autouse=True)
def deaf() -> Iterator[None]:
    """A Ctrl-C that ends no wait, as where a library listens to it too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.siginterrupt(signal.SIGINT, False)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set when the main thread waits for others."""
    event = threading.Event()

    def noted(*words: Any, **named: Any) -> Any:
        event.set()
        return wait(*words, **named)

    monkeypatch.setattr(threads, "wait", noted)
    return event


@pytest.fixture
def over() -> Iterator[threading.Event]:
    """Set when the work may end."""
    event = threading.Event()
    yield event
    event.set()


def _press_ctrl_c(waits: threading.Event, over: threading.Event) -> bool:
    """Once the main thread waits, while the work goes on."""
    waits.wait(TOO_LONG)
    time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGINT)
    return over.wait(TOO_LONG)


def test_ctrl_c_ends_the_wait_for_a_result(waits: threading.Event, over: threading.Event) -> None:
    """Though the work goes on: else it would be answered only after the last request."""
    begun = []

    def interrupted(threads: Threads) -> None:
        begun.append(threads.submit(_press_ctrl_c, waits, over))
        result(begun[0])

    with Threads(1) as threads:
        with pytest.raises(KeyboardInterrupt):
            interrupted(threads)
        assert begun[0].running()
        over.set()
    assert begun[0].result() is True


def test_ctrl_c_ends_the_wait_for_what_is_left(
    waits: threading.Event, over: threading.Event
) -> None:
    """The second one: the block waits for requests under way, and what waits never begins."""
    begun = []

    def interrupted() -> None:
        with Threads(1) as threads:
            begun.append(threads.submit(over.wait, TOO_LONG))
            begun.append(threads.submit(over.wait, TOO_LONG))
            pressed.start()

    pressed = threading.Thread(target=_press_ctrl_c, args=[waits, over])
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    under_way, waiting = begun
    assert under_way.running()
    assert waiting.cancelled()
    over.set()
    pressed.join()


def test_a_block_ends_when_its_work_has_ended() -> None:
    """None of it is left behind, also beside an error in the block."""
    told: list[int] = []

    def failing() -> None:
        with Threads(2) as threads:
            for number in range(20):
                threads.submit(told.append, number)
            raise LookupError

    with pytest.raises(LookupError):
        failing()
    assert sorted(told) == list(range(20))


def test_an_error_of_the_work_is_raised_where_its_result_is_asked_for() -> None:
    """And nowhere else."""
    with Threads(1) as threads:
        wrong = threads.submit(int, "no number")
        right = threads.submit(int, "7")
    assert result(right) == 7
    with pytest.raises(ValueError, match="no number"):
        result(wrong)


def test_results_come_in_the_order_of_the_items() -> None:
    """However many there are, with few in flight."""
    told: list[int] = []
    taken = []

    def items() -> Iterator[int]:
        for number in range(50):
            taken.append(number)
            assert len(taken) - len(told) <= WORKERS + 2
            yield number

    in_order(lambda number: number * 2, items(), told.append)
    assert told == [number * 2 for number in range(50)]


def test_the_first_error_ends_the_work() -> None:
    """What has not begun never begins."""
    told: list[int] = []
    with pytest.raises(ZeroDivisionError):
        in_order(lambda number: 1 // (number - 3), iter(range(1_000)), told.append)
    assert len(told) == 3
