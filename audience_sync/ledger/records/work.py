"""Who works on what, and when: leases, jobs with their pieces, schedules served."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class JobState(StrEnum):
    """How a job stands."""

    OPEN = "open"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Work for many workers, stage by stage; `spec` holds names, numbers and times only.

    `leases` are the leases, name → token, that the job holds for all its workers until it ends.
    """

    id: str
    kind: str
    state: JobState = JobState.OPEN
    stage: str
    spec: Mapping[str, Any] = field(default_factory=dict)
    leases: Mapping[str, int] = field(default_factory=dict)
    created_at: datetime
    changed_at: datetime
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of a stage that one worker does alone; `result` holds counts and names only."""

    job: str
    stage: str
    number: int
    done: bool = False
    attempts: int = 0
    not_before: datetime | None = None
    result: Mapping[str, Any] = field(default_factory=dict)
    note: str | None = None  # what it waits for: one sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """How far an audience's schedule is: the last due time that needs nothing more."""

    audience: str
    rule: str  # cron and time zone; when it changes, what was due by the new one has passed
    due_at: datetime
    served_at: datetime | None = None  # None: the due time was before we knew the schedule
    retry_at: datetime | None = None  # the due time after `due_at` failed, and is tried again
    note: str | None = None  # what was skipped or failed, in one sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to work on one audience at one destination; `token` grows with each holder."""

    name: str
    holder: str
    token: int
    expires_at: datetime
