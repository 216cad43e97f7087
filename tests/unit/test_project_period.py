"""Calendar periods of a policy."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audience_sync.period import Period, parse_period

periods = st.builds(Period, st.integers(1, 2000), st.sampled_from(["day", "week", "month", "year"]))
moments = st.datetimes(timezones=st.just(UTC))


@pytest.mark.parametrize(
    ("period", "now", "before"),
    [
        ("24 months", (2026, 11, 21), (2024, 11, 21)),
        ("3 years", (2024, 2, 29), (2021, 2, 28)),
        ("1 month", (2026, 3, 31), (2026, 2, 28)),
        ("1 month", (2024, 3, 31), (2024, 2, 29)),
        ("180 days", (2026, 11, 21), (2026, 5, 25)),
        ("2 weeks", (2026, 1, 3), (2025, 12, 20)),
        ("1 year", (2026, 1, 1), (2025, 1, 1)),
    ],
)
def test_a_period_is_exact_by_the_calendar(
    period: str, now: tuple[int, int, int], before: tuple[int, int, int]
) -> None:
    """Months and years have their own lengths."""
    assert parse_period(period).before(datetime(*now, 9, tzinfo=UTC)) == datetime(
        *before, 9, tzinfo=UTC
    )


@given(periods, moments)
def test_before_is_earlier_and_after_is_later(period: Period, now: datetime) -> None:
    """A period never points the wrong way, at any date of the calendar."""
    assert period.before(now) <= now
    assert period.after(now) >= now or now.date() == datetime.max.date()  # noqa: DTZ901 - a day


@given(st.integers(1, 500), moments)
def test_a_year_is_twelve_months(count: int, now: datetime) -> None:
    """Two ways to write one period mean the same moment."""
    assert Period(count, "year").before(now) == Period(12 * count, "month").before(now)


@given(st.integers(1, 3650), st.datetimes(min_value=datetime(1950, 1, 1)))  # noqa: DTZ001 - naive on purpose
def test_days_are_days(count: int, now: datetime) -> None:
    """A day is a day, whatever the month."""
    assert Period(count, "day").before(now) == now - timedelta(days=count)


@given(periods)
def test_what_is_printed_can_be_read(period: Period) -> None:
    """A period's text is how a person writes it."""
    if period.count < 100_000:
        assert parse_period(str(period)) == period


@pytest.mark.parametrize(
    "text", ["", "3", "3 moons", "0 days", "-1 day", "1.5 years", "three years", None, 3, "3days"]
)
def test_anything_else_is_refused_with_an_example(text: object) -> None:
    """The error shows how a period is written."""
    with pytest.raises(ValueError, match="24 months"):
        parse_period(text)
