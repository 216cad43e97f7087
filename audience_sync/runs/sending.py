"""Send the batches of a run in sessions, several at a time, removals first (L4)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import dataclass, replace
from hashlib import sha256
from queue import SimpleQueue
from threading import Lock

from audience_sync.connector import Limits, Upload
from audience_sync.errors import AudienceSyncError
from audience_sync.journal import carried
from audience_sync.ledger.receiving import OvertakenError
from audience_sync.ledger.records.runs import Batch, BatchState, Operation
from audience_sync.runs.threads import Threads
from audience_sync.runs.transfer import Intent, Outcome, Transfer

OPEN = frozenset({BatchState.WAITING, BatchState.SENDING, BatchState.UNKNOWN})

Session = list[tuple[Batch, Upload]]


def send_batches(
    transfer: Transfer, batches: Sequence[Batch], limits: Limits, done: Callable[[Batch], None]
) -> None:
    """Send every batch that has no answer yet; raises the first error once all in flight ended.

    Additions start after the last removal was answered. `done` is told of each answered batch.
    """
    for operation in (Operation.REMOVE, Operation.ADD):
        waiting = [b for b in batches if b.operation is operation and b.state in OPEN]
        while True:
            try:
                _send_all(transfer, operation, _not_withheld(transfer, waiting, done), limits, done)
                break
            except _GapError:
                wanted = {batch.position for batch in waiting}
                now = transfer.ledger.batches(transfer.run.id)
                if any(batch.attempts for batch in now):
                    transfer = replace(transfer, afresh=False)
                waiting = [b for b in now if b.position in wanted and b.state in OPEN]


class _GapError(AudienceSyncError):
    """All members of a batch withdrew after its session had begun; the rest needs a new one."""


def _not_withheld(
    transfer: Transfer, batches: Sequence[Batch], done: Callable[[Batch], None]
) -> list[Batch]:
    """The batches of which anybody may still be sent; the others are answered by that.

    Before they are cut into sessions, so that a session has no gap.
    """
    if transfer.screen is not None and batches and batches[0].operation is Operation.ADD:
        transfer.screen.refresh()
    out = [batch for batch in batches if transfer.withholds_all(batch)]
    for batch in out:
        transfer.record(None, transfer.intend(batch))
        done(batch)
    return [batch for batch in batches if batch not in out] if out else list(batches)


def _send_all(
    transfer: Transfer,
    operation: Operation,
    waiting: Sequence[Batch],
    limits: Limits,
    done: Callable[[Batch], None],
) -> None:
    if transfer.afresh and waiting:  # others wait: a partner may clear the list with the first
        first, waiting = waiting[:1], waiting[1:]
        session = _sessions(transfer, operation, first, limits, afresh=True)
        _send_sessions(transfer, session, 1, done)
    sessions = _sessions(transfer, operation, waiting, limits)
    _send_sessions(transfer, sessions, max(1, limits.parallel_uploads), done)


def _sessions(
    transfer: Transfer,
    operation: Operation,
    batches: Sequence[Batch],
    limits: Limits,
    *,
    afresh: bool = False,
) -> Iterator[Session]:
    """Cut batches into sessions with fresh numbers, so that a resumed run never reuses one."""
    begun = transfer.now().isoformat()
    size = limits.batches_per_session
    for start in range(0, len(batches), size):
        part = batches[start : start + size]
        seed = f"{transfer.run.id} {operation} {begun} {part[0].position}"
        number = int.from_bytes(sha256(seed.encode()).digest()[:8], "big") >> 1
        total = sum(batch.members for batch in part)
        yield [
            (
                batch,
                Upload(
                    remote_id=transfer.remote_id,
                    session=number or 1,
                    sequence=sequence,
                    last=sequence == len(part),
                    total=total,
                    afresh=afresh,
                ),
            )
            for sequence, batch in enumerate(part, start=1)
        ]


@dataclass
class _Open:
    """A session under way: how many batches are to be answered before its last one may go."""

    before_last: int
    last: tuple[Batch, Upload]


class _Queue:
    """What may be sent next, for several threads; a session's last batch waits for its others."""

    def __init__(self, sessions: Iterator[Session]) -> None:
        self._sessions = sessions
        self._ready: deque[tuple[Batch, Upload, _Open]] = deque()
        self._lock = Lock()
        self._stopped = False

    def take(self) -> tuple[Batch, Upload, _Open] | None:
        """The next batch, or None when nothing can go now.

        Whoever waits for nothing may leave: the last batch of a session becomes ready in the
        hands of the thread that saw the others answered.
        """
        with self._lock:
            while not self._ready and (session := next(self._sessions, None)):
                opened = _Open(len(session) - 1, session[-1])
                self._ready.extend((*item, opened) for item in session[:-1] or session)
            return self._ready.popleft() if self._ready and not self._stopped else None

    def answered(self, opened: _Open) -> None:
        """One more batch of a session has its answer."""
        with self._lock:
            opened.before_last -= 1
            if opened.before_last == 0:
                self._ready.appendleft((*opened.last, opened))

    def stop(self) -> None:
        """Let nothing further go."""
        self._stopped = True


def _send_sessions(
    transfer: Transfer,
    sessions: Iterator[Session],
    parallel: int,
    done: Callable[[Batch], None],
) -> None:
    """Keep up to `parallel` uploads under way until all are answered, or one fails.

    Other workers may be uploading to the same list; together they stay within the partner's limit.
    """
    queue, told = _Queue(sessions), SimpleQueue[Batch]()
    places = transfer.link.slots(transfer.run.audience, parallel)
    with places as found, Threads(found) as threads:
        try:
            send = carried(_send_in_turn)
            left = {threads.submit(send, transfer, queue, told) for _ in range(found)}
            while left:
                ended, left = wait(left, timeout=1.0, return_when=FIRST_COMPLETED)
                transfer.held.renew(transfer.lease_name)
                while not told.empty():
                    done(told.get())
                for future in ended:
                    future.result()
        finally:
            queue.stop()


def _send_in_turn(transfer: Transfer, queue: _Queue, told: SimpleQueue[Batch]) -> None:
    """Send one batch after the other; each outcome is recorded with the intent of the next."""
    item, outcome = queue.take(), None
    try:
        while item is not None:
            batch, upload, opened = item
            intent = _intended(transfer, outcome, batch)
            outcome = None
            if intent.line is None:
                told.put(intent.sending)
                _refuse_gap(upload)
            else:
                outcome = transfer.send(intent, upload)
                told.put(outcome.batch)
            queue.answered(opened)
            item = queue.take()
        transfer.record(outcome, None)
    except BaseException:
        queue.stop()
        raise


def _refuse_gap(upload: Upload) -> None:
    """A session that nobody is left of needs nothing; any other would have a gap."""
    if upload.afresh or upload.sequence > 1 or not upload.last:
        raise _GapError


def _intended(transfer: Transfer, outcome: Outcome | None, batch: Batch) -> Intent:
    """The intent of a batch, recorded; what was answered before is recorded whatever happens."""
    while True:
        try:
            intent = transfer.intend(batch)
        except BaseException:
            transfer.record(outcome, None)
            raise
        try:
            transfer.record(outcome, intent)
        except OvertakenError:  # somebody withdrew between looking and writing
            continue
        return intent
