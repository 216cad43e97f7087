"""Runs one server until standard input ends, then stops it and removes its folder.

A program of its own, so that no server outlives the tests, however they end: a worker that is
killed closes the pipe, too.
"""

from __future__ import annotations

import json
import select
import shutil
import signal
import subprocess
import sys
from typing import Any

_PATIENCE = 30.0  # seconds for a server to stop
_GLANCE = 0.1  # seconds until a server that ended by itself is noticed


def guard(command: list[str], folder: str, account: dict[str, Any]) -> int:
    """The exit code of the server; its folder stays only when it ended by itself."""
    server = subprocess.Popen(  # noqa: S603 - the words of servers.py
        command, stdin=subprocess.DEVNULL, cwd=folder, **account
    )
    while server.poll() is None:
        if select.select([sys.stdin], [], [], _GLANCE)[0]:
            _stop(server)
            shutil.rmtree(folder, ignore_errors=True)
    return server.returncode


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.send_signal(signal.SIGINT)  # PostgreSQL's fast stop; Redis stops, too
    try:
        server.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


if __name__ == "__main__":
    sys.exit(guard(**json.loads(sys.argv[1])))
