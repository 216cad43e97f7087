"""One look of the withdrawal lane at one list: whom to take off, and what the partner says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from audience_sync.connector import Connector
from audience_sync.errors import ConfigurationError
from audience_sync.ledger.records.work import Lease
from audience_sync.membership.digests import Bytes
from audience_sync.runs.as_found import LATE, naming
from audience_sync.runs.departing import Leaving
from audience_sync.runs.holding import united
from audience_sync.runs.steps import BUSY, SOON, Step
from audience_sync.runs.taking_off import TakingOff
from audience_sync.runs.unanswered import note_unknown_removal


class AtList(TakingOff):
    """Notes what the partner answered, then tells the list of whoever withdrew and is on it."""

    def confirmed(self) -> int:
        """Note what the partner answered; the newest withdrawal up to which all is over.

        That is 0 where nothing waits for an answer: `go` then sees to the whole list.
        """
        if not self.removal.unanswered:
            return 0
        self.note(self.asking.ask(self.removal))
        known = self.books.known
        sure = self.removal.sure(known)
        if self.alone and known < sure:
            self._write_off(known, sure)
        self.note(self.removal.once_known(self.books.known if self.alone else 0))
        return self.rid(min(sure, self.books.known)).cleared

    def _write_off(self, known: int, sure: int) -> None:
        """Those whom the partner took off; whom a run sent again since then are in doubt."""
        told = [one for one in self.removal.unanswered if one.after < sure]
        again = known
        if any(one.settled != self.books.settled for one in told):
            again = max(known, min(sure, self._granted_through()))
        if known < again:
            self._off(known, again, self.books.doubt)
        if again < sure:
            self._off(again, sure, self.books.write_off)

    def _off(self, after: int, through: int, how: Callable[[Leaving, int, Lease], None]) -> None:
        held = self.holding(united(list(self.each(after, through).values())))
        how(held, through, self.held[self.name])

    def _granted_through(self) -> int:
        """Up to which withdrawal a later grant counted in the run that our books know of last.

        It was planned before the others, and sent nobody of these.
        """
        try:
            return self.ledger.run(self.books.settled).withdrawals
        except ConfigurationError:  # it is long ago
            return self.head

    def go(self) -> Step:
        """Tell the list of whoever withdrew and was on it, as far as it goes now."""
        begun = self.removal.run, self.held[self.lease], self.means.now()
        note_unknown_removal(self.ledger, *begun)
        step = self._go()
        if step.cleared >= self.head:  # the partner keeps nobody any more, whoever took them off
            self.note(replace(self.removal, refused=0, reason=None))
        elif self.removal.reason and step.reason is None:
            why = f"the partner took a removal and refused it later, {self.removal.reason}"
            return replace(step, reason=f"{why}; it is sent again")
        elif step.reason is None:
            return replace(step, reason=self.standing_still())
        return step

    def _go(self) -> Step:
        if self.books.empty and not self.under_way.runs:
            return self.rid(self.head)
        each = self.each(self.removal.told_from(self.books.known), self.head)
        news = {number: one for number, one in each.items() if not self.removal.told(number)}
        return self._found(news) if news else self._nobody(news)

    def _found(self, each: Mapping[int, Bytes]) -> Step:
        told = self.removal.through
        if told >= self.head and not self.alone:  # the run adds none of them, and ends some time
            return Step(sent=told, acknowledged=told, again=BUSY)
        digests = united(list(each.values()))
        held = self.holding(digests)
        sent, in_flight = self.under_way.sent(digests)
        if in_flight and not self.alone:  # its answer comes first, so that it is taken off after
            return Step(again=SOON / 4)
        unsure = self.delivered.unsure(digests)  # theirs is a removal that may fail
        if not held and not sent and not (unsure and self.removal.unanswered):
            return self._nobody(each)
        if self.partner is None:
            raise ConfigurationError(
                f"{self.books.remote.destination} is no longer in the project, and "
                f"{self.books.remote.audience} there holds people who withdrew: put it back, "
                "or delete the list at the partner"
            )
        lines = [*held.lines, *sent, *unsure]
        named = naming(each, lines)
        late = self.late(each, held)
        if told >= self.head and late:
            return Step(sent=told, acknowledged=told, named=named, again=LATE)
        link = self.link()
        if not self.alone and _has_state(link.connector):
            return Step(again=SOON)  # it sends to one list at a time, and a run is at it
        early = self._arriving(each, taken=True)
        unseen = early or self._arriving(each, taken=False)
        removed = self.remove(link, lines, digests)
        early |= unseen and bool(removed.pending)
        step = self.left_by(removed, held, self.told_before(each), early=early, late=late)
        return replace(step, named=named)

    def _arriving(self, each: Mapping[int, Bytes], *, taken: bool) -> bool:
        return any(runs.arriving(each, taken=taken) for runs in (self.under_way, self.delivered))

    def _nobody(self, each: Mapping[int, Bytes]) -> Step:
        """None of these is on the list; whoever was taken off before may wait for the answer."""
        if not self.removal.unanswered:
            return self.rid(self.head)
        if self.removal.through < self.head or each:
            self.note(self.removal.with_nobody(self.told_before(each), self.head))
        return Step(sent=self.head, acknowledged=self.head, again=self.again())


def _has_state(connector: Connector[Any]) -> bool:
    """Whether a connector has work before the first or after the last upload of a delivery."""
    alone = type(connector)
    return alone.open is not Connector.open or alone.close is not Connector.close
