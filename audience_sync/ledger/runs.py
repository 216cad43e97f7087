"""Runs and their batches: written once, moved only along the legal way."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from functools import cache
from typing import Any

import sqlalchemy as sa

from audience_sync.errors import BusyError, ConfigurationError
from audience_sync.ledger.database import Database, storable, upsert
from audience_sync.ledger.leases import fence
from audience_sync.ledger.records.runs import Batch, BatchState, Operation, Run, RunState
from audience_sync.ledger.records.work import Lease
from audience_sync.ledger.tables.runs import batches, runs

# A delivering run may be taken over after a crash; a failed one is planned anew, not resumed.
MOVES: Mapping[RunState, frozenset[RunState]] = {
    RunState.PLANNED: frozenset(
        {
            RunState.HELD,
            RunState.DELIVERING,
            RunState.CONFIRMED,  # nothing to send
            RunState.FAILED,
            RunState.CANCELLED,
        }
    ),
    RunState.HELD: frozenset(
        {RunState.PLANNED, RunState.DELIVERING, RunState.FAILED, RunState.CANCELLED}
    ),
    RunState.DELIVERING: frozenset(
        {
            RunState.DELIVERING,
            RunState.DELIVERED,
            RunState.CONFIRMED,
            RunState.FAILED,
            RunState.CANCELLED,
        }
    ),
    RunState.DELIVERED: frozenset({RunState.CONFIRMED, RunState.FAILED, RunState.CANCELLED}),
    RunState.FAILED: frozenset(),
    RunState.CONFIRMED: frozenset(),
    RunState.CANCELLED: frozenset(),
}
ENDED = frozenset(state for state, onward in MOVES.items() if not onward)

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # no i, l, o, u: easy to read out
_TIME_DIGITS = 4  # of the day, in steps of 82 ms
_CHANCE_DIGITS = 6  # a plan may name thousands of runs in one step, and days have many
_FIXED = {"id", "state"}  # a run keeps its id, and moves by move_run
_RUN_FIELDS = {field.name for field in fields(Run)}
_BATCH_FIELDS = tuple(field.name for field in fields(Batch))
_BATCH_KEY = ("run", "position")


@cache
def _rewrite(dialect: str) -> sa.Insert:
    """Made once, since making a statement costs more than running it."""
    insert = upsert(dialect, batches)
    newer = {name: insert.excluded[name] for name in _BATCH_FIELDS if name not in _BATCH_KEY}
    return insert.on_conflict_do_update(index_elements=_BATCH_KEY, set_=newer)


class Runs(Database):
    """What was planned, how far it is, and each batch of it."""

    def new_run_id(self) -> str:
        """A short name that sorts by time, such as r20261121-q3k7m2xa9c."""
        now = self._clock()
        seconds = now.hour * 3600 + now.minute * 60 + now.second + now.microsecond / 1e6
        tick = int(seconds / 86400 * 32**_TIME_DIGITS)
        written = [_ALPHABET[tick >> 5 * place & 31] for place in reversed(range(_TIME_DIGITS))]
        chance = [secrets.choice(_ALPHABET) for _ in range(_CHANCE_DIGITS)]
        return f"r{now:%Y%m%d}-{''.join(written + chance)}"

    def create_run(self, run: Run, batches: Sequence[Batch], *leases: Lease) -> None:
        """Write a run and all its batches; BusyError, and nothing, when a lease was lost."""
        with self._writing() as connection:
            for lease in leases:
                fence(connection, lease)
            columns = {name: storable(getattr(run, name)) for name in _RUN_FIELDS}
            connection.execute(sa.insert(runs).values(columns))
            write_batches(connection, batches)

    def run(self, id: str) -> Run:  # noqa: A002 - the word of the command line and the record
        """The run with this id, or the only one whose id starts with it."""
        with self._reading() as connection:
            return _find(connection, id)

    def runs(
        self,
        *,
        audience: str | None = None,
        destination: str | None = None,
        states: Collection[RunState] | None = None,
        limit: int | None = None,
    ) -> list[Run]:
        """The runs that match, newest first."""
        query = sa.select(runs).order_by(runs.c.planned_at.desc(), runs.c.id.desc()).limit(limit)
        if audience is not None:
            query = query.where(runs.c.audience == audience)
        if destination is not None:
            query = query.where(runs.c.destination == destination)
        if states is not None:
            query = query.where(runs.c.state.in_(states))
        with self._reading() as connection:
            return [_run(row) for row in connection.execute(query)]

    def last_run(
        self, audience: str, destination: str, states: Collection[RunState] | None = None
    ) -> Run | None:
        """The newest run of this audience to this destination in one of these states."""
        found = self.runs(audience=audience, destination=destination, states=states, limit=1)
        return found[0] if found else None

    def move_run(
        self,
        id: str,  # noqa: A002 - the word of the command line and the record
        to: RunState,
        *,
        expect: Collection[RunState],
        lease: Lease | None = None,
        **changes: Any,
    ) -> Run:
        """Move a run on, only from a state that is expected and that leads there.

        BusyError when the run is elsewhere by now or the lease was lost. A run that ends
        forgets which positions of its batches were rejected or withheld.
        """
        legal = [state for state in expect if to in MOVES[state]]
        if not legal:
            raise ValueError(f"no run moves from {', '.join(expect)} to {to}")
        with self._writing() as connection:
            fence(connection, lease)
            moved = connection.execute(
                sa.update(runs)
                .where(runs.c.id == id, runs.c.state.in_(legal))
                .values(state=to, **_allowed(changes))
            )
            run = _find(connection, id)
            if moved.rowcount == 0:
                raise BusyError(f"run {run.id} is {run.state} by now; it was not made {to}")
            if to in ENDED:
                _forget_positions(connection, id)
        return run

    def change_run(self, id: str, **changes: Any) -> Run:  # noqa: A002 - as above
        """Change anything of a run but its id and its state."""
        with self._writing() as connection:
            connection.execute(sa.update(runs).where(runs.c.id == id).values(**_allowed(changes)))
            return _find(connection, id)

    def batches(
        self,
        run_id: str,
        within: range | None = None,
        *,
        operation: Operation | None = None,
        states: Collection[BatchState] | None = None,
    ) -> list[Batch]:
        """The batches of a run in the order of its outbox, or those at some positions."""
        query = sa.select(batches).where(batches.c.run == run_id).order_by(batches.c.position)
        if within is not None:
            query = query.where(batches.c.position.between(within.start, within.stop - 1))
        if operation is not None:
            query = query.where(batches.c.operation == operation)
        if states is not None:
            query = query.where(batches.c.state.in_(states))
        with self._reading() as connection:
            return [_batch(row) for row in connection.execute(query)]

    def any_batch(self, run_id: str, operation: Operation, states: Collection[BatchState]) -> bool:
        """Whether a run has such a batch, however many it has."""
        query = sa.select(batches.c.position).where(
            batches.c.run == run_id,
            batches.c.operation == operation,
            batches.c.state.in_(states),
        )
        with self._reading() as connection:
            return connection.execute(query.limit(1)).first() is not None


def write_batches(connection: sa.Connection, changed: Sequence[Batch]) -> None:
    """Insert these batches or put them in the place of their older selves."""
    if not changed:
        return
    connection.execute(
        _rewrite(connection.dialect.name),
        [{name: storable(getattr(batch, name)) for name in _BATCH_FIELDS} for batch in changed],
    )


def _forget_positions(connection: sa.Connection, run_id: str) -> None:
    connection.execute(
        sa.update(batches)
        .where(batches.c.run == run_id)
        .values(rejected_positions=(), withheld_positions=())
    )


def _find(connection: sa.Connection, wanted: str) -> Run:
    row = connection.execute(sa.select(runs).where(runs.c.id == wanted)).first()
    if row is not None:
        return _run(row)
    alike = connection.execute(
        sa.select(runs).where(runs.c.id.startswith(wanted, autoescape=True)).limit(2)
    ).all()
    if not wanted or not alike:
        raise ConfigurationError(f"no run {wanted}; `audience-sync runs` lists them")
    if len(alike) > 1:
        raise ConfigurationError(f"several runs start with {wanted}; give more of the id")
    return _run(alike[0])


def _allowed(changes: Mapping[str, Any]) -> dict[str, Any]:
    wrong = sorted(set(changes) - _RUN_FIELDS | set(changes) & _FIXED)
    if wrong:
        raise TypeError(f"a run's {', '.join(wrong)} cannot be changed")
    return {name: storable(value) for name, value in changes.items()}


def _run(row: sa.Row[Any]) -> Run:
    return Run(**row._mapping)  # noqa: SLF001 - the public way to read a row by names


def _batch(row: sa.Row[Any]) -> Batch:
    columns = dict(row._mapping)  # noqa: SLF001 - the public way to read a row by names
    for name in ("rejected_positions", "withheld_positions"):
        columns[name] = tuple(columns[name])
    return Batch(**columns)
