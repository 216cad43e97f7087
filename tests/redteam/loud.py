"""Becomes any command, with the log of every library at DEBUG on stderr, and keeps files that go.

`python -m redteam.loud FOLDER command …`; files that are removed are copied into FOLDER.
"""

from __future__ import annotations

import logging
import os
import runpy
import sys
from itertools import count
from pathlib import Path
from typing import Any

from redteam.ears import Ears, loud


class _Aloud(Ears):
    def __init__(self, watched: Path, kept: Path) -> None:
        super().__init__(watched)
        self._kept = kept
        self._numbers = count()

    def keep(self) -> None:
        """Write down what went since the last time."""
        for name, content in self.gone.items():
            made = f"{os.getpid()} {next(self._numbers)} {Path(name).name}"
            (self._kept / made).write_bytes(content)
        self.gone.clear()


def main() -> None:
    """Be as loud as a process can be, and then what it was called for."""
    watched, kept = Path(sys.argv[1]), Path(sys.argv[2])
    del sys.argv[1:3]
    worker = sys.argv[1:2] == ["worker"]
    if worker:
        del sys.argv[1]
    ears = _Aloud(watched, kept)
    busy = False

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal busy
        if busy:
            return
        busy = True
        try:
            ears.watch(event, arguments)
            ears.keep()
        finally:
            busy = False

    sys.addaudithook(hook)
    root = logging.getLogger()
    root.setLevel(logging.DEBUG)
    vars(root)["setLevel"] = lambda _level: None
    loud()
    if worker:  # what `audience-sync worker` becomes
        runpy.run_module("audience_sync.worker", run_name="__main__")
        return
    from audience_sync.cli import main as command  # noqa: PLC0415 - after the hook

    command()


if __name__ == "__main__":
    main()
