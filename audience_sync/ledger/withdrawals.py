"""Withdrawals as they stand in the ledger, and how each is found. Counts, no people."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from audience_sync.errors import ConfigurationError
from audience_sync.ledger.database import Database
from audience_sync.ledger.tables import Moment, metadata

_AT_ONCE = 500  # values that a query names


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """People who withdrew together; `file` holds their identifiers, encrypted.

    A withdrawal by customer id is `resolved_by` a second one, its child, which holds the
    identifiers that the source has of these customers; `missing` ones are not in the source.
    """

    sequence: int = 0  # given by the ledger
    id: str
    received_at: datetime
    source: str  # "cli", "web", "decisions": where it entered
    channel: str
    partner: str | None = None  # a connector's name; None: all
    people: int
    customers: int = 0  # customer ids among them, to be resolved
    identifiers: int
    missing: int = 0
    file: str
    parent: int | None = None
    resolved_by: int | None = None


withdrawals = sa.Table(
    "withdrawals",
    metadata,
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("received_at", Moment, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("partner", sa.Text),
    sa.Column("people", sa.BigInteger, nullable=False),
    sa.Column("customers", sa.BigInteger, nullable=False),
    sa.Column("identifiers", sa.BigInteger, nullable=False),
    sa.Column("missing", sa.BigInteger, nullable=False),
    sa.Column("file", sa.Text, nullable=False),
    sa.Column("parent", sa.BigInteger),
    sa.Column("resolved_by", sa.BigInteger),
    sa.Index("withdrawals_by_parent", "parent"),
)

NEWEST = sa.select(sa.func.coalesce(sa.func.max(withdrawals.c.sequence), 0))
WITHDRAWAL_FIELDS = tuple(one.name for one in fields(Withdrawal))


class Withdrawals(Database):
    """Finds withdrawals."""

    def newest_withdrawal(self) -> int:
        """The sequence of the newest withdrawal; 0 when there is none."""
        with self._reading() as connection:
            return int(connection.execute(NEWEST).scalar_one())

    def withdrawals(self, *, after: int = 0, through: int | None = None) -> list[Withdrawal]:
        """Withdrawals by sequence, oldest first."""
        query = sa.select(withdrawals).where(withdrawals.c.sequence > after)
        if through is not None:
            query = query.where(withdrawals.c.sequence <= through)
        with self._reading() as connection:
            found = connection.execute(query.order_by(withdrawals.c.sequence))
            return [read_withdrawal(row) for row in found]

    def withdrawal(self, id: str) -> Withdrawal:  # noqa: A002 - the word of the command line
        """The withdrawal of this id."""
        query = sa.select(withdrawals).where(withdrawals.c.id == id)
        with self._reading() as connection:
            row = connection.execute(query).first()
        if row is None:
            # The id is not repeated: somebody may have written a person's own value in its place.
            raise ConfigurationError(
                "there is no withdrawal of this id; `audience-sync withdrawals` lists them"
            )
        return read_withdrawal(row)

    def withdrawals_numbered(self, sequences: Collection[int]) -> list[Withdrawal]:
        """Those of these sequences that are still there, oldest first."""
        return self._of(withdrawals.c.sequence, sequences)

    def withdrawals_under(self, parents: Collection[int]) -> list[Withdrawal]:
        """What the source had, by and by, of the customers of these, oldest first."""
        return self._of(withdrawals.c.parent, parents)

    def _of(self, column: sa.Column[Any], values: Collection[int]) -> list[Withdrawal]:
        with self._reading() as connection:
            found = [
                read_withdrawal(row)
                for some in at_a_time(values)
                for row in connection.execute(sa.select(withdrawals).where(column.in_(some)))
            ]
        return sorted(found, key=lambda one: one.sequence)

    def withdrawals_from(
        self, source: str, partner: str | None, since: datetime, or_by: str
    ) -> list[Withdrawal]:
        """Those that entered there, limited to this partner or to none, oldest first.

        They were received since a moment, or ever where they came by the channel `or_by`. What
        they were resolved by is not among them.
        """
        table = withdrawals.c
        query = sa.select(withdrawals).where(
            table.source == source,
            table.partner.is_not_distinct_from(partner),
            table.parent.is_(None),
            sa.or_(table.received_at >= since, table.channel == or_by),
        )
        with self._reading() as connection:
            return [
                read_withdrawal(row) for row in connection.execute(query.order_by(table.sequence))
            ]

    def any_withdrawal_limited(self, through: int) -> bool:
        """Whether one of those up to a sequence is limited to one partner."""
        limited = withdrawals.c.sequence <= through, withdrawals.c.partner.is_not(None)
        query = sa.select(withdrawals.c.sequence).where(*limited).limit(1)
        with self._reading() as connection:
            return connection.execute(query).first() is not None

    def unresolved_withdrawals(self, *, after: int = 0) -> list[Withdrawal]:
        """Withdrawals by customer id whose identifiers are not known yet."""
        query = sa.select(withdrawals).where(
            withdrawals.c.customers > 0,
            withdrawals.c.resolved_by.is_(None),
            withdrawals.c.sequence > after,
        )
        with self._reading() as connection:
            found = connection.execute(query.order_by(withdrawals.c.sequence))
            return [read_withdrawal(row) for row in found]


def at_a_time(values: Collection[Any]) -> Iterator[list[Any]]:
    """In order, as many at a time as every database takes in one query."""
    ordered = sorted(values)
    return (ordered[at : at + _AT_ONCE] for at in range(0, len(ordered), _AT_ONCE))


def by_sequence(number: int) -> sa.Select[Any]:
    """The row of one."""
    return sa.select(withdrawals).where(withdrawals.c.sequence == number)


def read_withdrawal(row: sa.Row[Any]) -> Withdrawal:
    """A row as what it is."""
    return Withdrawal(**row._mapping)  # noqa: SLF001 - the public way to read a row by names
