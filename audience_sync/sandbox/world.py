"""What all simulated partners share: the clock, the faults, the journal, one call and its reply."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson

from audience_sync.sandbox.faults import Fault, Faults
from audience_sync.sandbox.options import SandboxOptions

JOURNAL_LENGTH = 100_000  # requests remembered; older ones are forgotten


class Clock:
    """The time as the partners see it: the real one plus what tests have advanced."""

    def __init__(self) -> None:
        self.advanced = 0.0

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time() + self.advanced

    def iso(self) -> str:
        """Now, as partners write it."""
        return datetime.fromtimestamp(self.now(), UTC).isoformat().replace("+00:00", "Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One HTTP request to a partner; never prints what it carries."""

    method: str
    path: str  # below the partner's own path, without a leading slash
    query: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)  # names in lower case
    body: bytes = field(repr=False)
    body_sha256: str
    base: str  # the URL that the partner is served under
    memory: dict[str, Any] = field(default_factory=dict, repr=False)  # what was read once


@dataclass(slots=True, kw_only=True)
class Reply:
    """A partner's answer, and what the journal keeps of it."""

    status: int = 200
    content: Any = field(default=None, repr=False)  # JSON, or bytes to send as they are
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    outcome: str = "ok"  # or the partner's own code
    account: str | None = None
    list_id: str | None = None
    rows: int = 0

    def body(self) -> bytes:
        """The bytes to send."""
        return self.content if isinstance(self.content, bytes) else orjson.dumps(self.content)


class Partner(Protocol):
    """A simulated partner."""

    name: str

    def operation(self, call: Call) -> str:
        """What the request wants, in one word: the name that faults and the journal use."""
        ...

    def answer(self, call: Call, fault: Fault | None) -> Reply:
        """The answer of a partner that works; `fault` may bend it, e.g. reject some rows."""
        ...

    def refuse(self, call: Call, fault: Fault) -> Reply:
        """The answer of a partner that does not: rate limits, server errors, expired tokens."""
        ...

    def lists(self) -> list[dict[str, Any]]:
        """Every list with its counts, without identifiers."""
        ...

    def members(self, list_id: str, *, people: bool) -> dict[str, list[str]] | None:
        """The identifiers that a list holds, by kind; None when there is no such list."""
        ...

    def accept_terms(self, account: str, *, accepted: bool) -> None:
        """Sign or withdraw the terms of service of an account."""
        ...


class World:
    """Everything that outlives one request, except the partners' own lists."""

    def __init__(self, options: SandboxOptions) -> None:
        self.options = options
        self.clock = Clock()
        self.faults = Faults()
        self.journal: deque[dict[str, Any]] = deque(maxlen=JOURNAL_LENGTH)
        self.latency = 0.0  # seconds before every answer
        self.closing = False
