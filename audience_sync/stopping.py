"""Whether the work of this process is to end soon: it looks here between two steps."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, current_thread, main_thread

from audience_sync.errors import BusyError

_asked = Event()
_deadlines: list[float] = []


class StoppedError(BusyError):
    """The work ended before its end, in order; somebody else goes on with it."""


def stop() -> None:
    """Ask all work of this process to end: what is under way is finished, nothing is begun."""
    _asked.set()


def listen_alone() -> None:
    """Answer Ctrl-C as Python was told to, or ignore it, whoever was imported meanwhile.

    polars puts a handler of its own before Python's: threads in the middle of its work, which is
    to be finished, would be interrupted, also in a worker's child, which ignores Ctrl-C.
    """
    told = signal.getsignal(signal.SIGINT)
    if told is not None and current_thread() is main_thread():
        signal.signal(signal.SIGINT, told)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Ask the work of the block to end when it has taken so long."""
    _deadlines.append(time.monotonic() + seconds)
    try:
        yield
    finally:
        _deadlines.pop()


def refuse_to_go_on() -> None:
    """Raise a `StoppedError` when the work was asked to end."""
    if _asked.is_set():
        raise StoppedError("this process was told to stop; the work is handed back")
    if any(time.monotonic() >= deadline for deadline in list(_deadlines)):
        raise StoppedError("the work has had its time for now; it goes on in another turn")


def _begin_anew() -> None:
    """Forget that anybody asked, as a test must."""
    _asked.clear()
