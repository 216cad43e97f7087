"""The command line. Only `main` is public; commands are imported when one of them is called."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
from types import FrameType

from audience_sync.cli.streams import make_ready
from audience_sync.crashing import leave_no_core

__all__ = ["main"]


# Modules make half a million objects that stay; looking through them again and again for rubbish
# takes a sixth of a start.
_OBJECTS = 100_000
_codes: list[int] = []  # that the process ends with, once it is known


def main() -> None:
    """Run `audience-sync` with the arguments of this process, and end the process."""
    atexit.register(_leave)  # the first one registered is called last
    leave_no_core()
    make_ready()
    gc.set_threshold(_OBJECTS)
    # Nothing has begun while modules are loaded: Ctrl-C ends the process without an exception,
    # which would be told as a traceback and makes some compiled modules crash.
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, _stop)
    from audience_sync.cli.start import run_and_exit  # noqa: PLC0415 - keeps the import light

    signal.signal(signal.SIGINT, before)
    try:
        run_and_exit()
    except SystemExit as ended:
        _codes.append(ended.code if isinstance(ended.code, int) else 1)
        raise


def _leave() -> None:
    """End before libraries take their threads down: that may abort the process, or never end.

    Arrow's reader of a CSV that it refuses leaves a task behind, and its pool of threads may wait
    for that at the end for ever, or be gone before it. Everything of Python's own was done by now.
    """
    if _codes and "pyarrow" in sys.modules:
        os._exit(_codes[0])


def _stop(number: int, _frame: FrameType | None) -> None:
    """Say that nothing was sent, and end by the signal, as who started the process expects."""
    os.write(2, b"\naudience-sync: interrupted; nothing was sent\n")
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
