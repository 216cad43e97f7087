"""Withdrawals: what was received, and how far each is at every destination. Counts, no people.

A withdrawal has a sequence number. It is written under the same lock as the intent of a transfer,
so that of the two one is surely first: an intent that comes later knows the withdrawal (L11).
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from audience_sync.errors import AudienceSyncError, ConfigurationError
from audience_sync.ledger.database import Database, storable, upsert
from audience_sync.ledger.tables import Moment, Word, metadata
from audience_sync.ledger.tables import transfer_log_head as head

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # no i, l, o, u: easy to read out


class OvertakenError(AudienceSyncError):
    """Somebody withdrew meanwhile; look again at what is to be sent."""


class WithdrawalState(StrEnum):
    """How far a withdrawal is at a destination."""

    QUEUED = "queued"
    SENT = "sent"  # asked of the partner, at least of one list
    ACKNOWLEDGED = "acknowledged"  # the partner took every removal
    CONFIRMED = "confirmed"  # nobody named is on a list any more, by the partner and by our books


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


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawalDelivery:
    """One withdrawal at one destination, with its times."""

    sequence: int
    destination: str
    state: WithdrawalState = WithdrawalState.QUEUED
    received_at: datetime
    queued_at: datetime
    sent_at: datetime | None = None
    acknowledged_at: datetime | None = None
    confirmed_at: datetime | None = None
    next_attempt_at: datetime | None = None
    attempts: int = 0
    reason: str | None = None  # why it is not further: one sentence


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
)

deliveries = sa.Table(
    "withdrawal_deliveries",
    metadata,
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("destination", sa.Text, primary_key=True),
    sa.Column("state", Word(WithdrawalState), nullable=False),
    sa.Column("received_at", Moment, nullable=False),
    sa.Column("queued_at", Moment, nullable=False),
    sa.Column("sent_at", Moment),
    sa.Column("acknowledged_at", Moment),
    sa.Column("confirmed_at", Moment),
    sa.Column("next_attempt_at", Moment),
    sa.Column("attempts", sa.BigInteger, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Index("withdrawal_deliveries_by_state", "state", "destination"),
)

keys = sa.Table(
    "withdrawal_keys",
    metadata,
    sa.Column("key", sa.LargeBinary(32), primary_key=True),  # HMAC with our own key
    sa.Column("sequence", sa.BigInteger, nullable=False),
    sa.Column("at", Moment, nullable=False),
)

watch = sa.Table(
    "withdrawal_watch",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("seen_at", Moment, nullable=False),
)

_NEWEST = sa.select(sa.func.coalesce(sa.func.max(withdrawals.c.sequence), 0))
_LOCKED_HEAD = sa.select(head.c.lines).where(head.c.id == 1).with_for_update()
_FIELDS = tuple(one.name for one in fields(Withdrawal))
_DELIVERY_FIELDS = tuple(one.name for one in fields(WithdrawalDelivery))
_OPEN = tuple(state for state in WithdrawalState if state is not WithdrawalState.CONFIRMED)
_AT_ONCE = 500  # values that a query names
_WRITTEN_AT_ONCE = 5_000  # deliveries in one transaction
# Made once, and prepared once for all rows of a transaction.
_NEW = {
    name: sa.bindparam(f"new_{name}", type_=deliveries.c[name].type) for name in _DELIVERY_FIELDS
}
_SAVE = (
    sa.update(deliveries)
    .where(
        deliveries.c.sequence == _NEW["sequence"],
        deliveries.c.destination == _NEW["destination"],
        deliveries.c.state != WithdrawalState.CONFIRMED,
    )
    .values(
        {name: _NEW[name] for name in _DELIVERY_FIELDS[2:]}
        | {"sent_at": sa.func.coalesce(deliveries.c.sent_at, _NEW["sent_at"])}
    )
)


class Withdrawals(Database):
    """Receiving withdrawals, and following them to every destination."""

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
            number = connection.execute(_NEWEST).scalar_one()
            written = []
            for one in received:
                number += 1
                columns = {name: storable(getattr(one, name)) for name in _FIELDS}
                connection.execute(sa.insert(withdrawals), [columns | {"sequence": number}])
                row = connection.execute(_by_sequence(number)).one()
                written.append(_withdrawal(row))
                rows = [_queued(number, one, there) for there in destinations.get(one.id, ())]
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

    def resolve_withdrawal(
        self, parent: Withdrawal, child: Withdrawal | None, missing: int
    ) -> Withdrawal:
        """Note what the source knows of a withdrawal's customers; the parent as it is then.

        `child` holds their identifiers, and is None where the source has none of them. Somebody
        else's answer stands.
        """
        with self._writing() as connection:
            connection.execute(_LOCKED_HEAD)
            found = connection.execute(_by_sequence(parent.sequence)).one()
            if found.resolved_by is not None:
                return _withdrawal(found)
            number = parent.sequence
            if child is not None:
                number = connection.execute(_NEWEST).scalar_one() + 1
                columns = {name: storable(getattr(child, name)) for name in _FIELDS}
                columns |= {"sequence": number, "parent": parent.sequence}
                connection.execute(sa.insert(withdrawals), [columns])
            connection.execute(
                sa.update(withdrawals)
                .where(withdrawals.c.sequence == parent.sequence)
                .values(resolved_by=number, missing=missing)
            )
            return _withdrawal(connection.execute(_by_sequence(parent.sequence)).one())

    def newest_withdrawal(self) -> int:
        """The sequence of the newest withdrawal; 0 when there is none."""
        with self._reading() as connection:
            return int(connection.execute(_NEWEST).scalar_one())

    def withdrawals(
        self, *, after: int = 0, through: int | None = None, limit: int | None = None
    ) -> list[Withdrawal]:
        """Withdrawals by sequence, oldest first."""
        query = sa.select(withdrawals).where(withdrawals.c.sequence > after)
        if through is not None:
            query = query.where(withdrawals.c.sequence <= through)
        query = query.order_by(withdrawals.c.sequence).limit(limit)
        with self._reading() as connection:
            return [_withdrawal(row) for row in connection.execute(query)]

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
        return _withdrawal(row)

    def withdrawals_numbered(self, sequences: Collection[int]) -> list[Withdrawal]:
        """Those of these sequences that are still there, oldest first."""
        with self._reading() as connection:
            return [
                _withdrawal(row)
                for some in _chunks(sequences)
                for row in connection.execute(
                    sa.select(withdrawals)
                    .where(withdrawals.c.sequence.in_(some))
                    .order_by(withdrawals.c.sequence)
                )
            ]

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
            return [_withdrawal(row) for row in connection.execute(query.order_by(table.sequence))]

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
            return [_withdrawal(row) for row in found]

    def withdrawn_under(self, found: Collection[bytes]) -> dict[bytes, str]:
        """The withdrawals, by id, that were received under idempotency keys, of those given."""
        query = sa.select(keys.c.key, withdrawals.c.id).join(
            withdrawals, withdrawals.c.sequence == keys.c.sequence
        )
        with self._reading() as connection:
            return {
                bytes(row.key): row.id
                for some in _chunks(found)
                for row in connection.execute(query.where(keys.c.key.in_(some)))
            }

    def withdrawal_deliveries(
        self,
        *,
        sequences: Collection[int] | None = None,
        destination: str | None = None,
        only_open: bool = False,
        since: datetime | None = None,
        limit: int | None = None,
    ) -> list[WithdrawalDelivery]:
        """How far withdrawals are, oldest first; `since` leaves out what was received before."""
        query = sa.select(deliveries)
        if sequences is not None:
            query = query.where(deliveries.c.sequence.in_(sorted(sequences)))
        if destination is not None:
            query = query.where(deliveries.c.destination == destination)
        if only_open:
            query = query.where(deliveries.c.state.in_(_OPEN))
        if since is not None:
            query = query.where(deliveries.c.received_at >= since)
        order = (deliveries.c.sequence, deliveries.c.destination)
        with self._reading() as connection:
            return [
                WithdrawalDelivery(**row._mapping)  # noqa: SLF001 - the public way to read by names
                for row in connection.execute(query.order_by(*order).limit(limit))
            ]

    def save_withdrawal_deliveries(self, changed: Sequence[WithdrawalDelivery]) -> None:
        """Write these in the place of their older selves; what was confirmed stays so.

        When it was first sent stays too, whoever of several at work knows of it. Of very many,
        some thousands are written at a time, so that others who write need not wait for all.
        """
        rows = [
            {f"new_{name}": storable(getattr(one, name)) for name in _DELIVERY_FIELDS}
            for one in changed
        ]
        for start in range(0, len(rows), _WRITTEN_AT_ONCE):
            with self._writing() as connection:
                connection.execute(_SAVE, rows[start : start + _WRITTEN_AT_ONCE])

    def watched_until(self, source: str) -> datetime | None:
        """The time of the newest decision that was looked at; None when nobody looked."""
        query = sa.select(watch.c.seen_at).where(watch.c.source == source)
        with self._reading() as connection:
            return connection.execute(query).scalar()

    def note_watched(self, source: str, until: datetime) -> None:
        """Everything decided up to then was looked at."""
        with self._writing() as connection:
            insert = upsert(connection.dialect.name, watch).values(source=source, seen_at=until)
            connection.execute(
                insert.on_conflict_do_update(
                    index_elements=["source"], set_={"seen_at": insert.excluded.seen_at}
                )
            )


def refuse_overtaken(connection: sa.Connection, known: int) -> None:
    """An OvertakenError when there are withdrawals newer than the one that the caller knew."""
    if connection.execute(_NEWEST).scalar_one() > known:
        raise OvertakenError("somebody withdrew meanwhile; look again at what is to be sent")


def _chunks(values: Collection[Any]) -> Iterator[list[Any]]:
    """In order, as many at a time as every database takes in one query."""
    ordered = sorted(values)
    return (ordered[at : at + _AT_ONCE] for at in range(0, len(ordered), _AT_ONCE))


def _by_sequence(number: int) -> sa.Select[Any]:
    return sa.select(withdrawals).where(withdrawals.c.sequence == number)


def _queued(sequence: int, one: Withdrawal, destination: str) -> dict[str, Any]:
    queued = WithdrawalDelivery(
        sequence=sequence,
        destination=destination,
        received_at=one.received_at,
        queued_at=one.received_at,
    )
    return {name: getattr(queued, name) for name in _DELIVERY_FIELDS}


def _withdrawal(row: sa.Row[Any]) -> Withdrawal:
    return Withdrawal(**row._mapping)  # noqa: SLF001 - the public way to read a row by names
