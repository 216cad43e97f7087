"""What beat sends and when: the project's schedules, and a sweep every few minutes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from celery.schedules import BaseSchedule, schedstate

from audience_sync.cron import next_due
from audience_sync.worker.messages import PURGE, SCHEDULED, SWEEP, WATCH, Message

if TYPE_CHECKING:  # it leads to numpy, which starts a thread that a worker's fork would lose
    from audience_sync.project.model import Project

SWEEP_EVERY = 180.0  # seconds
WATCH_EVERY = 300.0  # seconds between looks for refusals in the decisions
PURGE_EVERY = 3600.0  # seconds between looks at whether a day has passed, since beat may restart

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The time now, in UTC."""
    return datetime.now(UTC)


class CronInZone(BaseSchedule):  # type: ignore[misc]  # celery has no types
    """Due when a cron schedule is, in its time zone; several times that were missed count once."""

    def __init__(self, cron: str, zone: ZoneInfo, now: Clock = utc_now) -> None:
        super().__init__(nowfun=now)
        self.cron = cron
        self.zone = zone

    def is_due(self, last_run_at: datetime) -> schedstate:
        """Whether it is due, and the seconds until the next time."""
        now = self.now()
        due_at = next_due(self.cron, self.zone, last_run_at)
        due = due_at <= now
        following = next_due(self.cron, self.zone, now) if due else due_at
        return schedstate(due, (following - now).total_seconds())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CronInZone):
            return NotImplemented
        return (self.cron, self.zone) == (other.cron, other.zone)

    def __hash__(self) -> int:
        return hash((self.cron, self.zone))

    def __repr__(self) -> str:
        return f"<{self.cron} in {self.zone}>"


def beat_entries(project: Project, now: Clock = utc_now) -> dict[str, dict[str, Any]]:
    """Celery's beat schedule: one entry for all audiences that are due at the same times.

    They share one pass over the source. What was due while no beat ran is found by the sweep,
    which is due at once.
    """
    together: dict[tuple[str, ZoneInfo], list[str]] = {}
    for audience in project.scheduled.values():
        if audience.schedule is not None:
            together.setdefault((audience.schedule, audience.timezone), []).append(audience.name)
    entries = {
        f"sync {cron} {zone}": _sync_entry(CronInZone(cron, zone, now), names)
        for (cron, zone), names in together.items()
    }
    if project.decisions is not None:
        message = Message(task=WATCH, expires=WATCH_EVERY)
        entries["watch"] = _entry(message, timedelta(seconds=WATCH_EVERY), now())
    return entries | {"sweep": _sweep_entry(now()), "purge": _purge_entry(now())}


def due_since(project: Project, audience: str, since: datetime, now: datetime) -> bool:
    """Whether an audience has become due after a moment and until now."""
    found = project.scheduled.get(audience)
    if found is None or found.schedule is None:
        return False
    return next_due(found.schedule, found.timezone, since) <= now


def _sync_entry(schedule: CronInZone, names: list[str]) -> dict[str, Any]:
    now = schedule.now()
    following = next_due(schedule.cron, schedule.zone, now)
    # What no worker has taken by the next due time is replaced by that one's message.
    period = next_due(schedule.cron, schedule.zone, following) - following
    message = Message(task=SCHEDULED, args=(names,), expires=period.total_seconds())
    return _entry(message, schedule, now)


def _sweep_entry(now: datetime) -> dict[str, Any]:
    """Due at once: whatever stopped beat may have stopped workers, too."""
    message = Message(task=SWEEP, expires=SWEEP_EVERY)
    return _entry(message, timedelta(seconds=SWEEP_EVERY), now - timedelta(seconds=SWEEP_EVERY))


def _purge_entry(now: datetime) -> dict[str, Any]:
    """Due at once, too; whether it purges stands in the ledger."""
    message = Message(task=PURGE, expires=PURGE_EVERY)
    return _entry(message, timedelta(seconds=PURGE_EVERY), now - timedelta(seconds=PURGE_EVERY))


def _entry(message: Message, schedule: object, last: datetime) -> dict[str, Any]:
    return {
        "task": message.task,
        "args": list(message.args),
        "options": message.options(),
        "schedule": schedule,
        "last_run_at": last,
    }
