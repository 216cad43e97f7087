"""Deletes everything whose time is over, by the project's `retention:`; see docs/retention.md."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from audience_sync.errors import BusyError, StateError
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.runs import OPEN_STATES, Run
from audience_sync.membership.held import Manifest
from audience_sync.membership.location import StateLocation
from audience_sync.project import Project
from audience_sync.runs.leases import LEASE_SECONDS
from audience_sync.runs.vault import FOLDER as CREDENTIALS
from audience_sync.signing import Signer

EVERY = timedelta(days=1)
_PURGED = "last purge"  # a lease that keeps nobody out; its end tells when it was taken
_REMEMBERED = 7 * 24 * 3600.0  # seconds
_BROKEN = (
    "the transfer log is not as it was written, so nothing of it was purged; "
    "`audience-sync log verify` says where"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Purged:
    """How much of one thing went, or would go, and before which time it was."""

    what: str
    count: int
    before: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Purge:
    """One purge of one project; `cancel` ends a run that waited too long.

    `tidy_withdrawals` deletes what purged withdrawals leave in files.
    Without a `signer` the transfer log stays whole: nothing could stand in for its lines.
    """

    project: Project
    ledger: Ledger
    location: StateLocation
    signer: Signer | None
    cancel: Callable[[Run, str], object]
    tidy_withdrawals: Callable[[], object]
    now: datetime
    dry: bool = False

    def all(self) -> list[Purged]:
        """Everything, plans first: what is cancelled now counts its own time from now on."""
        return [
            self._outboxes(),
            self._transfer_log(),
            self._counted("runs", "runs", self.ledger.purge_runs),
            self._counted("jobs and leases", "jobs", self.ledger.purge_jobs),
            self._counted("served times", "schedules", self._schedules),
            self._counted("dropped lists", "lists", self._lists),
            self._counted("fingerprints", "fingerprints", self._fingerprints),
            self._counted("traces of who left", "traces", self._traces),
            self._withdrawals(),
            Purged(what="order lines", count=self.ledger.purge_reported(self.now, dry=self.dry)),
            self._counted("requests that came in", "runs", self._intake),
            self._credentials(),
        ]

    def _before(self, setting: str) -> datetime:
        found: datetime = getattr(self.project.retention, setting).before(self.now)
        return found

    def _counted(self, what: str, setting: str, purge: Callable[..., int]) -> Purged:
        before = self._before(setting)
        return Purged(what=what, count=purge(before, dry=self.dry), before=before)

    def _schedules(self, before: datetime, *, dry: bool) -> int:
        return self.ledger.purge_schedules(before, list(self.project.scheduled), dry=dry)

    def _lists(self, before: datetime, *, dry: bool) -> int:
        return self.ledger.purge_lists(before, self.project.names, dry=dry)

    def _fingerprints(self, before: datetime, *, dry: bool) -> int:
        return self.ledger.purge_fingerprints(self.now, before, dry=dry)

    def _traces(self, before: datetime, *, dry: bool) -> int:
        return self.ledger.forget_traces(self.now, before, dry=dry)

    def _intake(self, before: datetime, *, dry: bool) -> int:
        return self.ledger.purge_intake(self.now, before, dry=dry)

    def _withdrawals(self) -> Purged:
        """The rows first: a file without its row is found again, a row without its file harms."""
        before = self._before("withdrawals")
        count = self.ledger.purge_withdrawals(before, dry=self.dry)
        self.ledger.purge_removals(before, self.project.names, dry=self.dry)
        if not self.dry:
            with suppress(BusyError):  # somebody else is at it; the next purge finds the rest
                self.tidy_withdrawals()
        return Purged(what="withdrawals", count=count, before=before)

    def _outboxes(self) -> Purged:
        before = self._before("outboxes")
        old = [run for run in self.ledger.runs(states=OPEN_STATES) if run.planned_at < before]
        gone = 0
        for run in old:
            try:
                if not self.dry:
                    self.cancel(run, "it waited longer than retention.outboxes allows")
            except BusyError:  # somebody is at work on it after all
                continue
            gone += 1
        return Purged(what="plans that waited too long", count=gone, before=before)

    def _transfer_log(self) -> Purged:
        before = self._before("transfer_log")
        what = "lines of the transfer log"
        through = self.ledger.log_closed_before(before)
        if self.signer is None or not self.ledger.purgeable(through):
            return Purged(what=what, count=0, before=before)
        if self.dry:
            return Purged(what=what, count=self.ledger.purgeable(through), before=before)
        self.ledger.make_checkpoints(self.signer)
        if not self.ledger.verify_log(self.signer.trusted).sound:
            raise StateError(_BROKEN)
        return Purged(what=what, count=self.ledger.purge_log(self.signer, through), before=before)

    def _credentials(self) -> Purged:
        """Those of destinations that the project dropped, once no list there holds anybody."""
        held = {
            remote.destination
            for remote in self.ledger.remote_lists()
            if remote.members or Manifest.of(remote.manifest).files
        }
        kept = held.union(self.project.destinations)
        gone = [name for name in self.location.names(CREDENTIALS) if name not in kept]
        for name in () if self.dry else gone:
            self.location.delete(f"{CREDENTIALS}/{name}")
        return Purged(what="credentials of dropped destinations", count=len(gone))


def is_due(ledger: Ledger, now: datetime) -> bool:
    """Whether nobody purged for a day."""
    found = [lease for lease in ledger.leases_held(_PURGED) if lease.name == _PURGED]
    if not found:
        return True
    return found[0].expires_at - timedelta(seconds=_REMEMBERED) <= now - EVERY


def note_purge(ledger: Ledger, holder: str) -> None:
    """Remember that somebody purged now."""
    ledger.take_lease(_PURGED, holder, max(_REMEMBERED, LEASE_SECONDS), alive=lambda _who: False)
