"""The thread that sends withdrawals on their way after they were taken in and answered."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from audience_sync.errors import AudienceSyncError, BusyError, places

EVERY = 30.0  # seconds; what a crash or another process left is gone on with so soon
LEAST = 0.05  # seconds between two deliveries

_log = logging.getLogger(__name__)


Deliver = Callable[[], float | None]


class Lane:
    """Calls `deliver` whenever it is woken, and every half minute; nothing that fails ends it.

    `deliver` may answer in how many seconds there is more to do.
    """

    def __init__(self, deliver: Deliver, every: float = EVERY) -> None:
        self._deliver = deliver
        self._every = every
        self._woken = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="withdrawals", daemon=True)

    def start(self) -> None:
        """Begin, with what may have been left by an earlier process."""
        self._woken.set()
        self._thread.start()

    def wake(self) -> None:
        """Something is there to be delivered; returns at once."""
        self._woken.set()

    @property
    def alive(self) -> bool:
        """Whether the thread is there."""
        return self._thread.is_alive()

    def end(self, patience: float = 30.0) -> None:
        """Wait for the delivery under way, and begin none; what is left stays in the ledger."""
        self._ending.set()
        self._woken.set()
        self._thread.join(patience)

    def _run(self) -> None:
        again: float | None = None
        while not self._ending.is_set():
            self._woken.wait(self._every if again is None else max(LEAST, min(again, self._every)))
            self._woken.clear()
            if not self._ending.is_set():
                again = self._once()

    def _once(self) -> float | None:
        try:
            return self._deliver()
        except BusyError as error:
            _log.info("Withdrawals wait for their turn: %s", error)
        except AudienceSyncError as error:
            _log.error("Withdrawals could not be delivered and are tried again: %s", error)
        except Exception as error:  # noqa: BLE001 - the text of a stranger's exception is not ours to log
            _log.error("Delivering failed: %s at %s", type(error).__name__, places(error))
        return None
