"""The ledger's tables: names, sums and times; never an identifier and never a customer's hash.

Here is what all of them are made of; rooms that keep one thing alone define its tables themselves.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator

REVISION = "0011"  # the newest migration; a database that says the same needs no Alembic

metadata = sa.MetaData()


class Moment(TypeDecorator[datetime]):
    """A time in UTC that comes back with its timezone from every database; naive ones are bugs."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: sa.Dialect) -> datetime | None:
        """Write UTC, since SQLite keeps no timezone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time in the ledger needs a timezone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, _dialect: sa.Dialect) -> datetime | None:
        """Read UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Word(TypeDecorator[StrEnum]):
    """One word of an enumeration, as text that a person can read in the database."""

    impl = sa.String
    cache_ok = True

    def __init__(self, words: type[StrEnum]) -> None:
        super().__init__()
        self.words = words

    def process_bind_param(self, value: StrEnum | None, _dialect: sa.Dialect) -> str | None:
        """Write the word itself; drivers would write the name of the member."""
        return None if value is None else value.value

    def process_result_value(self, value: Any, _dialect: sa.Dialect) -> StrEnum | None:
        """Read the word; an unknown one is a damaged row."""
        return None if value is None else self.words(value)


def text(name: str) -> sa.Column[str]:
    """Words that must be there."""
    return sa.Column(name, sa.Text, nullable=False)


def maybe(name: str) -> sa.Column[str | None]:
    """Words, or nothing."""
    return sa.Column(name, sa.Text)


def count(name: str) -> sa.Column[int]:
    """A whole number of up to 63 bits that must be there."""
    return sa.Column(name, sa.BigInteger, nullable=False)


def flag(name: str) -> sa.Column[bool]:
    """Yes or no."""
    return sa.Column(name, sa.Boolean, nullable=False)


def structure(name: str) -> sa.Column[Any]:
    """Lists and mappings of plain values, as JSON."""
    return sa.Column(name, sa.JSON, nullable=False)
