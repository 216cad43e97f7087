"""How far each withdrawal is at every destination, with its times."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from audience_sync.ledger.database import Database, storable
from audience_sync.ledger.tables import Moment, Word, metadata
from audience_sync.ledger.withdrawals import Withdrawal

_AT_ONCE = 5_000  # deliveries in one transaction


class WithdrawalState(StrEnum):
    """How far a withdrawal is at a destination."""

    QUEUED = "queued"
    SENT = "sent"  # asked of the partner, at least of one list
    ACKNOWLEDGED = "acknowledged"  # the partner took every removal
    CONFIRMED = "confirmed"  # nobody named is on a list any more, by the partner and by our books


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
    sa.Index("withdrawal_deliveries_by_time", "received_at"),
)

_FIELDS = tuple(one.name for one in fields(WithdrawalDelivery))
# When it was received and queued never changes.
_CHANGES = tuple(one for one in _FIELDS[2:] if one not in ("received_at", "queued_at"))
_OPEN = tuple(state for state in WithdrawalState if state is not WithdrawalState.CONFIRMED)
# Made once, and prepared once for all rows of a transaction.
_NEW = {
    name: sa.bindparam(f"new_{name}", type_=deliveries.c[name].type)
    for name in ("sequence", "destination", *_CHANGES)
}
_SAVE = (
    sa.update(deliveries)
    .where(
        deliveries.c.sequence == _NEW["sequence"],
        deliveries.c.destination == _NEW["destination"],
        deliveries.c.state != WithdrawalState.CONFIRMED,
    )
    .values(
        {name: _NEW[name] for name in _CHANGES}
        | {"sent_at": sa.func.coalesce(deliveries.c.sent_at, _NEW["sent_at"])}
    )
)


class WithdrawalDeliveries(Database):
    """Follows withdrawals to every destination."""

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
        rows = [{f"new_{name}": storable(getattr(one, name)) for name in _NEW} for one in changed]
        for start in range(0, len(rows), _AT_ONCE):
            with self._writing() as connection:
                connection.execute(_SAVE, rows[start : start + _AT_ONCE])


def queued(sequence: int, one: Withdrawal, destination: str) -> dict[str, Any]:
    """A withdrawal on its way to a destination, as columns."""
    row = WithdrawalDelivery(
        sequence=sequence,
        destination=destination,
        received_at=one.received_at,
        queued_at=one.received_at,
    )
    return {name: getattr(row, name) for name in _FIELDS}
