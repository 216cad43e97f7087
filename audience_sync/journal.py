"""Logging to stderr, as text for people or JSON for machines; never a traceback unless asked for.

Only our own loggers follow the level that is set. Libraries speak from WARNING on, since their
debug lines may hold bodies and addresses. Every line says what it is about: `about` names the run,
audience, destination or partition for a block, and all that speaks in it is marked so.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from datetime import UTC, datetime
from typing import Any, ParamSpec, TextIO, TypeVar

import orjson

OURS = ("audience_sync", "connectors")
LEVELS = ("debug", "info", "warning", "error", "critical")

P = ParamSpec("P")
R = TypeVar("R")

_ABOUT: ContextVar[Mapping[str, object]] = ContextVar("about", default={})  # noqa: B039 - never changed, only replaced
_NATIVE = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def set_up(form: str = "text", level: str = "info", *, debug: bool = False) -> None:
    """Begin to log, or go on with another form and level; `debug` shows tracebacks."""
    root = logging.getLogger()
    for old in [found for found in root.handlers if isinstance(found, _Stderr)]:
        root.removeHandler(old)
    handler = _Stderr()
    handler.setFormatter(JsonLines(debug=debug) if form == "json" else Text(debug=debug))
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    for name in OURS:
        logging.getLogger(name).setLevel(level.upper() if level in LEVELS else logging.INFO)


@contextmanager
def about(**names: object) -> Iterator[None]:
    """Mark every line of the block with these names and numbers; never with a personal value."""
    token = _ABOUT.set({**_ABOUT.get(), **names})
    try:
        yield
    finally:
        _ABOUT.reset(token)


def carried(work: Callable[P, R]) -> Callable[P, R]:
    """The same work for another thread, with the marks of this one."""
    context = copy_context()

    def begin(*args: P.args, **kwargs: P.kwargs) -> R:
        return context.copy().run(work, *args, **kwargs)

    return begin


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to whatever stderr is at the moment, so that progress bars stay whole."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]  # read anew each time
        """The present stderr."""
        return sys.stderr


class Text(logging.Formatter):
    """One line a record: time, level, logger, sentence, and what it is about but does not say."""

    def __init__(self, *, debug: bool = False) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._debug = debug

    def format(self, record: logging.LogRecord) -> str:
        """The record as text; what another handler made of its exception is not trusted."""
        sentence = record.getMessage()
        said = set(re.findall(r"[\w.-]+", sentence))
        marks = [
            f"{name}={value}" for name, value in _ABOUT.get().items() if str(value) not in said
        ]
        if marks:
            sentence += f" [{' '.join(marks)}]"
        changed = {"exc_text": None, "msg": sentence, "args": None}
        return super().format(logging.makeLogRecord(vars(record) | changed))

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802 - logging's own signature
        """The time in UTC."""
        return _time(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's own name
        """The exception's class; its text could hold a value."""
        return super().formatException(ei) if self._debug else _class_of(ei)


class JsonLines(logging.Formatter):
    """One JSON object a record, with the fields that the caller gave as `extra`."""

    def __init__(self, *, debug: bool = False) -> None:
        super().__init__()
        self._debug = debug

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            whole = self.formatException(record.exc_info) if self._debug else ""
            line["exception"] = whole or _class_of(record.exc_info)
        extra = {key: value for key, value in vars(record).items() if key not in _NATIVE}
        return orjson.dumps({**_ABOUT.get(), **extra, **line}, default=str).decode()


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _class_of(raised: Any) -> str:
    kind = raised[0] if isinstance(raised, tuple) else None
    return "" if kind is None else str(kind.__name__)
