"""Withdrawals are received, each once, and what the source knows of their customers is noted.

A withdrawal has a sequence number. It is written under the same lock as the intent of a transfer,
so that of the two one is surely first: an intent that comes later knows the withdrawal (L11).
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence

import sqlalchemy as sa

from audience_sync.errors import AudienceSyncError
from audience_sync.ledger.database import Database, storable, upsert
from audience_sync.ledger.tables import Moment, metadata
from audience_sync.ledger.tables.log import transfer_log_head as head
from audience_sync.ledger.withdrawal_deliveries import deliveries, queued
from audience_sync.ledger.withdrawals import (
    NEWEST,
    WITHDRAWAL_FIELDS,
    Withdrawal,
    at_a_time,
    by_sequence,
    read_withdrawal,
    withdrawals,
)

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # no i, l, o, u: easy to read out
_LOCKED_HEAD = sa.select(head.c.lines).where(head.c.id == 1).with_for_update()


class OvertakenError(AudienceSyncError):
    """Somebody withdrew meanwhile; look again at what is to be sent."""


keys = sa.Table(
    "withdrawal_keys",
    metadata,
    sa.Column("key", sa.LargeBinary(32), primary_key=True),  # HMAC with our own key
    sa.Column("sequence", sa.BigInteger, nullable=False),
    sa.Column("at", Moment, nullable=False),
)


class Receiving(Database):
    """Takes withdrawals in."""

    def new_withdrawal_id(self) -> str:
        """A short name, such as w20261121-q3k7m2xa9c4e."""
        chance = "".join(secrets.choice(_ALPHABET) for _ in range(12))
        return f"w{self._clock():%Y%m%d}-{chance}"

    def receive_withdrawals(
        self,
        received: Sequence[Withdrawal],
        destinations: Mapping[str, Sequence[str]],
        repeats: Mapping[bytes, str] | None = None,
    ) -> list[Withdrawal]:
        """Write withdrawals together, on their way to the destinations of each by its id.

        `repeats` are keyed fingerprints of idempotency keys, with the withdrawal of each. An
        OvertakenError, and nothing written, when one of them was received meanwhile.
        """
        with self._writing() as connection:
            connection.execute(_LOCKED_HEAD)
            number = connection.execute(NEWEST).scalar_one()
            written = []
            for one in received:
                number += 1
                columns = {name: storable(getattr(one, name)) for name in WITHDRAWAL_FIELDS}
                connection.execute(sa.insert(withdrawals), [columns | {"sequence": number}])
                row = connection.execute(by_sequence(number)).one()
                written.append(read_withdrawal(row))
                rows = [queued(number, one, there) for there in destinations.get(one.id, ())]
                if rows:
                    connection.execute(sa.insert(deliveries), rows)
            of = {one.id: one.sequence for one in written}
            self._remember_keys(connection, {key: of[id_] for key, id_ in (repeats or {}).items()})
        return written

    def _remember_keys(self, connection: sa.Connection, found: Mapping[bytes, int]) -> None:
        if not found:
            return
        now = self._clock()
        rows = [{"key": key, "sequence": of, "at": now} for key, of in sorted(found.items())]
        insert = upsert(connection.dialect.name, keys).on_conflict_do_nothing()
        new = [connection.execute(insert.values(row).returning(keys.c.key)).first() for row in rows]
        if None in new:
            raise OvertakenError("a withdrawal with the same key was received meanwhile")

    def withdrawn_under(self, found: Collection[bytes]) -> dict[bytes, str]:
        """The withdrawals, by id, that were received under idempotency keys, of those given."""
        query = sa.select(keys.c.key, withdrawals.c.id).join(
            withdrawals, withdrawals.c.sequence == keys.c.sequence
        )
        with self._reading() as connection:
            return {
                bytes(row.key): row.id
                for some in at_a_time(found)
                for row in connection.execute(query.where(keys.c.key.in_(some)))
            }

    def resolve_withdrawal(
        self, parent: Withdrawal, child: Withdrawal | None, missing: int
    ) -> Withdrawal:
        """Note what the source knows of a withdrawal's customers; the parent as it is then.

        `child` holds their identifiers, and is None where the source has none of them. Somebody
        else's answer stands.
        """
        with self._writing() as connection:
            connection.execute(_LOCKED_HEAD)
            found = connection.execute(by_sequence(parent.sequence)).one()
            if found.resolved_by is not None:
                return read_withdrawal(found)
            number = parent.sequence
            if child is not None:
                number = connection.execute(NEWEST).scalar_one() + 1
                columns = {name: storable(getattr(child, name)) for name in WITHDRAWAL_FIELDS}
                columns |= {"sequence": number, "parent": parent.sequence}
                connection.execute(sa.insert(withdrawals), [columns])
            connection.execute(
                sa.update(withdrawals)
                .where(withdrawals.c.sequence == parent.sequence)
                .values(resolved_by=number, missing=missing)
            )
            return read_withdrawal(connection.execute(by_sequence(parent.sequence)).one())

    def resolve_themselves(self, sequences: Collection[int]) -> None:
        """Note that nothing more is known of whom these name than what they say."""
        table = withdrawals.c
        with self._writing() as connection:
            for some in at_a_time(sequences):
                here = sa.update(withdrawals).where(table.sequence.in_(some))
                itself = here.where(table.resolved_by.is_(None)).values(resolved_by=table.sequence)
                connection.execute(itself)


def refuse_overtaken(connection: sa.Connection, known: int) -> None:
    """An OvertakenError when there are withdrawals newer than the one that the caller knew."""
    if connection.execute(NEWEST).scalar_one() > known:
        raise OvertakenError("somebody withdrew meanwhile; look again at what is to be sent")
