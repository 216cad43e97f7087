"""What went over the wire for one upload, for the transfer log: a digest and counts, no bodies."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Exchange:
    """The requests of one upload: how many, and the last answer's HTTP status and partner code."""

    status: int | None = None
    code: str | None = None
    attempts: int = 0
    uncertain: bool = False  # a request may have changed something, as far as its answer tells
    permit: Callable[[], None] = lambda: None  # raises where nothing may be sent any more
    _digest: Any = field(default=None, repr=False)
    _seen: set[tuple[int, int]] = field(default_factory=set, repr=False)

    @property
    def body_sha256(self) -> str | None:
        """SHA-256, in hex, of the distinct request bodies one after the other; None without any."""
        return None if self._digest is None else str(self._digest.hexdigest())

    def sends(self, body: bytes | None) -> None:
        """Take note of a request's body; one that is sent again counts once."""
        if body is None or (key := (len(body), hash(body))) in self._seen:
            return
        self._seen.add(key)
        if self._digest is None:
            self._digest = hashlib.sha256()
        self._digest.update(body)


_CURRENT: ContextVar[Exchange | None] = ContextVar("exchange", default=None)


def current() -> Exchange | None:
    """The exchange that is being recorded on this thread, if any."""
    return _CURRENT.get()


@contextmanager
def recording() -> Iterator[Exchange]:
    """Record what this thread exchanges with a partner until the block ends."""
    exchange = Exchange()
    token = _CURRENT.set(exchange)
    try:
        yield exchange
    finally:
        _CURRENT.reset(token)
