"""The transfer log: append-only, each line bound to the one before by its hash (law L5)."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from threading import Lock
from typing import Any

import sqlalchemy as sa

from audience_sync.errors import BusyError, StateError
from audience_sync.ledger.chain import Head, check, seal
from audience_sync.ledger.checkpoints import read_all
from audience_sync.ledger.database import Clock, Database, storable
from audience_sync.ledger.leases import fence
from audience_sync.ledger.receiving import OvertakenError, refuse_overtaken
from audience_sync.ledger.records.log import Event, LoggedLine, TransferLine, Verification
from audience_sync.ledger.records.orders import ReportedLine
from audience_sync.ledger.records.runs import Batch
from audience_sync.ledger.records.work import Lease
from audience_sync.ledger.reported import write_reported
from audience_sync.ledger.runs import write_batches
from audience_sync.ledger.tables.log import checkpoints
from audience_sync.ledger.tables.log import transfer_log as log
from audience_sync.ledger.tables.log import transfer_log_head as head
from audience_sync.ledger.trail import Trail

PAGE = 1_000  # lines in memory at a time
_LINE_FIELDS = tuple(field.name for field in fields(TransferLine))
_HEAD = sa.select(head.c.lines, head.c.hash).where(head.c.id == 1)
# Made once, since making a statement costs more than running it.
_LOCKED_HEAD = _HEAD.with_for_update()
_MOVE_HEAD = sa.update(head).where(head.c.id == 1)
_APPEND = sa.insert(log)
_NEWEST = sa.select(checkpoints.c.purged_through).order_by(checkpoints.c.number.desc()).limit(1)
_LAST = sa.select(sa.func.max(log.c.sequence)).scalar_subquery()


class _DamagedLineError(StateError):
    """A line of the transfer log holds what we never write."""

    def __init__(self, sequence: Any) -> None:
        super().__init__(sequence)
        self.sequence = sequence

    def __str__(self) -> str:
        told = f"line {self.sequence} of the transfer log cannot be read"
        return f"{told}; `audience-sync log verify` says more"


@dataclass
class _Call:
    """What one caller of `record` brings, and what became of it."""

    lines: Sequence[TransferLine]
    batches: Sequence[Batch]
    leases: Sequence[Lease | None]
    reported: Sequence[ReportedLine] = ()
    withdrawals: int | None = None
    numbers: list[int] = field(default_factory=list)
    error: Exception | None = None
    done: bool = False


class TransferLog(Database):
    """Appending, reading and verifying the log."""

    def __init__(self, engine: sa.Engine, clock: Clock | None = None) -> None:
        super().__init__(engine, clock)
        self._calls: deque[_Call] = deque()
        self._commits = Lock()

    def record(
        self,
        lines: Sequence[TransferLine],
        batches: Sequence[Batch] = (),
        *leases: Lease | None,
        reported: Sequence[ReportedLine] = (),
        withdrawals: int | None = None,
    ) -> list[int]:
        """Append lines, write batches and order lines in one transaction; the sequence numbers.

        BusyError, and nothing written, when one of the leases was lost; OvertakenError, and nothing
        written, when there are newer withdrawals than the caller knew. Threads that call while
        another one commits are written together by the next: a commit waits for the disk, and
        uploads should not wait for one another's.
        """
        call = _Call(lines, batches, leases, reported, withdrawals)
        self._calls.append(call)
        with self._commits:
            if not call.done:
                self._write([self._calls.popleft() for _ in range(len(self._calls))])
        if not call.done:  # whoever took it to write it was stopped before
            raise _interrupted()
        if call.error is not None:
            raise call.error
        return call.numbers

    def _write(self, calls: Sequence[_Call]) -> None:
        """Write calls together; where that fails, each on its own: none fails for another."""
        try:
            self._commit(calls)
        except Exception as error:  # noqa: BLE001 - raised to its own caller
            if len(calls) == 1:
                calls[0].error = error
            else:
                for call in calls:
                    self._write([call])
        except BaseException:
            for call in calls:
                call.error = _interrupted()
            raise
        finally:
            for call in calls:
                call.done = True

    def _commit(self, calls: Sequence[_Call]) -> None:
        with self._writing() as connection:
            for call in calls:
                try:
                    for lease in call.leases:
                        fence(connection, lease)
                    if call.withdrawals is not None:
                        connection.execute(_LOCKED_HEAD)  # as whoever withdraws does
                        refuse_overtaken(connection, call.withdrawals)
                except (BusyError, OvertakenError) as error:
                    call.error = error
                    continue
                call.numbers = self._append(connection, call.lines) if call.lines else []
                write_batches(connection, call.batches)
                write_reported(connection, call.reported)

    def log_lines(
        self,
        *,
        audience: str | None = None,
        destination: str | None = None,
        since: datetime | None = None,
        run: str | None = None,
        after: int | None = None,
        limit: int | None = None,
    ) -> Iterator[LoggedLine]:
        """The lines that match, oldest first, a page at a time; `after` is a sequence number."""
        equal = {"audience": audience, "destination": destination, "run": run}
        query = sa.select(log).where(
            *(log.c[name] == value for name, value in equal.items() if value is not None)
        )
        if since is not None:
            query = query.where(log.c.at >= since)
        return (_logged(row) for row in self._rows(query, after, limit))

    def newest_line(self) -> int:
        """The number of the last line of the log; 0 when there was none."""
        with self._reading() as connection:
            return int(connection.execute(sa.select(head.c.lines)).scalar() or 0)

    def log_between(self, since: datetime | None, until: datetime | None) -> tuple[int, int]:
        """The numbers of the first and the last line of a time; (1, 0) when it has none."""
        query = sa.select(sa.func.min(log.c.sequence), sa.func.max(log.c.sequence))
        if since is not None:
            query = query.where(log.c.at >= since)
        if until is not None:
            query = query.where(log.c.at <= until)
        with self._reading() as connection:
            first, last = connection.execute(query).one()
        return (1, 0) if first is None else (first, last)

    def unanswered(self, run_id: str) -> list[LoggedLine]:
        """The intents of a run that no outcome and no `unknown` line has answered."""
        waiting: dict[tuple[str | None, int | None], list[LoggedLine]] = {}
        for logged in self.log_lines(run=run_id):
            intents = waiting.setdefault((logged.line.operation, logged.line.batch), [])
            if logged.line.event is Event.INTENT:
                intents.append(logged)
            elif logged.line.event in {Event.OUTCOME, Event.UNKNOWN} and intents:
                intents.pop()
        left = (logged for intents in waiting.values() for logged in intents)
        return sorted(left, key=lambda logged: logged.sequence)

    def begun_since(self, run_id: str, since: datetime) -> set[int | None]:
        """The batches of a run that were begun since then, for the first time or again."""
        query = sa.select(log.c.batch).where(
            log.c.run == run_id, log.c.event == Event.INTENT, log.c.started_at > since
        )
        with self._reading() as connection:
            return set(connection.execute(query.distinct()).scalars())

    def verify_log(self, trusted: Collection[str] | None = None) -> Verification:
        """Read the whole log, a page at a time, and name the first line that is not as written.

        Signatures count when they are of a `trusted` public key; without any, of every key.
        Lines that others append meanwhile are left for the next time.
        """
        with self._reading() as connection:
            end = connection.execute(_HEAD.add_columns(_LAST.label("last"))).first()
            trail = Trail(read_all(connection), trusted)
        found = self._verified(end, trail)
        if found.sound or self._purged() == trail.purged_through:
            return found
        return self.verify_log(trusted)  # lines were purged meanwhile

    def _verified(self, end: sa.Row[Any] | None, trail: Trail) -> Verification:
        fault = trail.fault()
        if end is None or fault is not None:
            return fault or check((), None)
        query = sa.select(log).where(log.c.sequence <= end.lines)
        last = Head(lines=end.lines, hash=end.hash, last=end.last)
        chain = trail.chain()
        try:
            found = check(map(_columns_in, self._rows(query)), last, chain, trail.see)
        except _DamagedLineError as error:
            return chain.broken(error.sequence, f"line {error.sequence} was changed")
        finding = trail.end(chain.last) if found.sound else None
        if finding is not None:
            return chain.broken(chain.last + 1, finding)
        return trail.told(found) if found.sound else found

    def _purged(self) -> int:
        with self._reading() as connection:
            return connection.execute(_NEWEST).scalar() or 0

    def _append(self, connection: sa.Connection, lines: Sequence[TransferLine]) -> list[int]:
        end = connection.execute(_LOCKED_HEAD).first()
        if end is None:
            raise StateError("the transfer log's head is missing; restore the ledger from a backup")
        at, previous, rows = self._clock(), end.hash, []
        for sequence, line in enumerate(lines, start=end.lines + 1):
            columns = {name: storable(getattr(line, name)) for name in _LINE_FIELDS}
            columns |= {"sequence": sequence, "at": at, "previous_hash": previous}
            columns["hash"] = previous = seal(columns)
            rows.append(columns)
        connection.execute(_APPEND, rows)
        connection.execute(_MOVE_HEAD, {"lines": end.lines + len(rows), "hash": previous})
        return [columns["sequence"] for columns in rows]

    def _rows(
        self, query: sa.Select[Any], after: int | None = None, limit: int | None = None
    ) -> Iterator[sa.Row[Any]]:
        """Page by number, so that a slow reader keeps no transaction open."""
        left = limit
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            further = query if after is None else query.where(log.c.sequence > after)
            page = self._page(further.order_by(log.c.sequence).limit(size))
            yield from page
            if len(page) < size:
                return
            after = page[-1].sequence
            left = None if left is None else left - size

    def _page(self, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        with self._reading() as connection:
            try:
                return connection.execute(query).all()
            except (ValueError, sa.exc.DataError):
                pass  # a line that cannot be read; below we look for it
        with self._reading() as connection:
            for number in (
                connection.execute(query.with_only_columns(log.c.sequence)).scalars().all()
            ):
                try:
                    connection.execute(sa.select(log).where(log.c.sequence == number)).all()
                except (ValueError, sa.exc.DataError):
                    raise _DamagedLineError(number) from None
        raise StateError("the transfer log cannot be read; check the database")


def _interrupted() -> StateError:
    return StateError("the ledger was interrupted before it wrote; run again")


def _columns_in(row: sa.Row[Any]) -> dict[str, Any]:
    return dict(row._mapping)  # noqa: SLF001 - the public way to read a row by names


def _logged(row: sa.Row[Any]) -> LoggedLine:
    columns = _columns_in(row)
    chained = {name: columns.pop(name) for name in ("sequence", "at", "previous_hash", "hash")}
    return LoggedLine(line=TransferLine(**columns), **chained)
