"""What was reported of each order line, by keyed fingerprint: no order is counted twice.

A line is written as unknown together with the intent, and as what the answer makes of it together
with the outcome; a crash in between leaves it unknown, and it is not reported again until somebody
says whether it arrived.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa

from audience_sync.ledger.database import Database, upsert
from audience_sync.ledger.records.orders import LineState, ReportedLine
from audience_sync.ledger.tables.fingerprints import reported_lines as table

_CHUNK = 500  # orders asked for at a time
_FIELDS = tuple(field.name for field in fields(ReportedLine))
_KEY = ("destination", "line")
_HELD = sa.or_(table.c.quantity != 0, table.c.amount != 0)
_UNKNOWN = table.c.state == LineState.UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownOrders:
    """Orders of one run whose answer was never seen."""

    run: str
    destination: str
    orders: int


@cache
def _rewrite(dialect: str) -> sa.Insert:
    """Made once, since making a statement costs more than running it."""
    insert = upsert(dialect, table)
    newer = {name: insert.excluded[name] for name in _FIELDS if name not in _KEY}
    return insert.on_conflict_do_update(index_elements=_KEY, set_=newer)


class ReportedLines(Database):
    """Reading what was reported, and what a person says of unknown answers."""

    def any_reported(self) -> bool:
        """Whether any order line is remembered, at any destination."""
        with self._reading() as connection:
            return connection.execute(sa.select(table.c.line).limit(1)).first() is not None

    def reported(self, destination: str, orders: Sequence[bytes]) -> list[ReportedLine]:
        """Every line known of these orders, by their fingerprints."""
        found: list[ReportedLine] = []
        with self._reading() as connection:
            for start in range(0, len(orders), _CHUNK):
                query = sa.select(table).where(
                    table.c.destination == destination,
                    table.c.of_order.in_(orders[start : start + _CHUNK]),
                )
                found += [_line(row) for row in connection.execute(query)]
        return found

    def reported_orders(self, destination: str) -> int:
        """How many orders the destination holds, as far as we know."""
        query = sa.select(sa.func.count(table.c.of_order.distinct())).where(
            table.c.destination == destination, _HELD
        )
        with self._reading() as connection:
            return int(connection.execute(query).scalar_one())

    def unknown_orders(self) -> list[UnknownOrders]:
        """What waits for somebody to say whether it arrived, by run."""
        columns = table.c.run, table.c.destination
        count = sa.func.count(table.c.of_order.distinct())
        query = sa.select(*columns, count).where(_UNKNOWN).group_by(*columns).order_by(*columns)
        with self._reading() as connection:
            return [
                UnknownOrders(run=run, destination=destination, orders=orders)
                for run, destination, orders in connection.execute(query)
            ]

    def settle_orders(self, run: str, *, arrived: bool) -> int:
        """Take the unknown lines of a run for arrived or for lost; how many there were."""
        told = (
            {"quantity": table.c.tried_quantity, "amount": table.c.tried_amount}
            if arrived
            else {"tried_quantity": table.c.quantity, "tried_amount": table.c.amount}
        )
        change = sa.update(table).where(table.c.run == run, _UNKNOWN)
        with self._writing() as connection:
            return connection.execute(change.values(state=LineState.REPORTED, **told)).rowcount

    def forget_reported(self, now: datetime) -> int:
        """Destroy what is too old to be corrected, and say how many lines."""
        with self._writing() as connection:
            return connection.execute(sa.delete(table).where(table.c.expires_at <= now)).rowcount


def write_reported(connection: sa.Connection, lines: Sequence[ReportedLine]) -> None:
    """Insert these lines or put them in the place of their older selves."""
    if lines:
        connection.execute(
            _rewrite(connection.dialect.name),
            [{name: getattr(line, name) for name in _FIELDS} for line in lines],
        )


def _line(row: sa.Row[Any]) -> ReportedLine:
    return ReportedLine(**row._mapping)  # noqa: SLF001 - the public way to read a row by names
