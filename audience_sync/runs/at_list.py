"""One look of the withdrawal lane at one list: whom to take off, and what the partner says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from audience_sync.connector import Connector
from audience_sync.errors import ConfigurationError, RefusedError
from audience_sync.ledger.list_removals import ListRemoval, Unanswered
from audience_sync.ledger.records.work import Lease
from audience_sync.membership.digests import Bytes
from audience_sync.membership.lines import Lines
from audience_sync.runs.as_found import AsFound, naming
from audience_sync.runs.asking import ASK_AGAIN
from audience_sync.runs.batch_states import UnaccountedError
from audience_sync.runs.departing import Leaving, without_carried
from audience_sync.runs.escalation import REFUSALS
from audience_sync.runs.holding import united
from audience_sync.runs.link import Link
from audience_sync.runs.removal import Removed, Remover
from audience_sync.runs.steps import BUSY, SOON, Step
from audience_sync.runs.unanswered import note_unknown_removal


class AtList(AsFound):
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
        return self._rid(min(sure, self.books.known)).cleared

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
        return step

    def _go(self) -> Step:
        if self.books.empty and not self.under_way.runs:
            return self._rid(self.head)
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
        if told >= self.head and self.under_way.runs and sent:
            return Step(sent=told, acknowledged=told, named=named, again=BUSY)
        link = self.link()
        if not self.alone and _has_state(link.connector):
            return Step(again=SOON)  # it sends to one list at a time, and a run is at it
        early = any(runs.arriving(each) for runs in (self.under_way, self.delivered))
        removed = self._remove(link, lines, digests)
        step = self._after(removed, held, self.before(each), early=early)
        return replace(step, named=named)

    def _remove(self, link: Link, lines: Sequence[Lines], digests: Bytes) -> Removed:
        """Ask the partner to take these off; escalates where it refuses."""
        remote = self.books.remote
        alive = [part.take(part.alive) for part in lines]
        alive = [part for part in alive if len(part)]
        off = without_carried(alive, digests, lambda: self.others(digests))
        remover = Remover(ledger=self.ledger, now=self.means.now).named()
        self.note(replace(self.removal, run=remover.name))  # by which it is found if we die
        mine = self.alone and not self.under_way.runs
        if mine and self.removal.refused >= REFUSALS and self.means.escalation.decided(remote):
            return self._escalated(remover, link, RefusedError(self.removal.reason or ""))
        try:
            return remover.remove(link, remote, off, self.held, self.lease)
        except RefusedError as error:
            if not mine or isinstance(error, UnaccountedError):
                raise
            return self._escalated(remover, link, error)

    def _escalated(self, remover: Remover, link: Link, error: RefusedError) -> Removed:
        """What the project file says for a partner that does not take them off."""
        if self.means.escalation.decided(self.books.remote):  # first: it may end at any moment
            self.books.doubt_everybody(min(self.books.known, self.head), self.held[self.name])
        remote, membership = self.books.remote, self.books.membership()
        what = remover, link, remote, membership, error, self.held, self.lease
        return self.means.escalation.escalate(*what, empties=self.removal.refused < 2 * REFUSALS)

    def _after(self, removed: Removed, held: Leaving, before: int, *, early: bool) -> Step:
        """What a removal of all who withdrew since `before` leaves to be done."""
        if removed.stayed is not None:
            self.note(self._told(removed, through=min(before, self.removal.through)))
            members = len(removed.stayed.starts)
            return Step(
                sent=self.head,
                reason=f"the partner did not take {members:,} members off; it is asked again",
                failed=True,
            )
        whole = removed.emptied or removed.gone
        if removed.pending or (self.removal.unanswered and not whole):
            told = self._told(removed, before=before, through=self.head, early=early)
            self.note(told)
            return Step(sent=self.head, acknowledged=self.head, again=self.again())
        if not self.alone:
            self.note(self._told(removed, through=self.head))
            return Step(sent=self.head, acknowledged=self.head, again=BUSY)
        coming = bool(self.delivered.runs) and not removed.gone  # perhaps: they stay in doubt
        how = {"emptied": removed.emptied and not coming, "gone": removed.gone}
        self.books.write_off(held, self.head, self.held[self.name], **how)
        told = self._told(removed, through=self.head)
        self.note(replace(told, unanswered=(), refused=0, reason=None))
        return replace(self._rid(self.head), sent=self.head)

    def _told(
        self, removed: Removed, *, through: int, before: int | None = None, early: bool = False
    ) -> ListRemoval:
        """What the list was told, with this removal; it waits for its answer since `before`."""
        now, told = self.means.now(), self.removal
        if before is not None:
            wait = ASK_AGAIN if removed.wait is None else timedelta(seconds=removed.wait)
            one = Unanswered(
                after=before,
                through=through,
                run=removed.run,
                settled=self.books.settled,
                sent_at=now,
                ask_at=now + wait,
                references=removed.pending,
                early=early and bool(removed.pending),
            )
            told = replace(told, unanswered=(*told.unanswered, one))
        return replace(told, through=through, run=removed.run, sent_at=now)

    def _nobody(self, each: Mapping[int, Bytes]) -> Step:
        """None of these is on the list; whoever was taken off before may wait for the answer."""
        if not self.removal.unanswered:
            return self._rid(self.head)
        if self.removal.through < self.head or each:
            self.note(self.removal.with_nobody(self.before(each), self.head))
        return Step(sent=self.head, acknowledged=self.head, again=self.again())

    def _rid(self, through: int) -> Step:
        """How far nobody who withdrew is held; noted where the list is ours to note."""
        each = self.each(self.books.sure, through) if self.delivered.runs else {}
        unsure = self.delivered.unsure(united(list(each.values())))
        named = naming(each, unsure)  # for the partner's last word on what a run took off
        coming = self.coming_back(through)
        cleared = min([through + 1, *named, *coming]) - 1
        if self.alone and self.books.remote.manifest and self.books.known < cleared:
            self.books.note(cleared, self.held[self.name])
        again = None
        if cleared < through:
            again = BUSY if coming else ASK_AGAIN.total_seconds()
        sent = through if named else 0
        return Step(sent=sent, named=named, acknowledged=through, cleared=cleared, again=again)


def _has_state(connector: Connector[Any]) -> bool:
    """Whether a connector has work before the first or after the last upload of a delivery."""
    alone = type(connector)
    return alone.open is not Connector.open or alone.close is not Connector.close
