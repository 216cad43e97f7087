"""Jobs: work that is cut into pieces for many workers, stage by stage; the ledger counts them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from audience_sync.errors import ConfigurationError
from audience_sync.ledger.database import Database, storable
from audience_sync.ledger.leases import fence
from audience_sync.ledger.records.work import Job, JobState, Lease, Piece
from audience_sync.ledger.tables.work import jobs, leases, pieces

_JOB_FIELDS = tuple(field.name for field in fields(Job))


class Jobs(Database):
    """Jobs and their pieces. Who works on a piece holds the lease `piece_lease(...)` (L7).

    A message that wakes a piece may be lost, doubled or late: what is done stands here, and the
    last piece of a stage is known by counting, not by anybody's memory.
    """

    def create_job(self, job: Job, numbers: int) -> None:
        """Write a job whose first stage has so many pieces."""
        with self._writing() as connection:
            columns = {name: storable(getattr(job, name)) for name in _JOB_FIELDS}
            connection.execute(sa.insert(jobs).values(columns))
            _add_pieces(connection, job.id, job.stage, numbers)

    def job(self, id: str) -> Job:  # noqa: A002 - the word of the record
        """The job with this id."""
        with self._reading() as connection:
            return _find(connection, id)

    def jobs(
        self, states: Collection[JobState] = (JobState.OPEN,), *, prefix: str = ""
    ) -> list[Job]:
        """The jobs in these states whose ids begin so, oldest first."""
        query = sa.select(jobs).where(jobs.c.state.in_(states)).order_by(jobs.c.created_at)
        if prefix:
            query = query.where(jobs.c.id.startswith(prefix, autoescape=True))
        with self._reading() as connection:
            return [_job(row) for row in connection.execute(query)]

    def pieces(self, job: str, stage: str) -> list[Piece]:
        """The pieces of one stage in the order of their numbers."""
        query = sa.select(pieces).where(pieces.c.job == job, pieces.c.stage == stage)
        with self._reading() as connection:
            found = connection.execute(query.order_by(pieces.c.number))
            return [_piece(row) for row in found]

    def piece(self, job: str, stage: str, number: int) -> Piece | None:
        """One piece, or None when the job has no such piece."""
        query = sa.select(pieces).where(_this(job, stage, number))
        with self._reading() as connection:
            row = connection.execute(query).first()
        return None if row is None else _piece(row)

    def finish_piece(self, piece: Piece, result: Mapping[str, Any], lease: Lease) -> int:
        """Write what came of a piece, once; how many pieces of its stage are still to do.

        BusyError, and nothing written, when the lease was lost. A piece that was done before
        keeps its first result.
        """
        with self._writing() as connection:
            fence(connection, lease)
            connection.execute(
                sa.update(pieces)
                .where(_this(piece.job, piece.stage, piece.number), pieces.c.done.is_(False))
                .values(done=True, result=dict(result), not_before=None, note=None)
            )
            return _left(connection, piece.job, piece.stage)

    def postpone_piece(
        self, piece: Piece, *, until: datetime | None, note: str | None, lease: Lease
    ) -> None:
        """Hand a piece back: not before a time, and why."""
        with self._writing() as connection:
            fence(connection, lease)
            connection.execute(
                sa.update(pieces)
                .where(_this(piece.job, piece.stage, piece.number))
                .values(not_before=until, note=storable(note), attempts=pieces.c.attempts + 1)
            )

    def pieces_left(self, job: str, stage: str) -> int:
        """How many pieces of a stage are still to do."""
        with self._reading() as connection:
            return _left(connection, job, stage)

    def advance_job(
        self,
        id: str,  # noqa: A002 - as above
        stage: str,
        to: str,
        numbers: int,
        **spec: Any,
    ) -> bool:
        """Begin the next stage once every piece of this one is done; whether this call did it.

        Of several workers that see the last piece done, one begins the next stage.
        """
        with self._writing() as connection:
            row = connection.execute(
                sa.select(jobs).where(jobs.c.id == id).with_for_update()
            ).first()
            if row is None or row.state is not JobState.OPEN or row.stage != stage:
                return False
            if _left(connection, id, stage):
                return False
            connection.execute(
                sa.update(jobs)
                .where(jobs.c.id == id)
                .values(stage=to, spec={**row.spec, **spec}, changed_at=self._clock())
            )
            _add_pieces(connection, id, to, numbers)
            return True

    def end_job(
        self,
        id: str,  # noqa: A002 - as above
        state: JobState,
        reason: str | None = None,
        **spec: Any,
    ) -> bool:
        """End an open job and forget its pieces and their leases; whether it was still open.

        Whoever still works on a piece finds its lease lost and writes nothing more.
        """
        with self._writing() as connection:
            row = connection.execute(
                sa.select(jobs).where(jobs.c.id == id).with_for_update()
            ).first()
            if row is None or row.state is not JobState.OPEN:
                return False
            ended = {"state": state, "reason": storable(reason), "spec": {**row.spec, **spec}}
            connection.execute(
                sa.update(jobs).where(jobs.c.id == id).values(**ended, changed_at=self._clock())
            )
            # Leases first, as whoever finishes a piece: else each could wait for the other.
            own = leases.c.name.startswith(f"piece {id}/", autoescape=True)
            connection.execute(sa.delete(leases).where(own))
            connection.execute(sa.delete(pieces).where(pieces.c.job == id))
            return True

    def note_in_job(self, id: str, **spec: Any) -> None:  # noqa: A002 - as above
        """Add to what a job knows, ended or not."""
        with self._writing() as connection:
            row = connection.execute(
                sa.select(jobs.c.spec).where(jobs.c.id == id).with_for_update()
            ).first()
            if row is not None:
                told = {**row.spec, **spec}
                connection.execute(sa.update(jobs).where(jobs.c.id == id).values(spec=told))

    def forget_jobs(self, before: datetime) -> None:
        """Delete the jobs that ended before a moment; the runs tell what came of them."""
        over = sa.and_(jobs.c.state != JobState.OPEN, jobs.c.changed_at < before)
        with self._writing() as connection:
            connection.execute(sa.delete(jobs).where(over))


def piece_lease(job: str, stage: str, number: int) -> str:
    """The name of the lease that protects a piece."""
    return f"piece {job}/{stage}/{number}"


def _this(job: str, stage: str, number: int) -> sa.ColumnElement[bool]:
    return sa.and_(pieces.c.job == job, pieces.c.stage == stage, pieces.c.number == number)


def _left(connection: sa.Connection, job: str, stage: str) -> int:
    query = sa.select(sa.func.count()).where(
        pieces.c.job == job, pieces.c.stage == stage, pieces.c.done.is_(False)
    )
    return int(connection.execute(query).scalar_one())


def _add_pieces(connection: sa.Connection, job: str, stage: str, numbers: int) -> None:
    if numbers:
        empty = {"job": job, "stage": stage, "done": False, "attempts": 0, "result": {}}
        rows = [empty | {"number": number} for number in range(numbers)]
        connection.execute(sa.insert(pieces), rows)


def _find(connection: sa.Connection, wanted: str) -> Job:
    row = connection.execute(sa.select(jobs).where(jobs.c.id == wanted)).first()
    if row is None:
        raise ConfigurationError(f"no job {wanted}; it ended long ago or never was")
    return _job(row)


def _job(row: sa.Row[Any]) -> Job:
    return Job(**row._mapping)  # noqa: SLF001 - the public way to read a row by names


def _piece(row: sa.Row[Any]) -> Piece:
    return Piece(**row._mapping)  # noqa: SLF001 - the public way to read a row by names
