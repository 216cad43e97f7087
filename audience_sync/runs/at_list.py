"""One look of the withdrawal lane at one list: whom to take off, and what the partner says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from audience_sync.connector import Connector, Receipt
from audience_sync.errors import ConfigurationError, RefusedError
from audience_sync.ledger.records import Run, RunState
from audience_sync.ledger.withdrawals import ListRemoval
from audience_sync.membership.digests import Bytes
from audience_sync.membership.lines import Lines
from audience_sync.runs.books import Books
from audience_sync.runs.faults import faults_of
from audience_sync.runs.holding import members_with, united
from audience_sync.runs.leases import LANE, Held
from audience_sync.runs.link import Link
from audience_sync.runs.removal import Leaving, Removed, Remover, leaving, without_carried
from audience_sync.runs.under_way import UnderWay

if TYPE_CHECKING:
    from audience_sync.runs.lane import Lane

SOON = 1.0  # seconds until a list that is busy is looked at again
_BUSY = 10.0  # seconds until the books are looked at again, which a run holds that is at work
_ASK_AGAIN = 60.0  # seconds between questions to a partner that answers later
_PATIENCE = timedelta(hours=48)  # partners promise 24; then the removal is sent again
_OPEN_RUNS = (RunState.PLANNED, RunState.HELD, RunState.DELIVERING)


@dataclass(frozen=True, kw_only=True)
class Step:
    """How far one list is: the newest withdrawal it was told, that it took, that it is rid of.

    `named` are those that name somebody who was on it: what was sent concerns no others.
    """

    sent: int = 0
    named: frozenset[int] = frozenset()
    acknowledged: int = 0
    cleared: int = 0
    again: float | None = None  # seconds until it is to be looked at again; None: not needed
    reason: str | None = None  # what stands in the way, where somebody should know
    failed: bool = False


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
        self.runs: list[Run] = self.ledger.runs(
            audience=audience,
            destination=destination,
            states=[*_OPEN_RUNS, RunState.DELIVERED],
        )
        parts = self.ledger, lane.location, lane.keyring
        watched = any(run.state in _OPEN_RUNS for run in self.runs)
        remote = self.ledger.remote_list(audience, destination)
        self.books = Books(remote, *parts, lane.leavers, watched=watched)
        sending = [run for run in self.runs if run.state is RunState.DELIVERING]
        self.under_way = UnderWay(*parts, sending)
        delivered = [run for run in self.runs if run.state is RunState.DELIVERED]
        self.delivered = UnderWay(*parts, delivered)
        self.removal = self.ledger.list_removal(audience, destination)
        self.partner = lane.partner_of(destination)

    def go(self) -> Step:
        """As far as it goes now."""
        if self.books.empty and not self.under_way.runs:
            return self._rid()
        pending = self._asked()
        if pending is not None:
            return pending
        known = min(self.books.known, self.head)
        each = self.lane.standing.each(known, self.head, self.partner or "")
        return self._found(each) if each else self._rid()

    def _found(self, each: Mapping[int, Bytes]) -> Step:
        told = self.removal.through if self.removal is not None else 0
        if told >= self.head and not self.alone:  # the run adds none of them, and ends some time
            return Step(sent=told, acknowledged=told, again=_BUSY)
        digests, membership = united(list(each.values())), self.books.membership()
        held = leaving(membership, lambda lines: members_with(lines, digests))
        sent, in_flight = self.under_way.sent(digests)
        if in_flight and not self.alone:  # its answer comes first, so that it is taken off after
            return Step(again=SOON / 4)
        if not held and not sent:
            return self._rid()
        if self.partner is None:
            raise ConfigurationError(
                f"{self.books.remote.destination} is no longer in the project, and "
                f"{self.books.remote.audience} there holds people who withdrew: put it back, "
                "or delete the list at the partner"
            )
        named = _naming(each, [*held.lines, *sent])
        if told >= self.head and self.under_way.runs and sent:
            return Step(sent=told, acknowledged=told, named=named, again=_BUSY)
        link = self.lane.link(self.books.remote.destination)
        if not self.alone and _has_state(link.connector):
            return Step(again=SOON)  # it sends to one list at a time, and a run is at it
        removed = self._remove(link, [*held.lines, *sent], digests)
        return replace(self._after(removed, held), named=named)

    def _remove(self, link: Link, lines: Sequence[Lines], digests: Bytes) -> Removed:
        """Ask the partner to take these off; escalates where it refuses."""
        remote = self.books.remote
        alive = [part.take(part.alive) for part in lines]
        alive = [part for part in alive if len(part)]
        off = without_carried(alive, digests, lambda: self._others(digests))
        remover = Remover(ledger=self.ledger, now=self.lane.now)
        try:
            removed = remover.remove(link, remote, off, self.held, self.lease)
        except RefusedError as error:
            if not self.alone or self.under_way.runs:
                raise
            return self.lane.escalation.escalate(
                remover, link, remote, self.books.membership(), error, self.held, self.lease
            )
        self._note(self._told(removed))
        return removed

    def _told(self, removed: Removed) -> ListRemoval:
        wait = timedelta(seconds=removed.wait or _ASK_AGAIN)
        return ListRemoval(
            audience=self.books.remote.audience,
            destination=self.books.remote.destination,
            through=0 if removed.stayed is not None else self.head,
            run=removed.run,
            sent_at=self.lane.now(),
            pending=removed.pending,
            ask_at=self.lane.now() + wait if removed.pending else None,
        )

    def _after(self, removed: Removed, held: Leaving) -> Step:
        if removed.stayed is not None:
            members = len(removed.stayed.starts)
            return Step(
                sent=self.head,
                reason=f"the partner did not take {members:,} members off; it is asked again",
                failed=True,
            )
        if removed.emptied and removed.pending:
            self.books.doubt_everybody(min(self.books.known, self.head), self.held[self.name])
            self._note(self._told(removed))  # only now: whoever asks counts on the doubt
        if removed.pending:
            return Step(sent=self.head, acknowledged=self.head, again=removed.wait or _ASK_AGAIN)
        if not self.alone:
            return Step(sent=self.head, acknowledged=self.head, again=_BUSY)
        how = {"emptied": removed.emptied, "gone": removed.gone}
        self.books.write_off(held, self.head, self.held[self.name], **how)
        return replace(self._rid(), sent=self.head)

    def _rid(self) -> Step:
        """Nobody who withdrew is held, as far as we know; noted where the list is ours to note."""
        each = self.lane.standing.each(self.books.known, self.head, self.partner or "")
        unsure, waiting = self.delivered.unsure(united(list(each.values())))
        if waiting:  # for the partner's last word on what a run took off
            named, told = _naming(each, unsure), Step(acknowledged=self.head, again=_ASK_AGAIN)
            return replace(told, sent=self.head if named else 0, named=named)
        if self._comes_back():
            return Step(acknowledged=self.head, again=_BUSY)
        if self.alone and self.books.remote.manifest and self.books.known < self.head:
            self.books.note(self.head, self.held[self.name])
        return Step(acknowledged=self.head, cleared=self.head)

    def _comes_back(self) -> bool:
        """Whether a run under way will put people into the books who were taken off since."""
        for run in self.under_way.runs:
            digests = self._digests(run.withdrawals, self.head)
            if len(digests) and self.under_way.sent(digests)[0]:
                return True
        return False

    def _digests(self, after: int, through: int) -> Bytes:
        return self.lane.standing.digests(after, through, self.partner or "")

    def _asked(self) -> Step | None:
        """Ask about a removal that waits; None when nothing waits any more."""
        removal = self.removal
        if removal is None or not removal.pending or not removal.through:
            return None
        if removal.through < self.head:
            if self._holds_any(self._digests(removal.through, self.head)):
                return None  # it is sent at once, with all that is open before it
            removal = replace(removal, through=self.head)
            self._note(removal)
        now = self.lane.now()
        told = Step(sent=removal.through, acknowledged=removal.through)
        if removal.ask_at is not None and removal.ask_at > now and not self.lane.early:
            return replace(told, again=(removal.ask_at - now).total_seconds())
        link = self.lane.link(self.books.remote.destination)
        answers = [self._answer(link, reference) for reference in removal.pending]
        failed = any(answer is not None and not _done(answer) for answer in answers)
        left = tuple(
            reference
            for reference, answer in zip(removal.pending, answers, strict=True)
            if answer is not None and answer.pending
        )
        if failed or (left and now - removal.sent_at > _PATIENCE):
            self._note(replace(removal, pending=(), through=0))  # it is sent again
            return None
        if left:
            later = now + timedelta(seconds=_ASK_AGAIN)
            self._note(replace(removal, pending=left, ask_at=later))
            return replace(told, again=_ASK_AGAIN)
        return self._confirmed(removal)

    def _holds_any(self, digests: Bytes) -> bool:
        """Whether the list may hold any of these, or a run may have brought them to it."""
        if not len(digests):
            return False
        held = leaving(self.books.membership(), lambda lines: members_with(lines, digests))
        return bool(held) or bool(self.under_way.sent(digests)[0])

    def _confirmed(self, removal: ListRemoval) -> Step | None:
        """The partner took everybody off: so do the books, unless a run has seen to it since."""
        if not self.alone:
            return Step(sent=removal.through, acknowledged=removal.through, again=SOON)
        self._note(replace(removal, pending=()))
        known = self.books.known
        if known < removal.through:
            digests = self._digests(known, removal.through)
            held = leaving(self.books.membership(), lambda lines: members_with(lines, digests))
            self.books.write_off(held, removal.through, self.held[self.name])
        return None

    def _answer(self, link: Link, reference: str) -> Receipt | None:
        """What the partner says of a reference; None where it says that all is done."""
        connector = link.connector
        try:
            with faults_of(connector.name):
                receipt = connector.poll(reference)
        except RefusedError as error:
            return Receipt(accepted=0, lost=True, reason=str(error))
        return receipt if receipt.pending or not _done(receipt) else None

    def _note(self, removal: ListRemoval) -> None:
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
    alive = [part.take(part.alive) for part in lines]
    return frozenset(
        sequence
        for sequence, digests in each.items()
        if any(members_with(part, digests).any() for part in alive)
    )


def _done(receipt: Receipt) -> bool:
    return not (receipt.lost or receipt.unattributed or receipt.rejected)


def _has_state(connector: Connector[Any]) -> bool:
    """Whether a connector has work before the first or after the last upload of a delivery."""
    alone = type(connector)
    return alone.open is not Connector.open or alone.close is not Connector.close
