"""Ctrl-C while modules are loaded, and a project with them: nothing has begun, so all is ended."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from audience_sync.cli.signals import at_signal


@contextmanager
def loading() -> Iterator[None]:
    """While the block runs Ctrl-C ends the process without an exception, where it would raise one.

    Some compiled modules crash when one meets them half loaded, or drop it: all would be sent.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    with at_signal(signal.SIGINT, _stop):
        yield


def _stop(number: int, _frame: FrameType | None) -> None:
    """Say that nothing was sent, and end by the signal, as who started the process expects."""
    os.write(2, b"\naudience-sync: interrupted; nothing was sent\n")
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
