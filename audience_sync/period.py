"""A period of calendar time, as a policy writes it: "24 months", "3 years", "180 days"."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

Unit = Literal["day", "week", "month", "year"]

_UNITS: Mapping[str, Unit] = {"day": "day", "week": "week", "month": "month", "year": "year"}
_WRITTEN = re.compile(r"([1-9][0-9]{0,4}) +(day|week|month|year)s?")
_MONTHS_PER_YEAR = 12
_DAYS_PER_WEEK = 7
_FIRST = datetime(1, 1, 1, tzinfo=UTC)
_LAST = datetime(9999, 12, 31, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Period:
    """So many days, weeks, months or years; a month is a calendar month, not thirty days."""

    count: int
    unit: Unit

    def __str__(self) -> str:
        return f"{self.count} {self.unit}{'' if self.count == 1 else 's'}"

    @property
    def months(self) -> int:
        """The calendar months in it; a year has twelve."""
        return self.count * {"month": 1, "year": _MONTHS_PER_YEAR}.get(self.unit, 0)

    @property
    def days(self) -> int:
        """The days in it; a week has seven."""
        return self.count * {"day": 1, "week": _DAYS_PER_WEEK}.get(self.unit, 0)

    def before(self, now: datetime) -> datetime:
        """The same clock time this long ago; the 31st becomes the last day of a shorter month.

        A period that reaches before the calendar stops at its first day.
        """
        return self._moved(now, -1)

    def after(self, now: datetime) -> datetime:
        """The same clock time this much later; stops at the calendar's last day."""
        return self._moved(now, 1)

    def _moved(self, moment: datetime, sign: int) -> datetime:
        try:
            index = moment.year * _MONTHS_PER_YEAR + moment.month - 1 + sign * self.months
            year, month = divmod(index, _MONTHS_PER_YEAR)
            day = min(moment.day, monthrange(year, month + 1)[1])
            there = moment.replace(year=year, month=month + 1, day=day)
            return there + sign * timedelta(days=self.days)
        except (ValueError, OverflowError):
            end = _FIRST if sign < 0 else _LAST
            return end.replace(tzinfo=moment.tzinfo)


def parse_period(text: object) -> Period:
    """The period that a person wrote; anything else is a ValueError that shows how."""
    found = _WRITTEN.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        raise ValueError('write a period such as "24 months", "3 years" or "180 days"')
    return Period(int(found[1]), _UNITS[found[2]])
