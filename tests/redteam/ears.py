"""Hears what a process says and writes: every library's log at DEBUG, files that go again."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

# Those whose debug lines would hold bodies, rows, addresses or messages.
_LIBRARIES = (
    *("sqlalchemy", "urllib3", "requests", "asyncio", "paramiko", "psycopg", "alembic", "fsspec"),
    *("redis", "kombu", "celery", "amqp", "uvicorn", "fastapi", "botocore", "s3fs", "google"),
)
_SQLITE = (".sqlite", ".sqlite-wal", ".sqlite-shm", ".db", ".db-wal", ".db-shm")


class Ears:
    """What was heard; searched when all is over."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._said = io.StringIO()
        self._lock = threading.Lock()
        self.gone: dict[str, bytes] = {}  # files, by number and name, as they were at their end

    @property
    def said(self) -> str:
        """All log lines, with the whole traceback of each exception, and of what it came from."""
        return self._said.getvalue()

    def say(self, line: str) -> None:
        """Note a line."""
        with self._lock:
            self._said.write(line + "\n")

    def watch(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An audit hook: keeps what a file of the folder holds before it is removed or renamed."""
        if event not in ("os.remove", "os.rename"):
            return
        path = os.fsdecode(arguments[0])
        if path.startswith(self._folder) and not path.endswith(_SQLITE):
            with contextlib.suppress(OSError), self._lock:
                name = Path(path).relative_to(self._folder)
                self.gone[f"{len(self.gone)} {name}"] = Path(path).read_bytes()


_USUAL = frozenset(vars(logging.makeLogRecord({})))


class _Everything(logging.Handler):
    def __init__(self, ears: Ears) -> None:
        super().__init__(logging.NOTSET)
        self._ears = ears

    def emit(self, record: logging.LogRecord) -> None:
        more = {name: value for name, value in vars(record).items() if name not in _USUAL}
        line = f"{record.levelname} {record.name} {record.getMessage()} {record.args} {more}"
        raised = record.exc_info[1] if record.exc_info else None
        while raised is not None:  # whatever caused it, even what `from None` hides
            line += f"\n  {raised!r}"
            raised = raised.__cause__ or raised.__context__
        self._ears.say(line)


_WATCHING: list[Ears] = []  # an audit hook stays for ever


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    for ears in tuple(_WATCHING):
        ears.watch(event, arguments)


@cache
def _hear_for_ever() -> None:
    sys.addaudithook(_hook)


@contextmanager
def listening(folder: Path) -> Iterator[Ears]:
    """Hear everything that this process does meanwhile, at DEBUG whatever level is asked for.

    What a library says is unheard only where our own code made that library's logger silent.
    """
    ears = Ears(folder)
    root = logging.getLogger()
    handler, level = _Everything(ears), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    vars(root)["setLevel"] = lambda _level: None  # journal.set_up would make libraries silent
    before = loud()
    others = {other: other.level for other in root.handlers if other is not handler}
    for other in others:  # pytest's would write down all of it, too
        other.setLevel(logging.CRITICAL)
    _hear_for_ever()
    _WATCHING.append(ears)
    try:
        yield ears
    finally:
        _WATCHING.remove(ears)
        del vars(root)["setLevel"]
        root.setLevel(level)
        root.removeHandler(handler)
        for other, kept in others.items():
            other.setLevel(kept)
        for name, was in before.items():
            logging.getLogger(name).setLevel(was)


def loud() -> dict[str, int]:
    """Ask every library for its debug lines by name; what their levels were before."""
    before = {name: logging.getLogger(name).level for name in _LIBRARIES}
    for name in before:
        logging.getLogger(name).setLevel(logging.DEBUG)
    return before
