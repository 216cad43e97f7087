"""Leases with fencing tokens: who may work on one audience at one destination (law L7).

On PostgreSQL they go by the server's clock: a machine whose own is wrong takes nobody's lease.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import sqlalchemy as sa

from audience_sync.errors import BusyError
from audience_sync.ledger.database import Database, upsert
from audience_sync.ledger.records.work import Lease
from audience_sync.ledger.tables.work import leases


class Leases(Database):
    """Taking, renewing and giving back leases; a name's tokens only ever grow."""

    def take_lease(
        self,
        name: str,
        holder: str,
        seconds: float,
        *,
        alive: Callable[[str], bool] = lambda _holder: True,
    ) -> Lease:
        """The lease, or BusyError when anyone holds it, the same holder included.

        A holder that is known not to be `alive` is overtaken at once; should it wake up, its
        token is too old to write anything.
        """
        with self._writing() as connection:
            first = upsert(connection.dialect.name, leases).values(
                name=name, token=0, expires_at=self._clock()
            )
            connection.execute(first.on_conflict_do_nothing())
            held = connection.execute(
                sa.select(leases).where(leases.c.name == name).with_for_update()
            ).one()
            now = self._agreed_now(connection)
            until = now + timedelta(seconds=seconds)
            if held.holder is not None and held.expires_at > now and alive(held.holder):
                raise BusyError(
                    f"{name} is being worked on by {held.holder},"
                    f" at most until {held.expires_at:%Y-%m-%d %H:%M:%S} UTC"
                )
            lease = Lease(name=name, holder=holder, token=held.token + 1, expires_at=until)
            connection.execute(
                sa.update(leases)
                .where(leases.c.name == name)
                .values(holder=holder, token=lease.token, expires_at=until)
            )
        return lease

    def leases_held(self, prefix: str) -> list[Lease]:
        """The leases in force whose names begin so."""
        query = sa.select(leases).where(
            leases.c.name.startswith(prefix, autoescape=True), leases.c.holder.is_not(None)
        )
        with self._reading() as connection:
            held = query.where(leases.c.expires_at > self._agreed_now(connection))
            return [
                Lease(name=row.name, holder=row.holder, token=row.token, expires_at=row.expires_at)
                for row in connection.execute(held)
            ]

    def renew_lease(self, lease: Lease, seconds: float) -> Lease:
        """The lease with a later end; a late renewal is fine as long as nobody else took it."""
        with self._writing() as connection:
            until = self._agreed_now(connection) + timedelta(seconds=seconds)
            renewed = connection.execute(
                sa.update(leases).where(_still(lease)).values(expires_at=until)
            )
            if renewed.rowcount == 0:
                raise _lost(lease)
        return replace(lease, expires_at=until)

    def release_lease(self, lease: Lease, *, for_good: bool = False) -> None:
        """Give the lease back; one that was lost already stays with its new holder.

        `for_good` forgets the name too, which is right only when it is never used again.
        """
        given_back = sa.update(leases).where(_still(lease)).values(holder=None)
        forgotten = sa.delete(leases).where(_still(lease))
        with self._writing() as connection:
            connection.execute(forgotten if for_good else given_back)


def fence(connection: sa.Connection, lease: Lease | None) -> None:
    """Refuse to write for a holder who was overtaken; keeps others from overtaking meanwhile."""
    if lease is None:
        return
    found = connection.execute(_HELD, {"held": lease.name, "held_token": lease.token})
    if found.first() is None:
        raise _lost(lease)


def _still(lease: Lease) -> sa.ColumnElement[bool]:
    return sa.and_(
        leases.c.name == lease.name,
        leases.c.token == lease.token,
        leases.c.holder.is_not(None),
    )


def _lost(lease: Lease) -> BusyError:
    return BusyError(f"{lease.name} is no longer held by {lease.holder}; another run took it over")


_HELD = (
    sa.select(leases.c.token)
    .where(
        leases.c.name == sa.bindparam("held"),
        leases.c.token == sa.bindparam("held_token"),
        leases.c.holder.is_not(None),
    )
    .with_for_update(read=True)
)
