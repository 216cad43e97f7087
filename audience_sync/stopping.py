"""Whether the work of this process is to end soon: it looks here between two steps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

from audience_sync.errors import BusyError

_asked = Event()
_deadlines: list[float] = []


class StoppedError(BusyError):
    """The work ended before its end, in order; somebody else goes on with it."""


def stop() -> None:
    """Ask all work of this process to end: what is under way is finished, nothing is begun."""
    _asked.set()


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
