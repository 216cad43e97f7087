"""The withdrawal lane: brings every withdrawal to every list that holds the person (L11).

One list is worked on at a time by one lane, under a lease of its own. Where nobody else holds the
list, people are taken off and out of the membership. Where a run is at work on it, they are taken
off beside it: removals by identifier are idempotent, the run adds nobody who withdrew, and the
membership is put right as soon as the list is free. A withdrawal is confirmed only then.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from audience_sync.errors import AudienceSyncError
from audience_sync.journal import carried as in_context
from audience_sync.ledger.records.runs import Run, RunState
from audience_sync.ledger.withdrawal_deliveries import WithdrawalDelivery
from audience_sync.runs.identities import Identities
from audience_sync.runs.looking import Looking
from audience_sync.runs.steps import SOON, moved
from audience_sync.runs.threads import Threads, result

_ASKING = 5.0  # seconds at most that a look at a destination asks about its runs

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Worked:
    """What is left: how many withdrawals are open, and the seconds until more can be done.

    Of the open ones so many are `waiting` for a partner to acknowledge; the others for the books.
    """

    open: int
    waiting: int = 0
    again: float | None = None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Lane(Looking):
    """Works off what was received; may be called at any time and from any process."""

    resolve: Callable[[], int]
    ask_about: Callable[[Run, float], Run]  # a delivered run, for so many seconds at most
    unread: str = "it waits until the customers can be read"  # or why they cannot be
    unseen: str = "it waits until every list can be read"  # or why one cannot be

    @property
    def _identities(self) -> Identities:
        return Identities(
            ledger=self.ledger, location=self.location, keyring=self.keyring, now=self.now
        )

    def work(self, *, at_once: bool = False) -> Worked:
        """Bring everything that is open as far as it goes now, destinations side by side.

        What failed waits for its time, and so do questions, unless somebody asks for it `at_once`.
        """
        if at_once:
            return replace(self, early=True).work_on(lambda _: True)
        now = self.now()
        return self.work_on(lambda row: row.next_attempt_at is None or row.next_attempt_at <= now)

    def ask(self) -> Worked:
        """The same for destinations that took a removal and have not confirmed it, at once."""
        return replace(self, early=True).work_on(lambda row: row.acknowledged_at is not None)

    def work_on(self, is_due: Callable[[WithdrawalDelivery], bool]) -> Worked:
        """Bring the destinations forward of which any open withdrawal is due."""
        lane, reasons, known = self, list[str](), self.ledger.newest_withdrawal()
        try:
            self.resolve()
        except AudienceSyncError as error:
            _log.warning("Withdrawals by customer id wait: %s", error)
            lane, reasons = replace(lane, unread=str(error)), [str(error)]
        waiting = self.ledger.withdrawal_deliveries(only_open=True)
        try:
            self._identities.look(waiting)
        except AudienceSyncError as error:
            lane = replace(lane, unseen=str(error))
            reasons.append(str(error))
            _log.warning(
                "Who withdrew is looked for again on lists of other identifiers: %s", error
            )
        return lane.bring_forward(waiting, self._looked_for(known), is_due, reasons)

    def _looked_for(self, known: int) -> int:
        """The newest withdrawal up to which lists were looked at for identities, by and by.

        Whoever came meanwhile is taken off by nobody before: a list that let go shows nobody.
        """
        newest = self.ledger.newest_withdrawal()
        since = self.ledger.withdrawals(after=known, through=newest) if newest > known else ()
        fresh = [one.sequence for one in since if one.parent is None]
        return min(fresh, default=newest + 1) - 1

    def bring_forward(
        self,
        waiting: Sequence[WithdrawalDelivery],
        head: int,
        is_due: Callable[[WithdrawalDelivery], bool],
        reasons: list[str],
    ) -> Worked:
        """The same of those who `waiting` are, up to `head`; `reasons` are told beside others."""
        due: dict[str, list[WithdrawalDelivery]] = {}
        for one in waiting:
            due.setdefault(one.destination, []).append(one)
        ready = {name: rows for name, rows in due.items() if any(map(is_due, rows))}
        if ready:
            one_each = in_context(self._destination)
            with Threads(len(ready)) as threads:
                begun = [threads.submit(one_each, *named, head) for named in ready.items()]
                for ended in begun:
                    result(ended)
        left = self.ledger.withdrawal_deliveries(only_open=True)
        return self._worked(left, reasons)

    def _worked(self, left: Sequence[WithdrawalDelivery], reasons: list[str]) -> Worked:
        now = self.now()
        waits = [
            max(0.0, (row.next_attempt_at - now).total_seconds()) if row.next_attempt_at else SOON
            for row in left
        ]
        told = dict.fromkeys([*reasons, *(row.reason for row in left if row.reason)])
        waiting = sum(row.acknowledged_at is None for row in left)
        again = min(waits, default=None)
        return Worked(open=len(left), waiting=waiting, again=again, reasons=tuple(told))

    def _destination(self, destination: str, rows: Sequence[WithdrawalDelivery], head: int) -> None:
        """All lists of one destination, and what that means for each of its withdrawals."""
        lists = [r for r in self.ledger.remote_lists() if r.destination == destination]
        steps = [self.look_at(remote, head) for remote in lists]
        found = {
            one.sequence: one
            for one in self.ledger.withdrawals_numbered([row.sequence for row in rows])
        }
        theirs = {number: {number} for number in found}
        for one in self.ledger.withdrawals_under(found):
            theirs[one.parent or 0].add(one.sequence)  # what the source or a list has of them
        why = {"unread": self.unread, "unseen": self.unseen}
        changed = [
            moved(row, found[row.sequence], theirs[row.sequence], steps, self.now(), **why)
            for row in rows
        ]
        self.ledger.save_withdrawal_deliveries(changed)
        left = [row for row in changed if row.confirmed_at is None]
        waiting = {
            remote.audience
            for remote, step in zip(lists, steps, strict=True)
            if step.cleared < head
        }
        if left and self._known_better(destination, waiting):
            soon = self.now() + timedelta(seconds=SOON)
            hurried = [replace(row, next_attempt_at=soon) for row in left]
            self.ledger.save_withdrawal_deliveries(hurried)

    def _known_better(self, destination: str, audiences: Collection[str]) -> bool:
        """Ask about runs whose last word is due and that somebody who withdrew waits for.

        Nobody else may be there to ask: where cron syncs, nobody does until the next time. All
        that may be sent was sent before, and nobody waits for the answers but these lists.
        """
        now, end, better = self.now(), time.monotonic() + _ASKING, False
        waiting = self.ledger.runs(destination=destination, states=[RunState.DELIVERED])
        for run in reversed(waiting):  # the oldest first, which the newer ones may overtake
            due = self.early or run.next_attempt_at is None or run.next_attempt_at <= now
            seconds = end - time.monotonic()
            if due and run.audience in audiences and seconds > 0:
                asked = self.ask_about(run, seconds)
                later = asked.next_attempt_at
                ended_or_short = later is None or later <= self.now()
                better |= asked != run and ended_or_short  # else somebody else works on the list
        return better
