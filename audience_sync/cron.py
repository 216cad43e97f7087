"""When a cron schedule is due in a time zone, through every change of its clocks.

A schedule for fixed hours ("30 2 * * *") is due once a day, whatever the clocks do: a time that
they leave out comes as much later as they leap, and of a time that comes twice the first counts.
A schedule for every hour ("0 * * * *", "*/5 * * * *") follows real time: an hour that is left out
is not made up for, and one that comes twice counts twice.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from croniter import CroniterBadDateError, croniter

from audience_sync.errors import ConfigurationError

_FIRST_LOOK = timedelta(minutes=2)  # back; doubled until a due time is found
_LEAP = timedelta(hours=3)  # no zone's clocks leap further; whole days were skipped in the past


def next_due(cron: str, zone: ZoneInfo, after: datetime) -> datetime:
    """The first moment, in UTC, strictly after another at which the schedule is due."""
    wall = after.astimezone(zone).replace(tzinfo=None)
    try:
        found = _aware(croniter(cron, wall).get_next(datetime), zone)
        if _steady(after, zone) and _steady(found, zone):
            return found
        return _around_a_leap(cron, zone, after)
    except CroniterBadDateError:
        raise ConfigurationError(
            f'the schedule "{cron}" is never due; write one that names days that exist'
        ) from None


def last_due(cron: str, zone: ZoneInfo, now: datetime) -> datetime:
    """The last moment, in UTC, until now at which the schedule was due."""
    span = _FIRST_LOOK
    while (found := next_due(cron, zone, now - span)) > now:
        span *= 2
    while (following := next_due(cron, zone, found)) <= now:
        found = following
    return found


def _steady(moment: datetime, zone: ZoneInfo) -> bool:
    """Whether the clocks go evenly around a moment."""
    before, after = ((moment + leap).astimezone(zone).utcoffset() for leap in (-_LEAP, _LEAP))
    return before == after


def _around_a_leap(cron: str, zone: ZoneInfo, after: datetime) -> datetime:
    """The earliest of all moments whose clock time matches, read from before the leap to after."""
    wall = after.astimezone(zone).replace(tzinfo=None)
    matches = croniter(cron, wall - _LEAP)
    hourly = cron.split()[1].startswith("*")
    found: datetime | None = None
    while True:
        match = matches.get_next(datetime)
        if found is not None and match > found.astimezone(zone).replace(tzinfo=None) + _LEAP:
            return found
        for moment in _moments(match, zone, hourly=hourly):
            if moment > after and (found is None or moment < found):
                found = moment


def _aware(wall: datetime, zone: ZoneInfo, fold: int = 0) -> datetime:
    return wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)


def _moments(wall: datetime, zone: ZoneInfo, *, hourly: bool) -> list[datetime]:
    """When the clocks show a time: never, once or twice, or when we take it to be."""
    first, second = _aware(wall, zone), _aware(wall, zone, fold=1)
    if first == second:
        return [first]
    skipped = first.astimezone(zone).replace(tzinfo=None) != wall
    if skipped:
        return [] if hourly else [first]
    return [first, second] if hourly else [first]
