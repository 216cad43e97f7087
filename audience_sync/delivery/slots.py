"""Places for parallel uploads, held by leases that end soon after their worker died."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from audience_sync.delivery.board import Board
from audience_sync.delivery.circuit import WithheldError

LEASE = 15.0  # seconds
RENEW_EVERY = 5.0  # seconds
_FIRST_WAIT = 0.05  # seconds; doubles
_LONGEST_WAIT = 1.0  # seconds


class Slots:
    """At most so many holders of one key at a time, whichever process they are in."""

    _lock: threading.Lock
    _held: dict[str, tuple[str, int]]
    _keeper: threading.Thread | None

    def __init__(
        self,
        board: Board,
        *,
        patience: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        every: float = RENEW_EVERY,
    ) -> None:
        self._board = board
        self._patience = patience
        self._clock = clock
        self._sleep = sleep
        self._every = every
        self._begin()

    @contextmanager
    def some(self, key: str, places: int, wanted: int) -> Iterator[int]:
        """Hold places during the block, as many as are wanted and free: at least one.

        A `WithheldError` when not one becomes free in time.
        """
        names = [uuid.uuid4().hex for _ in range(max(1, min(wanted, places)))]
        self._wait(key, places, names[0])
        held = [names[0], *(n for n in names[1:] if self._board.enter(key, places, n, LEASE))]
        with self._lock:
            self._held |= dict.fromkeys(held, (key, places))
            if self._keeper is None:
                self._keeper = threading.Thread(target=self._keep, name="slots", daemon=True)
                self._keeper.start()
        try:
            yield len(held)
        finally:
            with self._lock:
                for name in held:
                    del self._held[name]
            for name in held:
                self._board.leave(key, name)

    def _wait(self, key: str, places: int, name: str) -> None:
        end, pause = self._clock() + self._patience, _FIRST_WAIT
        while not self._board.enter(key, places, name, LEASE):
            if self._clock() + pause > end:
                raise WithheldError(
                    "other workers make all the uploads that the partner takes at a time",
                    retry_after=LEASE,
                )
            self._sleep(pause)
            pause = min(2 * pause, _LONGEST_WAIT)

    def _keep(self) -> None:
        """Renew what is held, from a thread that ends when nothing is."""
        while True:
            time.sleep(self._every)
            with self._lock:
                held = dict(self._held)
                if not held:
                    self._keeper = None
                    return
            for name, (key, places) in held.items():
                self._board.enter(key, places, name, LEASE)
                if name not in self._held:  # given back meanwhile
                    self._board.leave(key, name)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._held = {}
        self._keeper = None

    def __getstate__(self) -> dict[str, Any]:
        """A copy in another process holds nothing."""
        return {
            name: value
            for name, value in vars(self).items()
            if name not in ("_lock", "_held", "_keeper")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._begin()
