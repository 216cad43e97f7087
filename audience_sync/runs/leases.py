"""The leases that a piece of work holds, renewed by a thread of their own while it goes on (L7)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from threading import Event, Lock, Thread
from typing import Self

from audience_sync.errors import AudienceSyncError, BusyError, StateError
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.work import Lease
from audience_sync.stopping import refuse_to_go_on

LEASE_SECONDS = 600.0  # a holder that died is replaced after so long
RENEW_EVERY = 60.0  # seconds
LANE = "withdrawals of "  # begins the name of the lease that a list's withdrawals are sent under
LANE_PATIENCE = 60.0  # seconds that a run waits for a withdrawal to be through with its list
_STEP = 0.2  # seconds between looks


def take_after_lane(
    ledger: Ledger,
    name: str,
    holder: str,
    alive: Callable[[str], bool],
    sleep: Callable[[float], None] = time.sleep,
) -> Lease:
    """The lease of a list; waits where only withdrawals are being taken off it, for seconds."""
    waited = 0.0
    while True:
        try:
            return ledger.take_lease(name, holder, LEASE_SECONDS, alive=alive)
        except BusyError:
            lane = f"{LANE}{name}"
            if waited >= LANE_PATIENCE or lane not in {
                lease.name for lease in ledger.leases_held(lane) if alive(lease.holder)
            }:
                raise
        sleep(_STEP)
        waited += _STEP


class Held:
    """Leases by name: kept alive from `with` to its end, then given back.

    A lease that another took is lost: every later `renew` that concerns it raises. Leases that
    are `borrowed` are kept alive too, and given back by whom they were borrowed from.
    """

    def __init__(
        self,
        ledger: Ledger,
        leases: Mapping[str, Lease],
        *,
        borrowed: Mapping[str, Lease] | None = None,
        every: float = RENEW_EVERY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._own = frozenset(leases)
        self._leases = {**leases, **(borrowed or {})}
        self._every = every
        self._clock = clock
        self._renewed = dict.fromkeys(self._leases, clock())
        self._lost: dict[str, AudienceSyncError] = {}
        self._stopped = False
        self._over = Event()
        self._lock = Lock()  # so that nothing is renewed after it was given back
        self._thread = Thread(target=self._beat, name="leases", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.release()

    def __getitem__(self, name: str) -> Lease:
        return self._leases[name]

    def stop(self) -> None:
        """Let the work end at the next `renew`: somebody pressed Ctrl-C."""
        self._stopped = True

    def renew(self, name: str | None = None) -> None:
        """Go on, or stop with the error of a lease that was lost: the one named, or any.

        Costs nothing; the thread does the work.
        """
        refuse_to_go_on()
        if self._stopped:
            raise BusyError("the work was stopped; `audience-sync resume` goes on")
        lost = dict(self._lost)
        if name is None and lost:
            raise next(iter(lost.values()))
        if name in lost:
            raise lost[name]

    def confirm(self, *names: str) -> None:
        """Ask the ledger, where a lease may have ended unseen: this process may have been asleep.

        To be called right before what no fence can take back.
        """
        for name in self._renewed.keys() & names:
            if self._clock() - self._renewed[name] >= LEASE_SECONDS / 2:
                with self._lock:
                    self._renew(name)
            if name in self._lost:
                raise self._lost[name]

    def proceed(self) -> None:
        """The same for work on many lists: it goes on as long as one of the leases is left."""
        refuse_to_go_on()
        if self._stopped or len(self._lost) >= len(self._leases):
            self.renew()

    def release(self) -> None:
        """Let others work; the thread has ended by then."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        for name in list(self._leases):
            self.let_go(name)

    def let_go(self, name: str) -> None:
        """Give one lease back, lost or not; the others go on."""
        with self._lock:
            lease = self._leases.pop(name, None)
            self._lost.pop(name, None)
        if lease is not None and name in self._own:
            self._ledger.release_lease(lease)

    def _beat(self) -> None:
        while not self._over.wait(self._every):
            for name in list(self._leases):
                with self._lock:
                    self._renew(name)

    def _renew(self, name: str) -> None:
        lease = self._leases.get(name)
        if lease is None or isinstance(self._lost.get(name), BusyError) or self._over.is_set():
            return
        try:
            self._leases[name] = self._ledger.renew_lease(lease, LEASE_SECONDS)
        except BusyError as error:
            self._lost[name] = error
        except Exception as error:  # noqa: BLE001 - no error may end the thread unseen
            # The ledger may answer again before the lease ends; until then it is still ours.
            if self._clock() - self._renewed[name] >= LEASE_SECONDS - self._every:
                self._lost[name] = _unrenewed(name, error)
        else:
            self._renewed[name] = self._clock()
            self._lost.pop(name, None)  # nobody took it meanwhile


def _unrenewed(name: str, error: Exception) -> AudienceSyncError:
    if isinstance(error, AudienceSyncError):
        return error
    return StateError(
        f"the lease of {name} could not be renewed ({type(error).__name__}); run again"
    )
