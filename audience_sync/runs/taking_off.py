"""People leave a list: its partner is asked to take them off, and what its answer leaves to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from audience_sync.errors import RefusedError
from audience_sync.ledger.list_removals import ListRemoval, Unanswered
from audience_sync.membership.digests import Bytes
from audience_sync.membership.lines import Lines
from audience_sync.runs.as_found import LATE, AsFound, naming
from audience_sync.runs.asking import ASK_AGAIN
from audience_sync.runs.batch_states import UnaccountedError
from audience_sync.runs.departing import Leaving, without_carried
from audience_sync.runs.escalation import REFUSALS
from audience_sync.runs.holding import united
from audience_sync.runs.link import Link
from audience_sync.runs.removal import Removed, Remover
from audience_sync.runs.steps import BUSY, Step


class TakingOff(AsFound):
    """Writes down what each removal was before it is sent, and what became of it after."""

    def remove(self, link: Link, lines: Sequence[Lines], digests: Bytes) -> Removed:
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

    def left_by(
        self, removed: Removed, held: Leaving, before: int, *, early: bool, late: bool
    ) -> Step:
        """What a removal of all who withdrew since `before` leaves to be done.

        Where an upload of theirs may come too `late`, it is made once more. Where it came too
        `early`, the partner being at work on their addition, it is made again after that.
        """
        if removed.stayed is not None:
            self.note(self._told(removed, through=min(before, self.removal.through)))
            members = len(removed.stayed.starts)
            return Step(
                sent=self.head,
                reason=f"the partner did not take {members:,} members off; it is asked again",
                failed=True,
            )
        whole = removed.emptied or removed.gone
        early &= not removed.gone
        if removed.pending or early or (self.removal.unanswered and not whole):
            told = self._told(removed, before=before, through=self.head, early=early)
            self.note(told)
            return Step(sent=self.head, acknowledged=self.head, again=self.again())
        if late or not self.alone:
            self.note(self._told(removed, through=self.head))
            again = BUSY if not self.alone else LATE
            return Step(sent=self.head, acknowledged=self.head, again=again)
        coming = bool(self.delivered.runs) and not removed.gone  # perhaps: they stay in doubt
        how = {"emptied": removed.emptied and not coming, "gone": removed.gone}
        self.books.write_off(held, self.head, self.held[self.name], **how)
        told = self._told(removed, through=self.head)
        self.note(replace(told, unanswered=(), refused=0, reason=None))
        return replace(self.rid(self.head), sent=self.head)

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
                early=early,
            )
            told = replace(told, unanswered=(*told.unanswered, one))
        return replace(told, through=through, run=removed.run, sent_at=now)

    def rid(self, through: int) -> Step:
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
