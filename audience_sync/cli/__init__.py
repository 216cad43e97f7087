"""The command line. Only `main` is public; commands are imported when one of them is called."""

from __future__ import annotations

import atexit
import gc
import os
import sys

from audience_sync.cli.loading import loading
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
    with loading():
        from audience_sync.cli.start import run_and_exit  # noqa: PLC0415 - keeps the import light

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
