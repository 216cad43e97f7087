"""Deliver a planned report of orders from its outbox, and end it when it cannot be finished."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from audience_sync.connector import OrderConnector
from audience_sync.errors import (
    AudienceSyncError,
    BusyError,
    ConfigurationError,
    RefusedError,
    StateError,
    TemporaryPartnerError,
)
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.runs import Batch, BatchState, Run, RunState
from audience_sync.membership.location import StateLocation
from audience_sync.membership.outbox import destroy_outbox
from audience_sync.membership.sealed import Keyring
from audience_sync.runs.leases import Held
from audience_sync.runs.link import Link
from audience_sync.runs.orders.outbox import OrderOutbox
from audience_sync.runs.orders.plan import VANISHED
from audience_sync.runs.orders.transfer import OrderTransfer
from audience_sync.runs.progress import Progress
from audience_sync.runs.threads import Threads
from audience_sync.runs.unanswered import unknown_lines

_TRY_AGAIN = 300.0  # seconds, where the partner named no time
_UNSEEN = "no answer was seen; nobody knows yet whether the orders arrived"
_UNKNOWN = (
    "whether {:,} orders arrived is not known, and they are not reported again until you say: "
    "compare them with the partner's report, then `audience-sync orders arrived {}` or "
    "`audience-sync orders lost {}`"
)
_REJECTED = "the partner rejected {:,} orders; correct them in the source"


@dataclass(frozen=True, kw_only=True)
class OrderDeliverer:
    """Delivers reports; the ledger knows how far each batch is, so it can be called again."""

    ledger: Ledger
    location: StateLocation
    keyring: Keyring
    now: Callable[[], datetime]
    progress: Progress

    def deliver(self, run: Run, link: Link, _adopted: str | None, held: Held) -> Run:
        """Report what was not sent yet; the run as it stands then.

        A partner that cannot answer now leaves the run `delivering`. What may have arrived is
        never sent again by itself.
        """
        connector = link.connector
        if not isinstance(connector, OrderConnector):
            raise ConfigurationError(
                f"{link.destination} takes no orders; take it out of `orders:`, and drop this run "
                f"with `audience-sync cancel {run.id}`"
            )
        run = self._begin(run, held)
        try:
            outbox = OrderOutbox(self.location, self.keyring, run.id, run.outbox)
            self._send(run, link, connector, outbox, held)
        except RefusedError as error:
            return self.give_up(run, RunState.FAILED, str(error), held)
        except (BusyError, StateError):
            raise
        except AudienceSyncError as error:
            pause = getattr(error, "retry_after", None) or _TRY_AGAIN
            temporary = isinstance(error, TemporaryPartnerError)
            later = self.now() + timedelta(seconds=pause) if temporary else None
            self.ledger.change_run(run.id, reason=str(error), next_attempt_at=later)
            raise
        return self._end(run, held)

    def give_up(self, run: Run, to: RunState, reason: str | None, held: Held) -> Run:
        """End a run before its end: what was accepted counts, the rest is planned anew."""
        if run.state is RunState.DELIVERING:
            self._note_unknown(run, held)
        told = [reason, self._unknown(run)]
        return self._ended(run, to, "; ".join(text for text in told if text) or None, held)

    def refuse_outdated(self, run: Run) -> None:
        """A ConfigurationError when orders were planned again since."""
        newest = self.ledger.last_run(run.audience, run.destination)
        if newest is not None and newest.id != run.id:
            raise ConfigurationError(
                f"orders for {run.destination} were planned again since run {run.id}; "
                "cancel it and plan again"
            )

    def _begin(self, run: Run, held: Held) -> Run:
        self.refuse_outdated(run)
        begun = self.ledger.move_run(
            run.id,
            RunState.DELIVERING,
            expect=[RunState.PLANNED, RunState.HELD, RunState.DELIVERING],
            lease=held[run.lease_name],
            started_at=run.started_at or self.now(),
            next_attempt_at=None,
        )
        self._note_unknown(begun, held)
        return begun

    def _note_unknown(self, run: Run, held: Held) -> None:
        """Log each intent without an answer as unknown; its lines are so already."""
        lines = [
            replace(line, note=_UNSEEN) for line in unknown_lines(self.ledger, run, self.now())
        ]
        stuck = [
            replace(batch, state=BatchState.UNKNOWN)
            for batch in self.ledger.batches(run.id)
            if batch.state is BatchState.SENDING
        ]
        if lines or stuck:
            self.ledger.record(lines, stuck, held[run.lease_name])

    def _send(
        self,
        run: Run,
        link: Link,
        connector: OrderConnector[Any],
        outbox: OrderOutbox,
        held: Held,
    ) -> None:
        transfer = OrderTransfer(
            ledger=self.ledger,
            run=run,
            link=link,
            connector=connector,
            outbox=outbox,
            held=held,
            now=self.now,
        )
        batches = self.ledger.batches(run.id)
        unknown = [batch for batch in batches if _in_doubt(batch)]
        repeatable = connector.repeatable()
        settled = map(transfer.settled, unknown)
        again = [one for one in settled if _waits(one) or (repeatable and _in_doubt(one))]
        waiting = [*again, *filter(_waits, batches)]
        total = sum(batch.members for batch in waiting)
        advance = self.progress.stage(f"Reporting orders to {run.destination}", total)
        parallel = max(1, connector.limits.parallel_uploads)
        _send_all(transfer, waiting, parallel, lambda batch: advance(batch.members))

    def _end(self, run: Run, held: Held) -> Run:
        batches = self.ledger.batches(run.id)
        rejected = sum(batch.rejected for batch in batches)
        vanished = run.delta.get("vanished", 0)
        unknown = self._unknown(run)
        told = [
            unknown,
            _REJECTED.format(rejected) if rejected else None,
            VANISHED.format(vanished) if vanished else None,
        ]
        reason = "; ".join(text for text in told if text) or None
        return self._ended(run, RunState.FAILED if unknown else RunState.CONFIRMED, reason, held)

    def _unknown(self, run: Run) -> str | None:
        """What to do about orders that perhaps arrived, where there are any."""
        batches = self.ledger.batches(run.id)
        orders = sum(batch.members - batch.rejected for batch in batches if _in_doubt(batch))
        return _UNKNOWN.format(orders, run.id, run.id) if orders else None

    def _ended(self, run: Run, to: RunState, reason: str | None, held: Held) -> Run:
        ended = self.ledger.move_run(
            run.id,
            to,
            expect=[run.state],
            lease=held[run.lease_name],
            reason=reason,
            finished_at=self.now(),
            next_attempt_at=None,
        )
        destroy_outbox(self.location, run.id)
        return ended


def _waits(batch: Batch) -> bool:
    return batch.state is BatchState.WAITING


def _in_doubt(batch: Batch) -> bool:
    return batch.state is BatchState.UNKNOWN


def _send_all(
    transfer: OrderTransfer,
    batches: Sequence[Batch],
    parallel: int,
    done: Callable[[Batch], None],
) -> None:
    """Keep `parallel` reports under way; after the first error no more begin."""
    left = iter(batches)
    under_way: set[Future[Batch]] = set()
    with Threads(parallel) as threads:
        try:
            while True:
                while len(under_way) < parallel and (batch := next(left, None)) is not None:
                    under_way.add(threads.submit(transfer.send, batch))
                if not under_way:
                    return
                ended, under_way = wait(under_way, timeout=1.0, return_when=FIRST_COMPLETED)
                transfer.held.renew(transfer.run.lease_name)
                for future in ended:
                    done(future.result())
        finally:
            for future in under_way:
                future.cancel()
