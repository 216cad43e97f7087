"""Send the batches of a run in sessions, several at a time, removals first (L4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from hashlib import sha256

from audience_sync.connector import Limits, Upload
from audience_sync.ledger.records import Batch, BatchState, Operation
from audience_sync.runs.transfer import Transfer

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
        for session in _sessions(transfer, operation, waiting, limits):
            _send_session(transfer, session, limits.parallel_uploads, done)


def _sessions(
    transfer: Transfer, operation: Operation, batches: Sequence[Batch], limits: Limits
) -> Iterator[Session]:
    """Cut batches into sessions with fresh numbers, so that a resumed run never reuses one."""
    begun = transfer.now().isoformat()
    size = limits.batches_per_session
    for start in range(0, len(batches), size):
        part = batches[start : start + size]
        seed = f"{transfer.run.id} {operation} {begun} {start}"
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
                ),
            )
            for sequence, batch in enumerate(part, start=1)
        ]


def _send_session(
    transfer: Transfer, session: Session, parallel: int, done: Callable[[Batch], None]
) -> None:
    """All but the last batch in parallel, then the last one, which closes the session."""
    with ThreadPoolExecutor(max(1, parallel)) as pool:
        waiting: set[Future[Batch]] = set()
        try:
            for batch, upload in session[:-1]:
                waiting.add(pool.submit(transfer.send, batch, upload))
                if len(waiting) >= 2 * parallel:
                    waiting = _collect(transfer, waiting, done)
            while waiting:
                waiting = _collect(transfer, waiting, done)
            batch, upload = session[-1]
            done(pool.submit(transfer.send, batch, upload).result())
        finally:
            for future in waiting:
                future.cancel()


def _collect(
    transfer: Transfer, waiting: set[Future[Batch]], done: Callable[[Batch], None]
) -> set[Future[Batch]]:
    finished, left = wait(waiting, timeout=1.0, return_when=FIRST_COMPLETED)
    transfer.held.renew()
    for future in finished:
        done(future.result())
    return set(left)
