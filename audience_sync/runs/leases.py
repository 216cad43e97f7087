"""The leases that a piece of work holds, renewed as it goes on (L7)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Lock

from audience_sync.errors import BusyError
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records import Lease

LEASE_SECONDS = 600.0  # a holder that died is replaced after so long
_RENEW_AFTER = 60.0  # seconds


class Held:
    """Leases by name; `renew` is cheap to call often and raises BusyError when one was lost."""

    def __init__(
        self,
        ledger: Ledger,
        leases: Mapping[str, Lease],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._leases = dict(leases)
        self._clock = clock
        self._renewed = clock()
        self._lock = Lock()
        self._stopped = False

    def __getitem__(self, name: str) -> Lease:
        return self._leases[name]

    def stop(self) -> None:
        """Let the work end at the next `renew`: somebody pressed Ctrl-C."""
        self._stopped = True

    def renew(self) -> None:
        """Say that we are still at work."""
        if self._stopped:
            raise BusyError("the work was stopped; `audience-sync resume` goes on")
        with self._lock:
            if self._clock() - self._renewed < _RENEW_AFTER:
                return
            self._renewed = self._clock()
            for name, lease in self._leases.items():
                self._leases[name] = self._ledger.renew_lease(lease, LEASE_SECONDS)

    def release(self) -> None:
        """Let others work."""
        for lease in self._leases.values():
            self._ledger.release_lease(lease)
        self._leases.clear()


@contextmanager
def holding(ledger: Ledger, name: str, holder: str) -> Iterator[Held]:
    """Hold one lease; BusyError when another holder has it."""
    held = Held(ledger, {name: ledger.take_lease(name, holder, LEASE_SECONDS)})
    try:
        yield held
    finally:
        held.release()
