"""When a schedule is due: in every zone, through every change of its clocks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audience_sync.cron import next_due
from audience_sync.errors import ConfigurationError

STOCKHOLM = ZoneInfo("Europe/Stockholm")  # clocks leap on 2026-03-29, fall back on 2026-10-25
ZONES = [
    ZoneInfo(name)
    for name in (
        "UTC",
        "Europe/Stockholm",
        "America/New_York",
        "America/Santiago",  # leaps at midnight
        "Asia/Kolkata",  # half an hour off, no summer time
        "Australia/Lord_Howe",  # leaps by half an hour
        "Antarctica/Troll",  # leaps by two hours
    )
]
HOURLY = st.sampled_from(["0 * * * *", "*/15 * * * *", "30 */2 * * *"])
moments = st.datetimes(datetime(2025, 1, 1), datetime(2027, 12, 31)).map(  # noqa: DTZ001 - the next line gives them UTC
    lambda found: found.replace(tzinfo=UTC)
)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def following(cron: str, zone: ZoneInfo, after: datetime, count: int) -> list[datetime]:
    """The next so many times."""
    found = []
    for _ in range(count):
        after = next_due(cron, zone, after)
        found.append(after)
    return found


@pytest.mark.parametrize(
    ("cron", "zone", "after", "due"),
    [
        ("0 3 * * *", "UTC", "2026-11-21T02:59:59", "2026-11-21T03:00"),
        ("0 3 * * *", "UTC", "2026-11-21T03:00:00", "2026-11-22T03:00"),
        ("0 3 * * *", "Europe/Stockholm", "2026-07-01T00:00", "2026-07-01T01:00"),
        ("0 3 * * *", "Europe/Stockholm", "2026-12-01T00:00", "2026-12-01T02:00"),
        ("0 3 * * *", "America/New_York", "2026-12-01T00:00", "2026-12-01T08:00"),
        ("15 9 * * *", "Asia/Kolkata", "2026-12-01T00:00", "2026-12-01T03:45"),
        ("0 6 * * mon", "Europe/Stockholm", "2026-11-21T12:00", "2026-11-23T05:00"),
        ("0 0 29 2 *", "UTC", "2026-11-21T00:00", "2028-02-29T00:00"),
        ("0 0 * * *", "America/Santiago", "2026-09-05T12:00", "2026-09-06T04:00"),  # 0:00 left out
    ],
)
def test_a_schedule_is_due_by_the_clocks_of_its_zone(
    cron: str, zone: str, after: str, due: str
) -> None:
    """Each of these was worked out by hand."""
    assert next_due(cron, ZoneInfo(zone), at(after)) == at(due)


def test_a_time_that_the_clocks_leave_out_comes_as_much_later() -> None:
    """On the day that has no half past two, the sync is at half past three, and only once."""
    found = following("30 2 * * *", STOCKHOLM, at("2026-03-28T00:00"), 3)

    assert found == [at("2026-03-28T01:30"), at("2026-03-29T01:30"), at("2026-03-30T00:30")]


def test_a_time_that_comes_twice_counts_once() -> None:
    """On the day with two half past twos, the sync is at the first."""
    found = following("30 2 * * *", STOCKHOLM, at("2026-10-24T12:00"), 2)

    assert found == [at("2026-10-25T00:30"), at("2026-10-26T01:30")]


@pytest.mark.parametrize("day", ["2026-03-28T12:00", "2026-10-24T12:00"])
def test_an_hourly_schedule_follows_real_time(day: str) -> None:
    """Every hour stays every hour, whatever the clocks do."""
    found = following("0 * * * *", STOCKHOLM, at(day), 24)

    assert {later - earlier for earlier, later in pairwise(found)} == {timedelta(hours=1)}


@given(st.sampled_from(ZONES), moments, st.times(), st.integers(1, 60))
def test_a_daily_schedule_is_due_once_for_every_day(
    zone: ZoneInfo, start: datetime, hour: time, days: int
) -> None:
    """Whatever the zone, the hour and the season: so many days, so many times, in order."""
    cron = f"{hour.minute} {hour.hour} * * *"

    found = following(cron, zone, start, days)

    shown = [moment.astimezone(zone) for moment in found]
    dates = [moment.date() for moment in shown]
    assert dates == list(islice(_days_from(dates[0]), days))
    exact = [moment for moment in shown if (moment.hour, moment.minute) == (hour.hour, hour.minute)]
    assert len(exact) >= days - 2  # the clocks leap at most twice in two months


@given(st.sampled_from(ZONES), moments, HOURLY, st.floats(0, 1))
def test_when_one_asks_does_not_matter(
    zone: ZoneInfo, start: datetime, cron: str, share: float
) -> None:
    """Between two times the answer is always the later one: none is skipped, none comes twice."""
    first, second = following(cron, zone, start, 2)

    between = first + share * (second - first - timedelta(microseconds=1))

    assert start < first < second
    assert next_due(cron, zone, between) == second


def test_a_schedule_that_is_never_due_is_refused() -> None:
    """There is no thirtieth of February, which the error says by the schedule."""
    with pytest.raises(ConfigurationError, match=r"30 2.*never due"):
        next_due("0 0 30 2 *", STOCKHOLM, at("2026-01-01T00:00"))


def _days_from(first: date) -> Iterator[date]:
    while True:
        yield first
        first += timedelta(days=1)
