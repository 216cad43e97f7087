"""Rows whose time is over: counting them, and deleting them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from audience_sync.ledger.database import Database
from audience_sync.ledger.list_removals import removals
from audience_sync.ledger.receiving import keys
from audience_sync.ledger.records.orders import LineState
from audience_sync.ledger.records.runs import RunState
from audience_sync.ledger.records.work import JobState
from audience_sync.ledger.runs import ENDED
from audience_sync.ledger.tables import metadata
from audience_sync.ledger.tables.fingerprints import fingerprints, reported_lines
from audience_sync.ledger.tables.intake import intake_counts
from audience_sync.ledger.tables.runs import batches, remote_lists, runs
from audience_sync.ledger.tables.work import jobs, leases, pieces, schedules
from audience_sync.ledger.withdrawal_deliveries import deliveries
from audience_sync.ledger.withdrawals import withdrawals

_MARKED_FOR = timedelta(days=30)  # until a fingerprint expires; see `Suppression`
_DELIVERED = (RunState.DELIVERED, RunState.CONFIRMED)
_AT_ONCE = 500  # ids in a statement

Named = Callable[[str, str], bool]


class Retained(Database):
    """Each `purge_…` deletes what is older than a moment; with `dry` it only counts."""

    def purge_runs(self, before: datetime, *, dry: bool = False) -> int:
        """Ended runs and their batches; the newest and the last delivered run of a list stay."""
        ended = sa.func.coalesce(runs.c.finished_at, runs.c.planned_at)
        waiting = sa.select(reported_lines.c.run).where(reported_lines.c.state == LineState.UNKNOWN)
        delivered = runs.c.state.in_(_DELIVERED)
        query = sa.select(runs.c.id).where(
            runs.c.state.in_(ENDED),
            ended < before,
            _newer(()),
            sa.or_(~delivered, _newer(_DELIVERED)),
            runs.c.id.not_in(waiting),
        )
        with self._writing() as connection:
            gone = connection.execute(query).scalars().all()
            if not dry:
                _delete(connection, gone, (batches, batches.c.run), (runs, runs.c.id))
        return len(gone)

    def purge_jobs(self, before: datetime, *, dry: bool = False) -> int:
        """Ended jobs, and leases that nobody has held since."""
        over = sa.and_(jobs.c.state != JobState.OPEN, jobs.c.changed_at < before)
        with self._writing() as connection:
            gone = connection.execute(sa.select(jobs.c.id).where(over)).scalars().all()
            if not dry:
                _delete(connection, gone, (pieces, pieces.c.job), (jobs, jobs.c.id))
            free = _gone(connection, leases, leases.c.expires_at < before, dry=dry)
        return len(gone) + free

    def purge_schedules(self, before: datetime, kept: Collection[str], *, dry: bool = False) -> int:
        """Served times of audiences that are not `kept`."""
        over = sa.and_(schedules.c.due_at < before, schedules.c.audience.not_in(kept))
        return self._purge(schedules, over, dry=dry)

    def purge_lists(self, before: datetime, named: Named, *, dry: bool = False) -> int:
        """Lists that hold nobody, are not `named` any more, and have not changed since."""
        touched = sa.func.coalesce(remote_lists.c.updated_at, remote_lists.c.creation_intended_at)
        over = sa.and_(remote_lists.c.members == 0, sa.or_(touched < before, touched.is_(None)))
        with self._writing() as connection:
            found = connection.execute(sa.select(remote_lists).where(over)).all()
            gone = [
                row
                for row in found
                if not row.manifest.get("files") and not named(row.audience, row.destination)
            ]
            for row in () if dry else gone:
                here = remote_lists.c.audience == row.audience
                there = remote_lists.c.destination == row.destination
                connection.execute(sa.delete(remote_lists).where(here, there, over))
        return len(gone)

    def purge_fingerprints(self, now: datetime, before: datetime, *, dry: bool = False) -> int:
        """Fingerprints that expired, or that were made before a moment."""
        expired = fingerprints.c.expires_at <= now
        older = fingerprints.c.expires_at < before + _MARKED_FOR
        return self._purge(fingerprints, sa.or_(expired, older), dry=dry)

    def purge_reported(self, now: datetime, *, dry: bool = False) -> int:
        """Order lines that are too old to be corrected."""
        return self._purge(reported_lines, reported_lines.c.expires_at <= now, dry=dry)

    def purge_intake(self, now: datetime, before: datetime, *, dry: bool = False) -> int:
        """Marks and receipts whose time is over, and counts of days before a moment."""
        found = self._purge(intake_counts, intake_counts.c.day < f"{before:%Y-%m-%d}", dry=dry)
        for name in ("intake_marks", "intake_receipts"):
            table = metadata.tables[name]
            found += self._purge(table, table.c.expires_at <= now, dry=dry)
        return found

    def purge_withdrawals(self, before: datetime, *, dry: bool = False) -> int:
        """Withdrawals that every destination confirmed before a moment; their files are left.

        The newest stays, since numbers only grow. Until a person is forgotten here the block holds.
        """
        with self._writing() as connection:
            rows = connection.execute(_withdrawn_before(before)).all()
            numbers = [row.sequence for row in rows]
            if not dry:
                places = (deliveries, deliveries.c.sequence), (withdrawals, withdrawals.c.sequence)
                _delete(connection, numbers, *places)
                connection.execute(sa.delete(keys).where(keys.c.at < before))
        return len(rows)

    def purge_removals(self, before: datetime, named: Named, *, dry: bool = False) -> int:
        """Up to which withdrawal lists were cleared that are not `named` any more."""
        with self._writing() as connection:
            found = connection.execute(sa.select(removals).where(removals.c.sent_at < before)).all()
            gone = [row for row in found if not named(row.audience, row.destination)]
            for row in () if dry else gone:
                here = removals.c.audience == row.audience
                there = removals.c.destination == row.destination
                connection.execute(sa.delete(removals).where(here, there))
        return len(gone)

    def _purge(self, table: sa.Table, over: sa.ColumnElement[bool], *, dry: bool) -> int:
        with self._writing() as connection:
            return _gone(connection, table, over, dry=dry)


def _withdrawn_before(before: datetime) -> sa.Select[Any]:
    # What customers were resolved to stays as long as the withdrawal that names them.
    of_it = deliveries.c.sequence == sa.func.coalesce(withdrawals.c.parent, withdrawals.c.sequence)
    at = deliveries.c.confirmed_at
    open_still = sa.select(deliveries.c.sequence).where(of_it, sa.or_(at.is_(None), at >= before))
    newest = sa.select(sa.func.max(withdrawals.c.sequence)).scalar_subquery()
    return sa.select(withdrawals.c.sequence).where(
        withdrawals.c.received_at < before,
        withdrawals.c.sequence < newest,
        ~open_still.exists(),
    )


def _newer(states: Collection[RunState]) -> sa.ColumnElement[bool]:
    """Whether the run's list has a newer one, in one of these states where there are any."""
    other = runs.alias()
    same = (other.c.audience == runs.c.audience, other.c.destination == runs.c.destination)
    query = sa.select(other.c.id).where(*same, other.c.planned_at > runs.c.planned_at)
    return (query.where(other.c.state.in_(states)) if states else query).exists()


def _gone(
    connection: sa.Connection, table: sa.Table, over: sa.ColumnElement[bool], *, dry: bool
) -> int:
    if dry:
        count = sa.select(sa.func.count()).select_from(table).where(over)
        return int(connection.execute(count).scalar_one())
    return connection.execute(sa.delete(table).where(over)).rowcount


def _delete(
    connection: sa.Connection, ids: Sequence[Any], *places: tuple[sa.Table, sa.Column[Any]]
) -> None:
    for start in range(0, len(ids), _AT_ONCE):
        some = ids[start : start + _AT_ONCE]
        for table, column in places:
            connection.execute(sa.delete(table).where(column.in_(some)))
