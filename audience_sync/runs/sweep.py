"""Delete what dead processes left behind, and fingerprints whose time is over."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta

from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.runs import OPEN_STATES, RunState
from audience_sync.membership.held import Manifest
from audience_sync.membership.location import StateLocation

SCRATCH = "scratch"
PLANS = "plan"  # the kind of job that works there
_SWEPT = "last sweep"  # a lease that keeps nobody out; its end tells when it was taken
_REMEMBERED = 24 * 3600.0  # seconds
_JOBS_KEPT = timedelta(days=30)
_KEEP = (*OPEN_STATES, RunState.DELIVERED)


def sweep(
    ledger: Ledger, location: StateLocation, alive: Callable[[str], bool], now: datetime
) -> None:
    """Safe at any time; does nothing to outboxes and memberships while anybody plans.

    The names are read before the leases and the leases before the runs, so that whatever a
    planner writes meanwhile is either protected by its lease or its job, or known by its run.
    """
    ledger.forget_expired(now)
    ledger.forget_traces(now)
    ledger.forget_reported(now)
    ledger.forget_jobs(now - _JOBS_KEPT)
    spaces = location.names(SCRATCH)
    outboxes = location.names("outbox")
    memberships = [
        f"lists/{destination}/{audience}/{folder}"
        for destination in location.names("lists")
        for audience in location.names(f"lists/{destination}")
        for folder in location.names(f"lists/{destination}/{audience}")
    ]
    planning = {lease.name for lease in ledger.leases_held(f"{SCRATCH}/") if alive(lease.holder)}
    planning |= {f"{SCRATCH}/{job.id}" for job in ledger.jobs() if job.kind == PLANS}
    for space in spaces:
        if f"{SCRATCH}/{space}" not in planning:
            location.delete(f"{SCRATCH}/{space}")
    if planning:
        return
    kept = {run.id for run in ledger.runs(states=_KEEP)}
    for outbox in outboxes:
        if outbox not in kept:
            location.delete(f"outbox/{outbox}")
    used = _used(ledger)
    for folder in memberships:
        if folder.rsplit("/", 1)[1] not in kept:
            _prune(location, folder, used)


def note_sweep(ledger: Ledger, holder: str) -> None:
    """Remember that somebody swept now, for those who supervise."""
    ledger.take_lease(_SWEPT, holder, _REMEMBERED, alive=lambda _holder: False)


def last_sweep(ledger: Ledger) -> datetime | None:
    """When somebody swept last; None when that is longer ago than a day."""
    found = [lease for lease in ledger.leases_held(_SWEPT) if lease.name == _SWEPT]
    return found[0].expires_at - timedelta(seconds=_REMEMBERED) if found else None


def _used(ledger: Ledger) -> Mapping[str, Collection[str]]:
    """The names in use by the folder that they are directly in."""
    used: defaultdict[str, set[str]] = defaultdict(set)
    for remote in ledger.remote_lists():
        kept = remote.manifest.get("kept", ())  # open plans may still look at them
        for path in (*Manifest.of(remote.manifest).files.values(), *kept):
            folder, _, name = path.rpartition("/")
            while name:
                used[folder].add(name)
                folder, _, name = folder.rpartition("/")
    return used


def _prune(location: StateLocation, folder: str, used: Mapping[str, Collection[str]]) -> None:
    """Delete what is not used in a folder; one who died may have left single files."""
    if folder not in used:
        location.delete(folder)
        return
    for name in location.names(folder):
        path = f"{folder}/{name}"
        if name not in used[folder]:
            location.delete(path)
        elif path in used:
            _prune(location, path, used)
