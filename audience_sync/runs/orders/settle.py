"""What a person found out about orders whose answer was never seen."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from audience_sync.errors import ConfigurationError
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.log import Event, TransferLine
from audience_sync.ledger.records.runs import Run
from audience_sync.ledger.records.work import Lease
from audience_sync.ledger.runs import ENDED
from audience_sync.runs.link import Link


def settle_orders(
    ledger: Ledger,
    run: Run,
    link: Link,
    lease: Lease,
    *,
    arrived: bool,
    actor: str,
    now: datetime,
) -> int:
    """Take the unknown orders of an ended run for arrived, or for lost; how many there were.

    Arrived ones count as reported, lost ones are reported with the next sync. The log tells who
    said so.
    """
    if run.state not in ENDED:
        raise ConfigurationError(
            f"run {run.id} is {run.state}; end it first with `audience-sync resume {run.id}` or "
            f"`audience-sync cancel {run.id}`"
        )
    waiting = [found for found in ledger.unknown_orders() if found.run == run.id]
    orders = sum(found.orders for found in waiting)
    if not orders:
        raise ConfigurationError(f"no order of run {run.id} is unknown; there is nothing to settle")
    line = replace(_found(run, link, orders, arrived=arrived), actor=actor, finished_at=now)
    ledger.record([line], (), lease)
    ledger.settle_orders(run.id, arrived=arrived)
    return orders


def _found(run: Run, link: Link, orders: int, *, arrived: bool) -> TransferLine:
    recipient = link.connector.recipient
    word = "arrived" if arrived else "were lost"
    return TransferLine(
        event=Event.CONFIRMED,
        run=run.id,
        audience=run.audience,
        destination=run.destination,
        recipient=recipient.name,
        recipient_country=recipient.country,
        purpose=link.purpose,
        operation="report",
        sent=orders,
        accepted=orders if arrived else 0,
        rejected=0 if arrived else orders,
        note=f"a person found that these orders {word}",
    )
