"""Whom runs bring to a list that are being delivered, and whose removal waits for an answer."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from audience_sync.errors import StateError
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.runs import Batch, BatchState, Operation, Run, RunState
from audience_sync.membership.digests import Bytes, Mask
from audience_sync.membership.lines import Lines
from audience_sync.membership.location import StateLocation
from audience_sync.membership.outbox import Outbox
from audience_sync.membership.sealed import Keyring
from audience_sync.runs.answers import of_members, was_sent_before
from audience_sync.runs.holding import members_with, united

_UNANSWERED = (BatchState.SENDING, BatchState.UNKNOWN)


@dataclass(frozen=True)
class UnderWay:
    """What these runs do to their list."""

    ledger: Ledger
    location: StateLocation
    keyring: Keyring
    runs: Sequence[Run]

    def sent(self, digests: Bytes) -> tuple[list[Lines], bool]:
        """Which of these people were perhaps added, and whether one is in flight."""
        found, in_flight = [], False
        for run in self.runs if len(digests) else ():
            for batch, lines in self._additions(run):
                named = _sent(batch, lines, digests)
                if named.any():
                    found.append(lines.take(named))
                    in_flight |= batch.state is BatchState.SENDING
        return found, in_flight

    def lately(self, digests: Bytes, since: datetime) -> bool:
        """Whether any of these people was sent since then, and nobody saw an answer.

        Whoever sent them may be dead, and the partner still at work on it.
        """
        for run in self.runs if len(digests) else ():
            recent = self._read(run, unseen(self.ledger, run.id, since))
            if any(_sent(batch, lines, digests).any() for batch, lines in recent):
                return True
        return False

    def coming(self, *, sent: bool) -> Iterator[Lines]:
        """Everybody who is added; only what was `sent` where the runs stand still."""
        for run in self.runs:
            for batch, lines in self._additions(run):
                if batch.attempts or not sent:
                    yield lines

    def bringing(self, digests: Bytes) -> Iterator[Lines]:
        """Which of these people are added, sent or not yet."""
        for run in self.runs:
            for _, lines in self._waiting(run, Operation.ADD, None):
                yield lines.take(members_with(lines, digests))

    def arriving(self, each: Mapping[int, Bytes], *, taken: bool) -> bool:
        """Whether the partner may still work on an addition of whom a withdrawal names.

        That is one that it has `taken`, to answer later, or else one that nobody saw an answer to.
        A run that knew of the withdrawal brings nobody but who granted it again.
        """
        for run in self.runs:
            digests = united([names for number, names in each.items() if number > run.withdrawals])
            states = [one for one in _coming(run) if (one is BatchState.PENDING) is taken]
            coming = self._waiting(run, Operation.ADD, states) if len(digests) and states else ()
            if any(_sent(batch, lines, digests).any() for batch, lines in coming):
                return True
        return False

    def adding(self, before: int) -> Run | None:
        """A run planned before this withdrawal whose additions the partner may work on."""
        older = (run for run in self.runs if run.withdrawals < before)
        waiting = (
            run for run in older if self.ledger.any_batch(run.id, Operation.ADD, _coming(run))
        )
        return next(waiting, None)

    def unsure(self, digests: Bytes) -> list[Lines]:
        """Which of these people were taken off, without the partner's last word on it."""
        found = []
        for run in self.runs if len(digests) else ():
            for _, lines in self._waiting(run, Operation.REMOVE, (BatchState.PENDING,)):
                named = members_with(lines, digests)
                if named.any():
                    found.append(lines.take(named))
        return found

    def _waiting(
        self, run: Run, operation: Operation, states: Collection[BatchState] | None
    ) -> Iterator[tuple[Batch, Lines]]:
        """Batches in some states, as long as the run is in its own."""
        try:
            yield from self._of(run, operation, states)
        except StateError:
            if self.ledger.run(run.id).state is run.state:
                raise  # else it was confirmed meanwhile, and its outbox is gone

    def _additions(self, run: Run) -> Iterator[tuple[Batch, Lines]]:
        yield from self._of(run, Operation.ADD)

    def _of(
        self, run: Run, operation: Operation, states: Collection[BatchState] | None = None
    ) -> Iterator[tuple[Batch, Lines]]:
        yield from self._read(run, self._batches(run, operation, states))

    def _batches(
        self, run: Run, operation: Operation, states: Collection[BatchState] | None = None
    ) -> Sequence[Batch]:
        return self.ledger.batches(run.id, operation=operation, states=states)

    def _read(self, run: Run, batches: Sequence[Batch]) -> Iterator[tuple[Batch, Lines]]:
        outbox: Outbox | None = None
        for batch in batches:
            if outbox is None:
                outbox = Outbox(self.location, self.keyring, run.id, run.outbox)
            yield batch, outbox.batch(batch.position)


def unseen(ledger: Ledger, run: str, since: datetime) -> list[Batch]:
    """Additions of a run that were begun since then, of which nobody saw some answer.

    That is perhaps not the last one: whoever withdrew in between was left out of that.
    """
    begun = ledger.begun_since(run, since)
    return [
        batch
        for batch in ledger.batches(run, operation=Operation.ADD)
        if batch.position in begun
        and (batch.state in _UNANSWERED or (batch.withheld > 0 and was_sent_before(batch)))
    ]


def _coming(run: Run) -> Collection[BatchState]:
    """The states of batches that the partner may still work off.

    What was sent without an answer is among them until the run goes on.
    """
    return (BatchState.PENDING, *(_UNANSWERED if run.state is RunState.DELIVERING else ()))


def _sent(batch: Batch, lines: Lines, digests: Bytes) -> Mask:
    """Which lines are of these people and were perhaps sent; not of those who were withheld."""
    named = members_with(lines, digests) & (batch.attempts > 0)
    if batch.withheld and not was_sent_before(batch):
        named &= ~of_members(lines, batch.withheld_positions)
    return named
