"""Who holds a lease: this process, by host, number and start time, and whether such a one lives."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def this_process() -> str:
    """A name for this process that no later one on this host will have."""
    number = os.getpid()
    return f"{socket.gethostname()}:{number}:{_started(number)}"


def alive(holder: str) -> bool:
    """Whether a holder still runs; True when it is on another host, where we cannot know."""
    host, _, rest = holder.partition(":")
    number, _, started = rest.partition(":")
    if host != socket.gethostname() or not number.isdigit():
        return True
    return _started(int(number)) == started


def _started(number: int) -> str:
    """When a process started, in the kernel's ticks; "gone" when there is none."""
    try:
        # Everything before the last bracket is the program's name, which may hold anything.
        fields = Path(f"/proc/{number}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return "unknown" if number == os.getpid() else "gone"
    return fields[19]
