"""The circuit to one server: open after repeated failures, closed again by one probe."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from audience_sync.connector import PartnerError, TemporaryPartnerError
from audience_sync.delivery.board import Board

FAILURES = 5  # calls in a row, each of which had tried several times
COOL = 60.0  # seconds; doubled with every probe that fails
LONGEST = 300.0  # seconds, unless the settings say otherwise
_REMEMBERED = 3600.0  # seconds; a failure that long ago says nothing any more
_PROBE = 120.0  # seconds; a probe that takes longer died with its worker
_ASK_AGAIN = 10.0  # seconds until the others look whether the probe has ended

T = TypeVar("T")


class WithheldError(TemporaryPartnerError):
    """Nothing was sent now: the wait would be longer than a worker may sleep."""


class Circuit:
    """Asked before each call and told of its end; all workers share it by their board.

    No pause between two probes is longer than `longest` seconds.
    """

    def __init__(self, board: Board, key: str, longest: float = LONGEST) -> None:
        self._board = board
        self._longest = longest
        self._failures = f"{key}:failures"
        self._open = f"{key}:open"
        self._tripped = f"{key}:tripped"
        self._probe = f"{key}:probe"

    def through(self, call: Callable[[], T], patience: float) -> T:
        """Make a call if it is let through, and take note of how it ended.

        A wait that the partner announced, longer than `patience` seconds, is no failure.
        """
        self.permit()
        end = self.untold
        try:
            made = call()
            end = self.succeeded
        except TemporaryPartnerError as error:
            announced = error.retry_after is not None and error.retry_after > patience
            if not announced and not isinstance(error, WithheldError):
                end = self.failed
            raise
        except PartnerError as error:
            end = self.untold if error.status is None else self.succeeded
            raise
        finally:
            end()
        return made

    def permit(self) -> None:
        """Let a call through, or raise a `WithheldError` with the time to come back."""
        wait = self._board.remaining(self._open)
        if wait <= 0 and self._board.remaining(self._tripped) > 0:
            if self._board.claim(self._probe, _PROBE):
                return
            wait = min(self._board.remaining(self._probe), _ASK_AGAIN)
        if wait > 0:
            raise WithheldError(
                "the partner failed again and again, so it is left alone for a while",
                retry_after=wait,
            )

    def succeeded(self) -> None:
        """The partner answered, whatever it said."""
        self._board.forget(self._failures, self._open, self._tripped, self._probe)

    def failed(self) -> None:
        """The partner did not answer in time, or only that it cannot."""
        if self._board.remaining(self._open) > 0:
            return  # a call from before it opened: no news
        failures = self._board.count(self._failures, _REMEMBERED)
        if failures >= FAILURES:
            cool = min(COOL * 2 ** min(failures - FAILURES, 10), self._longest)
            self._board.hold(self._open, cool)
            self._board.hold(self._tripped, cool + _REMEMBERED)
        self._board.forget(self._probe)

    def untold(self) -> None:
        """The call ended without a word from the partner; another may probe."""
        self._board.forget(self._probe)
