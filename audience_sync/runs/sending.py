"""Send the batches of a run in sessions, several at a time, removals first (L4)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
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
        sessions = _sessions(transfer, operation, waiting, limits)
        _send_sessions(transfer, sessions, max(1, limits.parallel_uploads), done)


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


@dataclass
class _Open:
    """A session under way: how many batches are to be answered before its last one may go."""

    before_last: int
    last: tuple[Batch, Upload]


def _send_sessions(
    transfer: Transfer,
    sessions: Iterator[Session],
    parallel: int,
    done: Callable[[Batch], None],
) -> None:
    """Keep `parallel` uploads under way; a session's last batch waits for its others."""
    ready: deque[tuple[tuple[Batch, Upload], _Open]] = deque()
    under_way: dict[Future[Batch], _Open] = {}
    with ThreadPoolExecutor(parallel) as pool:
        try:
            while True:
                while len(under_way) < 2 * parallel:
                    while not ready and (session := next(sessions, None)):
                        opened = _Open(len(session) - 1, session[-1])
                        ready.extend((item, opened) for item in session[:-1] or session)
                    if not ready:
                        break
                    (batch, upload), opened = ready.popleft()
                    under_way[pool.submit(transfer.send, batch, upload)] = opened
                if not under_way:
                    return
                for opened in _answered(transfer, under_way, done):
                    opened.before_last -= 1
                    if opened.before_last == 0:
                        ready.appendleft((opened.last, opened))
        finally:
            for future in under_way:
                future.cancel()


def _answered(
    transfer: Transfer, under_way: dict[Future[Batch], _Open], done: Callable[[Batch], None]
) -> list[_Open]:
    """The sessions of the uploads that ended meanwhile; raises their error."""
    finished, _ = wait(under_way, timeout=1.0, return_when=FIRST_COMPLETED)
    transfer.held.renew(transfer.run.lease_name)
    sessions = [under_way.pop(future) for future in finished]
    for future in finished:
        done(future.result())
    return sessions
