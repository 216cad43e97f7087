"""Keeps those out of a run's additions who withdrew since it was planned (L11)."""

from __future__ import annotations

import time
from threading import Lock

from audience_sync.errors import TemporaryPartnerError
from audience_sync.membership.digests import Mask
from audience_sync.membership.lines import Lines
from audience_sync.runs.holding import NOBODY, members_with, united
from audience_sync.runs.standing import Standing

PATIENCE = 60.0  # seconds that an addition waits until a withdrawal by customer id is resolved
_STEP = 0.25  # seconds between looks


class Screen:
    """Knows every withdrawal that it was told of by `refresh`; for many threads."""

    def __init__(self, standing: Standing, after: int, partner: str) -> None:
        self._standing = standing
        self._partner = partner
        self._lock = Lock()
        self._digests = NOBODY
        self.mark = after  # the newest withdrawal that is kept out
        self._unresolved: list[int] = []

    def refresh(self) -> int:
        """Know every withdrawal received so far; the newest one's sequence.

        Waits for those by customer id to be resolved: until then nobody can tell whom they name.
        """
        patience = PATIENCE
        while self._behind():
            if patience <= 0:
                raise TemporaryPartnerError(
                    "a withdrawal by customer id waits until the customers can be read; "
                    "additions go on afterwards",
                    retry_after=PATIENCE or None,
                )
            time.sleep(_STEP)
            patience -= _STEP
        return self.mark

    @property
    def idle(self) -> bool:
        """Whether nobody withdrew since, as far as is known."""
        return not len(self._digests)

    def keeps_out(self, lines: Lines) -> Mask:
        """Which lines are of members who withdrew."""
        return members_with(lines, self._digests)

    def _behind(self) -> bool:
        """Read what is new; whether something is still to be resolved."""
        with self._lock:
            self._read_new()
            if self._unresolved:
                after = self._unresolved[0] - 1
                left = self._standing.ledger.unresolved_withdrawals(after=after)
                still = {one.sequence for one in left}
                self._unresolved = [one for one in self._unresolved if one in still]
                self._read_new()  # what the others were resolved by
            return bool(self._unresolved)

    def _read_new(self) -> None:
        ledger = self._standing.ledger
        newest = ledger.newest_withdrawal()
        if newest == self.mark:
            return
        found = ledger.withdrawals(after=self.mark, through=newest)
        mine = [one for one in found if one.partner in (None, self._partner)]
        self._digests = united([self._digests, self._standing.digests_of(mine)])
        self._unresolved += [
            one.sequence for one in mine if one.customers and one.resolved_by is None
        ]
        self.mark = newest
