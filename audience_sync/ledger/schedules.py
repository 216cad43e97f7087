"""Which due time of each audience's schedule was served last; the calendar asks and tells."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import sqlalchemy as sa

from audience_sync.ledger.database import Database, storable, upsert
from audience_sync.ledger.leases import fence
from audience_sync.ledger.records.work import Lease, Served
from audience_sync.ledger.tables.work import schedules

_FIELDS = tuple(field.name for field in fields(Served))


class Schedules(Database):
    """One row for each audience that has a schedule."""

    def served(self, audience: str) -> Served | None:
        """What is known of an audience's schedule; None before it was seen."""
        query = sa.select(schedules).where(schedules.c.audience == audience)
        with self._reading() as connection:
            row = connection.execute(query).first()
        return None if row is None else _served(row)

    def save_served(self, served: Served, lease: Lease) -> None:
        """Put this in the place of what was known; BusyError when the lease was lost."""
        columns = {name: storable(getattr(served, name)) for name in _FIELDS}
        with self._writing() as connection:
            fence(connection, lease)
            insert = upsert(connection.dialect.name, schedules).values(columns)
            newer = {name: insert.excluded[name] for name in _FIELDS if name != "audience"}
            connection.execute(
                insert.on_conflict_do_update(index_elements=["audience"], set_=newer)
            )


def _served(row: sa.Row[Any]) -> Served:
    return Served(**row._mapping)  # noqa: SLF001 - the public way to read a row by names
