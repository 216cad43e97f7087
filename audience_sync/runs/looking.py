"""Looks at one list under its leases; what goes wrong with it stays with it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from audience_sync.errors import (
    AudienceSyncError,
    BusyError,
    StateError,
    TemporaryPartnerError,
    places,
)
from audience_sync.ledger.records.runs import RemoteList
from audience_sync.ledger.records.work import Lease
from audience_sync.runs.as_found import Means
from audience_sync.runs.at_list import AtList
from audience_sync.runs.generations import known_withdrawals
from audience_sync.runs.leases import LANE, LEASE_SECONDS, Held
from audience_sync.runs.steps import SOON, Step
from audience_sync.runs.sweep import SCRATCH

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Looking(Means):
    """As `holder` of the leases; those of a holder who is not `alive` any more are free."""

    holder: str
    alive: Callable[[str], bool]

    def look_at(self, remote: RemoteList, head: int) -> Step:
        """One list, whatever goes wrong with it: the others go on."""
        cleared = 0
        try:
            with self._leases(remote) as (held, alone):
                at = AtList(self, remote.audience, remote.destination, head, held, alone=alone)
                try:
                    cleared = at.confirmed()
                    step = at.go()
                except StateError:
                    if not at.outdated:
                        raise
                    step = self._halted(remote, again=SOON / 4)
                return replace(step, cleared=max(step.cleared, cleared))
        except BusyError:
            step = self._halted(remote, again=SOON)
        except TemporaryPartnerError as error:
            step = self._halted(remote, str(error), again=error.retry_after)
        except AudienceSyncError as error:
            where = remote.audience, remote.destination
            _log.error("A withdrawal cannot be delivered to %s at %s: %s", *where, error)
            step = self._halted(remote, str(error))
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything; others go on
            found = type(error).__name__
            words = remote.audience, remote.destination, found, places(error)
            _log.error("A withdrawal from %s at %s stopped with %s in %s", *words)
            step = self._halted(remote, f"something unexpected stopped it ({found})")
        return replace(step, cleared=cleared)

    def _halted(
        self, remote: RemoteList, reason: str | None = None, *, again: float | None = None
    ) -> Step:
        """A list that nobody could look at to the end: what its partner took stays taken."""
        removal = self.ledger.list_removal(remote.audience, remote.destination)
        took = max(known_withdrawals(remote), 0 if removal is None else removal.through)
        return Step(acknowledged=took, reason=reason, again=again, failed=reason is not None)

    @contextmanager
    def _leases(self, remote: RemoteList) -> Iterator[tuple[Held, bool]]:
        """The leases of one list that can be had; whether its own is among them."""
        name = f"{remote.audience}/{remote.destination}"
        mine = f"{LANE}{name}"
        leases = {mine: self._take(mine)}
        alone = True
        try:
            leases[name] = self._take(name)
        except BusyError:
            alone = False
        except BaseException:
            self.ledger.release_lease(leases[mine])
            raise
        with Held(self.ledger, leases) as held, ExitStack() as ending:
            if alone:  # keeps the sweep from what is written here
                scratch = f"{SCRATCH}/{self.ledger.new_run_id()}"
                kept = self.ledger.take_lease(scratch, self.holder, LEASE_SECONDS)
                ending.callback(self.ledger.release_lease, kept, for_good=True)
            yield held, alone

    def _take(self, name: str) -> Lease:
        return self.ledger.take_lease(name, self.holder, LEASE_SECONDS, alive=self.alive)
