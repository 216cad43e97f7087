"""How fast requests may leave for one account, within this process."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

MINUTE = 60.0  # seconds


class Pace:
    """At most so many requests in any sixty seconds, and a rest when the partner asks for one.

    `wait` reserves a place and sleeps until it comes; callers on other threads queue behind it.
    """

    def __init__(
        self,
        per_minute: int | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._places: deque[float] = deque(maxlen=per_minute)
        self._not_before = 0.0

    def wait(self) -> None:
        """Sleep until the next request may leave."""
        pause = self._reserve() - self._clock()
        if pause > 0:
            self._sleep(pause)

    def rest(self, seconds: float) -> None:
        """Let nothing leave for so many seconds."""
        with self._lock:
            self._not_before = max(self._not_before, self._clock() + seconds)

    def _reserve(self) -> float:
        with self._lock:
            place = max(self._clock(), self._not_before)
            if self._per_minute is not None:
                if len(self._places) == self._per_minute:
                    place = max(place, self._places[0] + MINUTE)
                self._places.append(place)
            return place

    def __getstate__(self) -> dict[str, Any]:
        """A copy in another process starts with an empty minute."""
        return {
            "_per_minute": self._per_minute,
            "_clock": self._clock,
            "_sleep": self._sleep,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(  # type: ignore[misc] # the way to start afresh from a copied state
            state["_per_minute"], clock=state["_clock"], sleep=state["_sleep"]
        )
