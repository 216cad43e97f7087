"""What the project file says about sources, decisions and policy, as frozen values."""

from __future__ import annotations

import calendar
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

_MONTHS_PER_YEAR = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A stretch of the calendar: months of their own length, and days."""

    months: int = 0
    days: int = 0

    def before(self, moment: datetime) -> datetime:
        """The moment this period earlier: the same day of the month, or the month's last.

        A period that reaches behind year 1 stops there.
        """
        index = moment.year * _MONTHS_PER_YEAR + moment.month - 1 - self.months
        year, month = divmod(index, _MONTHS_PER_YEAR)
        if year < 1:
            return datetime(1, 1, 1, tzinfo=UTC)
        day = min(moment.day, calendar.monthrange(year, month + 1)[1])
        earlier = moment.replace(year=year, month=month + 1, day=day)
        ordinal = earlier.toordinal() - self.days
        if ordinal < 1:
            return datetime(1, 1, 1, tzinfo=UTC)
        return datetime.combine(date.fromordinal(ordinal), earlier.timetz())


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDescription:
    """Where customers are read from; `columns` maps our names to theirs.

    `url` is an SQLAlchemy URL, or a path, glob or object-storage URL of files; relative paths
    resolve against `base`. It may hold a password, so it is left out of the representation.
    """

    url: str = field(repr=False)
    columns: Mapping[str, str]
    base: Path
    query: str | None = None
    table: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionsDescription:
    """Where decisions are read from; unmapped names of ours are looked up under the same name."""

    url: str = field(repr=False)
    base: Path
    columns: Mapping[str, str] = field(default_factory=dict)
    query: str | None = None
    table: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRules:
    """The rules that turn attributes and decisions into a verdict; None switches a rule off."""

    consent_max_age: Period | None = None
    keep_after_last_activity: Period | None = None
    minimum_age: int | None = None  # years
    origins: tuple[str, ...] | None = None
    default_country: str | None = None
