"""One look of the withdrawal lane at one list: whom to take off, and what the partner says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from audience_sync.connector import Connector
from audience_sync.errors import ConfigurationError, RefusedError
from audience_sync.ledger.list_removals import ListRemoval, Unanswered
from audience_sync.ledger.records.runs import Run, RunState
from audience_sync.ledger.records.work import Lease
from audience_sync.membership.digests import Bytes, match
from audience_sync.membership.lines import Lines
from audience_sync.runs.asking import ASK_AGAIN, Asking
from audience_sync.runs.batch_states import UnaccountedError
from audience_sync.runs.books import Books
from audience_sync.runs.departing import Leaving, leaving, without_carried
from audience_sync.runs.escalation import REFUSALS
from audience_sync.runs.holding import members_with, united
from audience_sync.runs.leases import LANE, Held
from audience_sync.runs.link import Link
from audience_sync.runs.removal import Removed, Remover
from audience_sync.runs.steps import BUSY, SOON, Step
from audience_sync.runs.unanswered import note_unknown_removal
from audience_sync.runs.under_way import UnderWay

if TYPE_CHECKING:
    from audience_sync.runs.lane import Lane

_OPEN_RUNS = (RunState.PLANNED, RunState.HELD, RunState.DELIVERING)


class AtList:
    """Under the lane's own lease of the list; `alone` says whether under the list's lease, too."""

    def __init__(
        self, lane: Lane, audience: str, destination: str, head: int, held: Held, *, alone: bool
    ) -> None:
        self.lane, self.ledger, self.held, self.alone = lane, lane.ledger, held, alone
        self.name = f"{audience}/{destination}"
        self.lease = f"{LANE}{self.name}"
        self.head = head
        # The runs before the list: what settles in between is then seen twice, not missed.
        self.runs = self._open_runs(audience, destination)
        parts = self.ledger, lane.location, lane.keyring
        watched = any(run.state in _OPEN_RUNS for run in self.runs)
        remote = self.ledger.remote_list(audience, destination)
        self.books = Books(remote, *parts, lane.leavers, watched=watched)
        sending = [run for run in self.runs if run.state is RunState.DELIVERING]
        self.under_way = UnderWay(*parts, sending)
        delivered = [run for run in self.runs if run.state is RunState.DELIVERED]
        self.delivered = UnderWay(*parts, delivered)
        self.removal = self.ledger.list_removal(audience, destination) or ListRemoval(
            audience=audience, destination=destination, sent_at=lane.now()
        )
        self.partner = lane.partner_of(destination)
        self.asking = Asking(link=self._link, adding=self._adding, now=lane.now, early=lane.early)

    def confirmed(self) -> int:
        """Note what the partner answered; the newest withdrawal up to which all is over.

        That is 0 where nothing waits for an answer: `go` then sees to the whole list.
        """
        if not self.removal.unanswered:
            return 0
        self._note(self.asking.ask(self.removal))
        known = self.books.known
        sure = self.removal.sure(known)
        if self.alone and known < sure:
            self._write_off(known, sure)
        self._note(self.removal.once_known(self.books.known if self.alone else 0))
        return self._rid(min(sure, self.books.known)).cleared

    @property
    def outdated(self) -> bool:
        """Whether a run that holds the list wrote it anew or ended, so that files are gone."""
        if self.alone:
            return False
        name = self.books.remote.audience, self.books.remote.destination
        generation = self.ledger.remote_list(*name).generation
        return generation != self.books.remote.generation or self.runs != self._open_runs(*name)

    def _open_runs(self, audience: str, destination: str) -> list[Run]:
        states = [*_OPEN_RUNS, RunState.DELIVERED]
        return self.ledger.runs(audience=audience, destination=destination, states=states)

    def _adding(self, before: int) -> bool:
        return self.under_way.adding(before) or self.delivered.adding(before)

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
        held = self._held(united(list(self._each(after, through).values())))
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
        begun = self.removal.run, self.held[self.lease], self.lane.now()
        note_unknown_removal(self.ledger, *begun)
        step = self._go()
        if step.cleared >= self.head:  # the partner keeps nobody any more, whoever took them off
            self._note(replace(self.removal, refused=0, reason=None))
        elif self.removal.reason and step.reason is None:
            why = f"the partner took a removal and refused it later, {self.removal.reason}"
            return replace(step, reason=f"{why}; it is sent again")
        return step

    def _go(self) -> Step:
        if self.books.empty and not self.under_way.runs:
            return self._rid(self.head)
        each = self._each(self.removal.told_from(self.books.known), self.head)
        news = {number: one for number, one in each.items() if not self.removal.told(number)}
        return self._found(news) if news else self._nobody(news)

    def _found(self, each: Mapping[int, Bytes]) -> Step:
        told = self.removal.through
        if told >= self.head and not self.alone:  # the run adds none of them, and ends some time
            return Step(sent=told, acknowledged=told, again=BUSY)
        digests = united(list(each.values()))
        held = self._held(digests)
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
        named = _naming(each, lines)
        if told >= self.head and self.under_way.runs and sent:
            return Step(sent=told, acknowledged=told, named=named, again=BUSY)
        link = self._link()
        if not self.alone and _has_state(link.connector):
            return Step(again=SOON)  # it sends to one list at a time, and a run is at it
        early = any(runs.arriving(each) for runs in (self.under_way, self.delivered))
        removed = self._remove(link, lines, digests)
        step = self._after(removed, held, self._before(each), early=early)
        return replace(step, named=named)

    def _remove(self, link: Link, lines: Sequence[Lines], digests: Bytes) -> Removed:
        """Ask the partner to take these off; escalates where it refuses."""
        remote = self.books.remote
        alive = [part.take(part.alive) for part in lines]
        alive = [part for part in alive if len(part)]
        off = without_carried(alive, digests, lambda: self._others(digests))
        remover = Remover(ledger=self.ledger, now=self.lane.now).named()
        self._note(replace(self.removal, run=remover.name))  # by which it is found if we die
        mine = self.alone and not self.under_way.runs
        if mine and self.removal.refused >= REFUSALS and self.lane.escalation.decided(remote):
            return self._escalated(remover, link, RefusedError(self.removal.reason or ""))
        try:
            return remover.remove(link, remote, off, self.held, self.lease)
        except RefusedError as error:
            if not mine or isinstance(error, UnaccountedError):
                raise
            return self._escalated(remover, link, error)

    def _escalated(self, remover: Remover, link: Link, error: RefusedError) -> Removed:
        """What the project file says for a partner that does not take them off."""
        if self.lane.escalation.decided(self.books.remote):  # first: it may end at any moment
            self.books.doubt_everybody(min(self.books.known, self.head), self.held[self.name])
        remote, membership = self.books.remote, self.books.membership()
        what = remover, link, remote, membership, error, self.held, self.lease
        return self.lane.escalation.escalate(*what, empties=self.removal.refused < 2 * REFUSALS)

    def _after(self, removed: Removed, held: Leaving, before: int, *, early: bool) -> Step:
        """What a removal of all who withdrew since `before` leaves to be done."""
        if removed.stayed is not None:
            self._note(self._told(removed, through=min(before, self.removal.through)))
            members = len(removed.stayed.starts)
            return Step(
                sent=self.head,
                reason=f"the partner did not take {members:,} members off; it is asked again",
                failed=True,
            )
        whole = removed.emptied or removed.gone
        if removed.pending or (self.removal.unanswered and not whole):
            told = self._told(removed, before=before, through=self.head, early=early)
            self._note(told)
            return Step(sent=self.head, acknowledged=self.head, again=self._again())
        if not self.alone:
            self._note(self._told(removed, through=self.head))
            return Step(sent=self.head, acknowledged=self.head, again=BUSY)
        coming = bool(self.delivered.runs) and not removed.gone  # perhaps: they stay in doubt
        how = {"emptied": removed.emptied and not coming, "gone": removed.gone}
        self.books.write_off(held, self.head, self.held[self.name], **how)
        told = self._told(removed, through=self.head)
        self._note(replace(told, unanswered=(), refused=0, reason=None))
        return replace(self._rid(self.head), sent=self.head)

    def _told(
        self, removed: Removed, *, through: int, before: int | None = None, early: bool = False
    ) -> ListRemoval:
        """What the list was told, with this removal; it waits for its answer since `before`."""
        now, told = self.lane.now(), self.removal
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
            self._note(self.removal.with_nobody(self._before(each), self.head))
        return Step(sent=self.head, acknowledged=self.head, again=self._again())

    def _again(self) -> float:
        """Seconds until the partner is asked, or a run ends whose books wait for what it said."""
        again, known = self.asking.again(self.removal), self.books.known
        return min(again, BUSY) if self.removal.sure(known) > known else again

    def _before(self, each: Mapping[int, Bytes]) -> int:
        """After which withdrawal those come of whom the list is told now."""
        return self.removal.last_before(min(each, default=self.head), self.books.known)

    def _rid(self, through: int) -> Step:
        """How far nobody who withdrew is held; noted where the list is ours to note."""
        each = self._each(self.books.sure, through) if self.delivered.runs else {}
        unsure = self.delivered.unsure(united(list(each.values())))
        named = _naming(each, unsure)  # for the partner's last word on what a run took off
        coming = self._coming_back(through)
        cleared = min([through + 1, *named, *coming]) - 1
        if self.alone and self.books.remote.manifest and self.books.known < cleared:
            self.books.note(cleared, self.held[self.name])
        again = None
        if cleared < through:
            again = BUSY if coming else ASK_AGAIN.total_seconds()
        sent = through if named else 0
        return Step(sent=sent, named=named, acknowledged=through, cleared=cleared, again=again)

    def _coming_back(self, through: int) -> frozenset[int]:
        """Those who were taken off since a run under way was planned, which puts them back."""
        found: frozenset[int] = frozenset()
        for run in self.under_way.runs:
            each = self._each(run.withdrawals, through)
            found |= _naming(each, self.under_way.sent(united(list(each.values())))[0])
        return found

    def _held(self, digests: Bytes) -> Leaving:
        return leaving(self.books.membership(), lambda lines: members_with(lines, digests))

    def _each(self, after: int, through: int) -> dict[int, Bytes]:
        return self.lane.standing.each(after, through, self.partner or "")

    def _link(self) -> Link:
        return self.lane.link(self.books.remote.destination)

    def _note(self, removal: ListRemoval) -> None:
        if removal != self.removal:
            self.ledger.save_list_removal(removal, self.held[self.lease])
            self.removal = removal

    def _others(self, digests: Bytes) -> Iterator[Lines]:
        """Who stays, or comes: a run beside us may send its additions at any moment."""
        membership = self.books.membership()
        for partition in range(membership.manifest.partitions):
            lines = membership.read(partition, membership.manifest.partitions)
            yield lines.take(lines.alive & ~members_with(lines, digests))
        for lines in self.under_way.coming(sent=self.alone):
            yield lines.take(~members_with(lines, digests))


def _naming(each: Mapping[int, Bytes], lines: Sequence[Lines]) -> frozenset[int]:
    """The withdrawals that name any of these members, of whom the partner has something."""
    alive = [part.take(part.alive) for part in lines] if each else []
    there = united([values for part in alive for values in (part.keys, *part.columns.values())])
    if not len(there):
        return frozenset()
    numbers = np.repeat(list(each), [len(digests) for digests in each.values()])
    named = match(np.concatenate(list(each.values())), there) >= 0
    return frozenset(np.unique(numbers[named]).tolist())


def _has_state(connector: Connector[Any]) -> bool:
    """Whether a connector has work before the first or after the last upload of a delivery."""
    alone = type(connector)
    return alone.open is not Connector.open or alone.close is not Connector.close
