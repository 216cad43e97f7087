"""What answers a signal for a while; light, since it is needed before anything is loaded."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def at_signal(number: int, stop: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """While the block runs, the signal is answered so; in another thread than the main one not."""
    try:
        before = signal.signal(number, stop)
    except ValueError:  # only the main thread may listen to signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(number, before)
