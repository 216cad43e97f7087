"""What we know of each list at a partner; saved only on top of the generation that was read."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import sqlalchemy as sa

from audience_sync.errors import BusyError
from audience_sync.ledger.database import Database, storable, upsert
from audience_sync.ledger.leases import fence
from audience_sync.ledger.records.runs import RemoteList
from audience_sync.ledger.records.work import Lease
from audience_sync.ledger.tables.runs import remote_lists

_FIELDS = tuple(field.name for field in fields(RemoteList))


class RemoteLists(Database):
    """One row for each audience at each destination."""

    def remote_list(self, audience: str, destination: str) -> RemoteList:
        """The list as last saved, or an empty one of generation 0."""
        query = sa.select(remote_lists).where(
            remote_lists.c.audience == audience, remote_lists.c.destination == destination
        )
        with self._reading() as connection:
            row = connection.execute(query).first()
        return RemoteList(audience=audience, destination=destination) if row is None else _list(row)

    def remote_lists(self) -> list[RemoteList]:
        """Every list, by destination and audience."""
        order = (remote_lists.c.destination, remote_lists.c.audience)
        with self._reading() as connection:
            return [
                _list(row) for row in connection.execute(sa.select(remote_lists).order_by(*order))
            ]

    def accounts(self, destination: str) -> set[str]:
        """The accounts at the partner that lists of a destination are known to belong to."""
        query = sa.select(remote_lists.c.account).where(
            remote_lists.c.destination == destination, remote_lists.c.remote_id.is_not(None)
        )
        with self._reading() as connection:
            return {account for account in connection.execute(query).scalars() if account}

    def save_remote_list(
        self, remote_list: RemoteList, *, expect_generation: int, lease: Lease | None = None
    ) -> RemoteList:
        """Save a list with the time of now; BusyError when another run saved it meanwhile."""
        saved = replace(remote_list, updated_at=self._clock())
        columns = {name: storable(getattr(saved, name)) for name in _FIELDS}
        with self._writing() as connection:
            fence(connection, lease)
            if expect_generation == 0:
                first = upsert(connection.dialect.name, remote_lists).values(columns)
                inserted = first.on_conflict_do_nothing().returning(remote_lists.c.generation)
                if connection.execute(inserted).first() is not None:
                    return saved
            older = sa.update(remote_lists).where(
                remote_lists.c.audience == saved.audience,
                remote_lists.c.destination == saved.destination,
                remote_lists.c.generation == expect_generation,
            )
            if connection.execute(older.values(columns)).rowcount == 0:
                raise _overtaken(saved)
        return saved


def _overtaken(remote_list: RemoteList) -> BusyError:
    return BusyError(
        f"another run changed {remote_list.audience} at {remote_list.destination} meanwhile;"
        " nothing was saved"
    )


def _list(row: sa.Row[Any]) -> RemoteList:
    return RemoteList(**row._mapping)  # noqa: SLF001 - the public way to read a row by names
