"""Where workers tell each other how things stand with an account: within one process, in memory.

`RedisBoard` is the same for all workers of all machines.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Rate:
    """At most so many requests in any so many seconds."""

    requests: int
    seconds: int


class Board(Protocol):
    """Notes that end by themselves, counters, and places; keys name no account in plain words."""

    def take(self, key: str, rates: Sequence[Rate]) -> float:
        """Count one request and answer 0, or the seconds until asking again is worth while."""
        ...

    def hold(self, key: str, seconds: float) -> None:
        """Keep a note for at least so long."""
        ...

    def remaining(self, key: str) -> float:
        """For how many seconds more a note is kept; 0 when there is none."""
        ...

    def claim(self, key: str, seconds: float) -> bool:
        """Keep a note for so long, unless there is one already; whether it was ours to keep."""
        ...

    def count(self, key: str, seconds: float) -> int:
        """How often this was called, forgotten so long after the last time."""
        ...

    def forget(self, *keys: str) -> None:
        """Take notes and counters off."""
        ...

    def enter(self, key: str, places: int, name: str, seconds: float) -> bool:
        """Take one of so many places, or go on holding it; it is free again after so long."""
        ...

    def leave(self, key: str, name: str) -> None:
        """Give a place back."""
        ...


class LocalBoard:
    """The board of one process; a copy in another process starts empty."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._left: dict[tuple[str, Rate], deque[float]] = {}
        self._notes: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._places: dict[str, dict[str, float]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return LocalBoard, (self._clock,)

    def take(self, key: str, rates: Sequence[Rate]) -> float:
        """See `Board.take`."""
        with self._lock:
            now = self._clock()
            windows = [
                (rate, self._left.setdefault((key, rate), deque(maxlen=rate.requests)))
                for rate in rates
            ]
            waits = [
                left[0] + rate.seconds - now for rate, left in windows if len(left) == rate.requests
            ]
            wait = max(waits, default=0.0)
            if wait > 0:
                return wait
            for _, left in windows:
                left.append(now)
            return 0.0

    def hold(self, key: str, seconds: float) -> None:
        """See `Board.hold`."""
        with self._lock:
            self._notes[key] = max(self._notes.get(key, 0.0), self._clock() + seconds)

    def remaining(self, key: str) -> float:
        """See `Board.remaining`."""
        with self._lock:
            return self._remaining(key)

    def claim(self, key: str, seconds: float) -> bool:
        """See `Board.claim`."""
        with self._lock:
            if self._remaining(key) > 0:
                return False
            self._notes[key] = self._clock() + seconds
            return True

    def count(self, key: str, seconds: float) -> int:
        """See `Board.count`."""
        with self._lock:
            counted = self._counts.get(key, 0) if self._remaining(key) > 0 else 0
            self._notes[key] = self._clock() + seconds
            self._counts[key] = counted + 1
            return counted + 1

    def forget(self, *keys: str) -> None:
        """See `Board.forget`."""
        with self._lock:
            for key in keys:
                self._notes.pop(key, None)
                self._counts.pop(key, None)

    def enter(self, key: str, places: int, name: str, seconds: float) -> bool:
        """See `Board.enter`."""
        with self._lock:
            now = self._clock()
            held = self._places.setdefault(key, {})
            for other in [other for other, until in held.items() if until <= now]:
                del held[other]
            if name not in held and len(held) >= places:
                return False
            held[name] = now + seconds
            return True

    def leave(self, key: str, name: str) -> None:
        """See `Board.leave`."""
        with self._lock:
            self._places.get(key, {}).pop(name, None)

    def _remaining(self, key: str) -> float:
        return max(0.0, self._notes.get(key, 0.0) - self._clock())
