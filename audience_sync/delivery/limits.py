"""How fast requests may leave for one account, counted together with all who share its board."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from hashlib import sha256

from audience_sync.connector import Limits
from audience_sync.delivery.board import Board, LocalBoard, Rate
from audience_sync.delivery.circuit import LONGEST, Circuit, WithheldError
from audience_sync.delivery.slots import Slots

MINUTE = 60  # seconds
DAY = 24 * 60 * MINUTE  # seconds
PATIENCE = 30.0  # seconds spent waiting in one call; a longer wait belongs to the task queue


class Gate:
    """What everybody who sends to one account passes through; threads share it.

    `account` may be any words: only their digest reaches the board.
    """

    def __init__(
        self,
        account: str,
        board: Board | None = None,
        *,
        patience: float = PATIENCE,
        longest_rest: float = LONGEST,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._account = account
        self._board = LocalBoard(clock) if board is None else board
        self._patience = patience
        self._longest_rest = longest_rest
        self._sleep = sleep
        self._slots = Slots(self._board, patience=patience, clock=clock, sleep=sleep)
        self._rates: tuple[Rate, ...] = ()
        self._parallel = 1

    def limit(self, limits: Limits) -> None:
        """Keep these limits from now on."""
        self._rates = rates_of(limits)
        self._parallel = max(1, limits.parallel_uploads)

    def wait(self, *, rested: bool = False) -> None:
        """Sleep until the next request may leave; `rested` when the partner's wait was slept.

        A `WithheldError`, and no request is counted, when that takes longer than our patience.
        """
        rest = 0.0 if rested else self._board.remaining(self._key("rest"))
        self._pause(rest, 0.0, "the partner asked all of us to wait")
        spent = rest
        while (pause := self._board.take(self._key("rate"), self._rates)) > 0:
            self._pause(pause, spent, "as much was sent as the partner takes for now")
            spent += pause

    def rest(self, seconds: float) -> None:
        """Let nothing leave for so many seconds, from any worker."""
        if seconds > 0:
            self._board.hold(self._key("rest"), min(seconds, DAY))

    def circuit(self, server: str) -> Circuit:
        """The circuit to a server that this account uses."""
        return Circuit(self._board, self._key("circuit", server), self._longest_rest)

    def slots(self, audience: str, wanted: int) -> AbstractContextManager[int]:
        """Some of the uploads that the partner takes at a time for an audience; see `Slots`."""
        return self._slots.some(self._key("uploads", audience), self._parallel, wanted)

    def _pause(self, seconds: float, spent: float, why: str) -> None:
        if spent + seconds > self._patience:
            raise WithheldError(f"{why}; the delivery goes on by itself", retry_after=seconds)
        if seconds > 0:
            self._sleep(seconds)

    def _key(self, kind: str, more: str = "") -> str:
        return f"{kind}:{sha256(f'{self._account} {more}'.encode()).hexdigest()[:32]}"


def rates_of(limits: Limits) -> tuple[Rate, ...]:
    """What a connector declares, the shortest time first."""
    declared = (
        (limits.requests_per_second, 1),
        (limits.requests_per_minute, MINUTE),
        (limits.requests_per_day, DAY),
    )
    return tuple(Rate(requests, seconds) for requests, seconds in declared if requests)
