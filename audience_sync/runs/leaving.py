"""Who withdrew and is still in our books, and why somebody was taken off: for those who ask."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.log import Event
from audience_sync.ledger.records.runs import RemoteList
from audience_sync.ledger.traces import Trace
from audience_sync.ledger.withdrawals import Withdrawal
from audience_sync.membership.lines import HELD, Lines
from audience_sync.runs.generations import known_withdrawals
from audience_sync.runs.holding import members_with
from audience_sync.runs.standing import Standing
from audience_sync.runs.taken_away import BY_DELETING, OF_RUNS
from audience_sync.runs.traces import DELETED_FOR_OTHERS, EMPTIED_FOR_OTHERS, OF_WITHDRAWALS

SENT, NOT_SENT = "removal sent, being confirmed", "held, removal on its way"


class Because(StrEnum):
    """Why somebody was taken off a list, where it is known."""

    WITHDRAWN = "withdrawn"
    EMPTIED = "list emptied"  # with everybody else, since the partner kept others who must leave
    DELETED = "list deleted"  # the same
    REPLACED = "replaced"  # the same list holds them under another address since


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """Somebody was taken off a list: by a `run`, or because of a `withdrawal`, by its id.

    The withdrawal is not known where it was purged, or where it was others who withdrew.
    """

    run: str | None
    withdrawal: str | None
    because: Because | None
    audience: str
    destination: str
    held_since: datetime
    removed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A withdrawal that names somebody, as they were told of it, from one partner or from all.

    It is `lifted_at` destinations that hold them although the books there know of it: a later
    grant did that. Elsewhere one may have, too, which the next sync finds in the source.
    """

    id: str
    received_at: datetime
    partner: str | None
    lifted_at: tuple[str, ...]


class Here(Protocol):
    """A list that holds them now, and the runs that sent them there, the first one first."""

    @property
    def audience(self) -> str:
        """Of which audience it is."""
        ...

    @property
    def destination(self) -> str:
        """Where it is."""
        ...

    @property
    def runs(self) -> tuple[str, ...]:
        """What sent them."""
        ...


_NAMES = {
    OF_WITHDRAWALS: Because.WITHDRAWN,
    EMPTIED_FOR_OTHERS: Because.EMPTIED,
    DELETED_FOR_OTHERS: Because.DELETED,
}
_EVERYBODY = {OF_RUNS: Because.EMPTIED, f"{OF_RUNS} {BY_DELETING}": Because.DELETED}


@dataclass(frozen=True)
class Leaving:
    """Withdrawals on their way to one list after another."""

    ledger: Ledger
    standing: Standing

    def of(self, remote: RemoteList, lines: Lines, partner: str | None) -> tuple[str, str] | None:
        """How far the removal of these people is, and for which withdrawal; None: they stay.

        Whoever is in books that know of a withdrawal agreed anew since.
        """
        alive = lines.take(lines.alive)
        known, head = known_withdrawals(remote), self.ledger.newest_withdrawal()
        if not len(alive) or known >= head:
            return None
        each = self.standing.each(known, head, partner or "")
        naming = [number for number, one in each.items() if members_with(alive, one).any()]
        if not naming:
            return None
        removal = self.ledger.list_removal(remote.audience, remote.destination)
        told = removal is not None and removal.through >= min(naming)
        return SENT if told else NOT_SENT, self._id(min(naming))

    def before(
        self, traces: Iterable[Trace], known: Sequence[Withdrawal], held: Sequence[Here]
    ) -> Iterator[Before]:
        """What was held before, with the newest of the withdrawals that were received by then."""
        sent = {(one.audience, one.destination, one.runs[0]) for one in held if one.runs}
        for trace in traces:
            because = next(
                (why for word, why in _NAMES.items() if trace.run.startswith(word)), None
            )
            mine = because is Because.WITHDRAWN
            there = [one for one in known if mine and one.received_at <= trace.removed_at]
            run = trace.run if because is None else None
            if (trace.audience, trace.destination, run) in sent:
                because = Because.REPLACED
            yield Before(
                run=run,
                withdrawal=self._id(there[-1].sequence) if there else None,
                because=because if run is None or because else self._everybody(run),
                audience=trace.audience,
                destination=trace.destination,
                held_since=trace.held_since,
                removed_at=trace.removed_at,
            )

    def _everybody(self, run: str) -> Because | None:
        """Whether a run took off everybody, as far as the transfer log goes back."""
        found = None
        for logged in self.ledger.log_lines(run=run):
            line = logged.line
            if line.event in (Event.OUTCOME, Event.CONFIRMED) and line.accepted:
                found = _EVERYBODY.get(line.operation or "", found)
        return found

    def recorded(
        self,
        known: Sequence[Withdrawal],
        held: Iterable[tuple[RemoteList, Lines]],
        partner_of: Callable[[str], str | None],
    ) -> Iterator[Recorded]:
        """These withdrawals, each once: what the source had of the customers belongs to it."""
        families: dict[int, list[Withdrawal]] = {}
        for one in known:
            families.setdefault(self._told(one).sequence, []).append(one)
        lists = [(remote, lines.take(lines.state == HELD)) for remote, lines in held]
        for number, theirs in sorted(families.items()):
            told = self._told(theirs[0])
            digests = self.standing.digests_of(theirs)
            lifted = {
                remote.destination
                for remote, lines in lists
                if told.partner in (None, partner_of(remote.destination))
                and known_withdrawals(remote) >= max(number, *(one.sequence for one in theirs))
                and members_with(lines, digests).any()
            }
            yield Recorded(
                id=told.id,
                received_at=told.received_at,
                partner=told.partner,
                lifted_at=tuple(sorted(lifted)),
            )

    def _id(self, sequence: int) -> str:
        """As the person was told: by the withdrawal that the source's answer belongs to."""
        [found] = self.ledger.withdrawals_numbered([sequence])
        return self._told(found).id

    def _told(self, one: Withdrawal) -> Withdrawal:
        """The one that the person was told of; its child where that one was purged."""
        parents = [] if one.parent is None else self.ledger.withdrawals_numbered([one.parent])
        return parents[0] if parents else one
