"""Who holds a lease: this process, by host, number and start time, and whether such a one lives."""

from __future__ import annotations

import os
import socket
from pathlib import Path

_UNKNOWN = "unknown"
# A killed process keeps its number until its parent asks how it ended; the first process of a
# container often never asks.
_ENDED = frozenset({"Z", "X", "x"})


def this_process() -> str:
    """A name for this process that no later one on this host will have."""
    number = os.getpid()
    return f"{socket.gethostname()}:{number}:{_status(number)[1]}"


def alive(holder: str) -> bool:
    """Whether a holder still runs; True when it is on another host, where we cannot know."""
    host, _, rest = holder.partition(":")
    number, _, started = rest.partition(":")
    if host != socket.gethostname() or not number.isdigit():
        return True
    state, found = _status(int(number))
    if state in _ENDED:
        return False
    if _UNKNOWN in (started, found):
        return _exists(int(number))
    return found == started


def _status(number: int) -> tuple[str, str]:
    """A process's state in a letter, and when it started, in the kernel's ticks.

    "unknown" when the system does not tell.
    """
    try:
        # Everything before the last bracket is the program's name, which may hold anything.
        fields = Path(f"/proc/{number}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:  # no such process, no /proc, or one that hides others' processes
        return _UNKNOWN, _UNKNOWN
    return fields[0], fields[19]


def _exists(number: int) -> bool:
    """Whether any process has this number, where the system does not tell when it started."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
