"""Which runs somebody should go on with now, as the ledger tells it; no message is needed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.runs import Run, RunState


def is_due(run: Run, now: datetime) -> bool:
    """Whether a run is to be gone on with, without a person's word.

    A planned run is, once it has a time; one without waits for a person. A delivering run without
    a time was interrupted or, when it has a reason, waits for the operator or the next sync.
    """
    at = run.next_attempt_at
    if run.state is RunState.PLANNED:
        return at is not None and at <= now
    if run.state is RunState.DELIVERING:
        return run.reason is None if at is None else at <= now
    return run.state is RunState.DELIVERED and (at is None or at <= now)


def due_runs(ledger: Ledger, now: datetime, alive: Callable[[str], bool]) -> list[Run]:
    """The runs that are due and that nobody works on, oldest first."""
    states = [RunState.PLANNED, RunState.DELIVERING, RunState.DELIVERED]
    busy = {lease.name for lease in ledger.leases_held("") if alive(lease.holder)}
    found = [run for run in ledger.runs(states=states) if is_due(run, now)]
    return [run for run in reversed(found) if run.lease_name not in busy]
