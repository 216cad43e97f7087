"""One list as the withdrawal lane finds it: its books, the runs at it, what it was told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np

from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.list_removals import ListRemoval
from audience_sync.ledger.records.runs import Run, RunState
from audience_sync.membership.digests import Bytes, match
from audience_sync.membership.lines import DOUBTFUL, Lines
from audience_sync.membership.location import StateLocation
from audience_sync.membership.sealed import Keyring
from audience_sync.runs.asking import Asking
from audience_sync.runs.books import Books
from audience_sync.runs.departing import Leaving, leaving
from audience_sync.runs.escalation import Escalation
from audience_sync.runs.holding import members_with, united
from audience_sync.runs.leases import LANE, Held
from audience_sync.runs.link import Link
from audience_sync.runs.standing import Standing
from audience_sync.runs.steps import BUSY
from audience_sync.runs.traces import Leavers
from audience_sync.runs.under_way import UnderWay, unseen

_ARRIVES = timedelta(minutes=10)  # so long a partner may be at an upload whose sender is gone
LATE = 60.0  # seconds until a list is looked at again to which one may come late
_STANDS_STILL = (
    "run {0}, which perhaps added them, stands still, and they are taken off once more after it: "
    "the next sync, a worker or `audience-sync resume {0}` goes on with it"
)
_OPEN_RUNS = (RunState.PLANNED, RunState.HELD, RunState.DELIVERING)


@dataclass(frozen=True, kw_only=True)
class Means:
    """What lists are looked at with: our books, the way to each partner, what the project says."""

    ledger: Ledger
    location: StateLocation
    keyring: Keyring
    link: Callable[[str], Link]
    partner_of: Callable[[str], str | None]  # a destination's connector; None where it is gone
    escalation: Escalation
    now: Callable[[], datetime] = field(repr=False)
    leavers: Leavers | None = None
    early: bool = False  # whether partners are asked before it is time

    @property
    def standing(self) -> Standing:
        """The withdrawals."""
        return Standing(self.ledger, self.location, self.keyring)


class AsFound:
    """Under the lane's own lease of the list; `alone` says whether under the list's lease, too."""

    def __init__(
        self, means: Means, audience: str, destination: str, head: int, held: Held, *, alone: bool
    ) -> None:
        self.means, self.ledger, self.held, self.alone = means, means.ledger, held, alone
        self.name = f"{audience}/{destination}"
        self.lease = f"{LANE}{self.name}"
        self.head = head
        # The runs before the list: what settles in between is then seen twice, not missed.
        self.runs = self._open_runs(audience, destination)
        parts = self.ledger, means.location, means.keyring
        watched = any(run.state in _OPEN_RUNS for run in self.runs)
        remote = self.ledger.remote_list(audience, destination)
        sending = [run for run in self.runs if run.state is RunState.DELIVERING]
        beside = bool(sending)
        self.books = Books(remote, *parts, means.leavers, watched=watched, sending=beside)
        self.under_way = UnderWay(*parts, sending)
        delivered = [run for run in self.runs if run.state is RunState.DELIVERED]
        self.delivered = UnderWay(*parts, delivered)
        self.removal = self.ledger.list_removal(audience, destination) or ListRemoval(
            audience=audience, destination=destination, sent_at=means.now()
        )
        self.partner = means.partner_of(destination)
        self.asking = Asking(link=self.link, adding=self._adding, now=means.now, early=means.early)

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
        return any(runs.adding(before) for runs in (self.under_way, self.delivered))

    def late(self, each: Mapping[int, Bytes], held: Leaving) -> bool:
        """Whether an upload of any of these, cut off a moment ago, may arrive after a removal.

        Whoever withdrew earlier is in none that was begun since, however often a run is tried. Of
        a run that ended meanwhile our books tell who is in doubt.
        """
        since = self.means.now() - _ARRIVES
        found = self.ledger.withdrawals_numbered(each) if self.alone else ()
        recent = united([each[one.sequence] for one in found if one.received_at > since])
        doubtful = (part.take(part.state == DOUBTFUL) for part in held.lines)
        ended = any(members_with(part, recent).any() for part in doubtful)
        ended = ended and bool(unseen(self.ledger, self.books.settled, since))
        return ended or self.under_way.lately(recent, since)

    def standing_still(self) -> str | None:
        """What to do where a removal came too early for a run that nobody goes on with."""
        early = max((one.through for one in self.removal.unanswered if one.early), default=0)
        run = self.under_way.adding(early) if self.alone else None
        return None if run is None else _STANDS_STILL.format(run.id)

    def holding(self, digests: Bytes) -> Leaving:
        """Who of these is held, tombstones included."""
        return leaving(self.books.membership(), lambda lines: members_with(lines, digests))

    def others(self, digests: Bytes) -> Iterator[Lines]:
        """Who stays, or comes: a run beside us may send its additions at any moment.

        Whoever withdrew before, and stands in our books still or in what a run sent, does not.
        """
        membership, gone = self.books.membership(), self._withdrawn(digests, self.books.known)
        for partition in range(membership.manifest.partitions):
            lines = membership.read(partition, membership.manifest.partitions)
            yield lines.take(lines.alive & ~members_with(lines, gone))
        planned = min((run.withdrawals for run in self.under_way.runs), default=self.head)
        gone = self._withdrawn(digests, planned)
        for lines in self.under_way.coming(sent=self.alone):
            yield lines.take(~members_with(lines, gone))

    def _withdrawn(self, digests: Bytes, after: int) -> Bytes:
        return united([digests, *self.each(after, self.head).values()])

    def each(self, after: int, through: int) -> dict[int, Bytes]:
        """What the withdrawals after one and through another name that concern this partner."""
        return self.means.standing.each(after, through, self.partner or "")

    def coming_back(self, through: int) -> frozenset[int]:
        """Those who were taken off since a run under way was planned, which puts them back.

        Whom our books know of were taken off after it had sent them, and it sends them no more:
        its end leaves them in doubt.
        """
        found: frozenset[int] = frozenset()
        for run in self.under_way.runs:
            each = self.each(max(run.withdrawals, self.books.known), through)
            found |= naming(each, self.under_way.sent(united(list(each.values())))[0])
        return found

    def told_before(self, each: Mapping[int, Bytes]) -> int:
        """After which withdrawal those come of whom the list is told now."""
        return self.removal.last_before(min(each, default=self.head), self.books.known)

    def again(self) -> float:
        """Seconds until the partner is asked, or a run ends whose books wait for what it said."""
        again, known = self.asking.again(self.removal), self.books.known
        return min(again, BUSY) if self.removal.sure(known) > known else again

    def link(self) -> Link:
        """The way to the partner."""
        return self.means.link(self.books.remote.destination)

    def note(self, removal: ListRemoval) -> None:
        """Write down what the list was told, where that is news."""
        if removal != self.removal:
            self.ledger.save_list_removal(removal, self.held[self.lease])
            self.removal = removal


def naming(each: Mapping[int, Bytes], lines: Sequence[Lines]) -> frozenset[int]:
    """The withdrawals that name any of these members, of whom the partner has something."""
    alive = [part.take(part.alive) for part in lines] if each else []
    there = united([values for part in alive for values in (part.keys, *part.columns.values())])
    if not len(there):
        return frozenset()
    numbers = np.repeat(list(each), [len(digests) for digests in each.values()])
    named = match(np.concatenate(list(each.values())), there) >= 0
    return frozenset(np.unique(numbers[named]).tolist())
