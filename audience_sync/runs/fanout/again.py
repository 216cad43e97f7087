"""Plans that failed in the hands of many workers are tried again, as those of one process are.

A due time counts as served once its job is written, and the job may fail later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from audience_sync.cron import last_due
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.work import Job, JobState
from audience_sync.project.model import Scheduled
from audience_sync.runs.calendar import Calendar
from audience_sync.runs.fanout.planning import KIND

TRIES = 4  # plans for one due time, with the first
_SEEN = "seen"  # in the job: the calendar knows


@dataclass(frozen=True, kw_only=True)
class Again:
    """Tells the calendar of jobs that failed; safe to be asked anywhere and twice."""

    ledger: Ledger
    calendar: Calendar

    def look(self, audiences: Mapping[str, Scheduled]) -> None:
        """Let what failed be due again after a while, a few times; then it waits for the next."""
        failed = [job for job in self.ledger.jobs([JobState.FAILED]) if job.kind == KIND]
        for job in failed:
            if job.spec.get(_SEEN):
                continue
            named = [audiences[name] for name in _audiences(job) if name in audiences]
            if all(self._noted(job, audience, failed) for audience in named):
                self.ledger.note_in_job(job.id, **{_SEEN: True})

    def _noted(self, job: Job, audience: Scheduled, failed: list[Job]) -> bool:
        if audience.schedule is None or self._synced_since(job, audience.name):
            return True
        due = last_due(audience.schedule, audience.timezone, self.calendar.now())
        tries = sum(one.created_at >= due and audience.name in _audiences(one) for one in failed)
        again = tries < TRIES
        what = "it is tried again" if again else f"it was tried {tries} times"
        return self.calendar.failed_since(audience, f"{job.reason}; {what}", again=again)

    def _synced_since(self, job: Job, audience: str) -> bool:
        """Whether somebody planned every list of the audience, not only at some destinations."""
        theirs = {there for name, there in job.spec["lists"] if name == audience}
        newest = [self.ledger.last_run(audience, there) for there in theirs]
        return all(run is not None and run.planned_at > job.changed_at for run in newest)


def _audiences(job: Job) -> list[str]:
    return sorted({audience for audience, _ in job.spec["lists"]})
