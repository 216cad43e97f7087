"""Who withdrew and is still in our books, and why somebody was taken off: for those who ask."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.runs import RemoteList
from audience_sync.ledger.traces import Trace
from audience_sync.ledger.withdrawals import Withdrawal
from audience_sync.membership.lines import Lines
from audience_sync.runs.generations import known_withdrawals
from audience_sync.runs.holding import members_with
from audience_sync.runs.standing import Standing
from audience_sync.runs.traces import OF_WITHDRAWALS

SENT, NOT_SENT = "removal sent, being confirmed", "held, removal on its way"


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """Somebody was taken off a list: by a `run`, or because of a `withdrawal`, by its id.

    Neither is known where the withdrawals were purged.
    """

    run: str | None
    withdrawal: str | None
    audience: str
    destination: str
    held_since: datetime
    removed_at: datetime


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

    def before(self, traces: Iterable[Trace], known: Sequence[Withdrawal]) -> Iterator[Before]:
        """What was held before, with the newest of the withdrawals that were received by then."""
        for trace in traces:
            ours = trace.run.startswith(OF_WITHDRAWALS)
            there = [one for one in known if ours and one.received_at <= trace.removed_at]
            yield Before(
                run=None if ours else trace.run,
                withdrawal=self._id(there[-1].sequence) if there else None,
                audience=trace.audience,
                destination=trace.destination,
                held_since=trace.held_since,
                removed_at=trace.removed_at,
            )

    def _id(self, sequence: int) -> str:
        """As the person was told: by the withdrawal that the source's answer belongs to."""
        found = self._numbered(sequence)
        return (found if found.parent is None else self._numbered(found.parent)).id

    def _numbered(self, sequence: int) -> Withdrawal:
        return self.ledger.withdrawals(after=sequence - 1, through=sequence)[0]
