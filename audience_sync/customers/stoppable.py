"""Calls of a database's driver that a person can stop with Ctrl-C.

ADBC listens to Ctrl-C itself while a call lasts that the main thread made: it is lost then, or told
as an error of the query. So the call is made by another thread, which the main thread waits for.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, TypeVar

R = TypeVar("R")

_LOOK = 0.2  # seconds between looks whether it is to be stopped


def stoppable(call: Callable[[], R], cancel: Callable[[], Any]) -> R:
    """What a call comes to; whoever stops it has it cancelled, if the driver can.

    It has ended before this does, however often it is stopped: nobody may close what a driver works
    with.
    """
    if threading.current_thread() is not threading.main_thread():
        return call()
    cancelled = False
    with _noted() as stopped, ThreadPoolExecutor(1, thread_name_prefix="statement") as threads:
        begun = threads.submit(call)
        while not begun.done():
            wait([begun], timeout=_LOOK)
            if stopped.is_set() and not cancelled:
                cancelled = True
                with suppress(Exception):
                    cancel()
    if stopped.is_set():
        raise KeyboardInterrupt
    return begun.result()


@contextmanager
def _noted() -> Iterator[threading.Event]:
    """Set at Ctrl-C, which is answered as before but for the exception."""
    stopped, before = threading.Event(), signal.getsignal(signal.SIGINT)

    def note(number: int, frame: FrameType | None) -> None:
        try:
            if callable(before):
                before(number, frame)
        except KeyboardInterrupt:
            stopped.set()

    if callable(before):
        signal.signal(signal.SIGINT, note)
    try:
        yield stopped
    finally:
        if callable(before):
            signal.signal(signal.SIGINT, before)
