"""Runs that send everybody: a list is refreshed by them, and whoever else is on it may leave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from audience_sync.connector import Connector
from audience_sync.delivery.exchange import Exchange
from audience_sync.errors import AudienceSyncError
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.log import Event, TransferLine
from audience_sync.ledger.records.runs import Batch, BatchState, RemoteList, Run
from audience_sync.membership.held import Manifest
from audience_sync.runs.faults import faults_of
from audience_sync.runs.leases import Held
from audience_sync.runs.link import Link

STRANGERS = "whoever was on the list before is perhaps on it still: {}"

_CLOCKS = timedelta(hours=1)  # how far apart a partner's clock and ours may be at most
_SURE = frozenset({BatchState.ACCEPTED, BatchState.CONFIRMED})


def sends_everybody(run: Run) -> bool:
    """Whether all members that are wanted travel in this run, whether they were held or not."""
    return run.outbox is not None and run.delta.get("unchanged") == 0


def starts_afresh(remote: RemoteList, batches: list[Batch]) -> bool:
    """Whether nothing was sent to a list of ours yet, as far as we know (L15)."""
    untouched = all(batch.state is BatchState.WAITING for batch in batches)
    return untouched and not remote.adopted and not Manifest.of(remote.manifest).files


def drop_stale(
    ledger: Ledger, run: Run, link: Link, now: Callable[[], datetime], held: Held
) -> None:
    """Once everybody wanted is surely on a list of ours, ask that whoever else is on it leaves.

    Those are members that an earlier ledger knew, or that a partner did not take off when asked.
    """
    remote = ledger.remote_list(run.audience, run.destination)
    sure = all(
        batch.state in _SURE and batch.accepted + batch.rejected + batch.withheld == batch.members
        for batch in ledger.batches(run.id)
    )
    able = type(link.connector).drop_stale is not Connector.drop_stale
    if not (able and sure and sends_everybody(run)) or remote.adopted or remote.remote_id is None:
        return
    before = (run.started_at or run.planned_at) - _CLOCKS
    line = _intent(run, link, before, now())
    lease = held[run.lease_name]
    ledger.record([line], (), lease)
    with link.recording() as exchange:
        try:
            with faults_of(link.connector.name):
                link.connector.drop_stale(remote.remote_id, before)
        except AudienceSyncError as error:
            note = f"failed: {error}"
            ledger.record([_outcome(line, exchange, now(), note)], (), lease)
            raise
    ledger.record([_outcome(line, exchange, now(), line.note)], (), lease)


def _intent(run: Run, link: Link, before: datetime, now: datetime) -> TransferLine:
    recipient = link.connector.recipient
    return TransferLine(
        event=Event.INTENT,
        run=run.id,
        audience=run.audience,
        destination=run.destination,
        recipient=recipient.name,
        recipient_country=recipient.country,
        purpose=link.purpose,
        operation="remove",
        attempts=1,
        started_at=now,
        note=f"whoever was last added before {before:%Y-%m-%d %H:%M} UTC",
    )


def _outcome(
    line: TransferLine, exchange: Exchange, now: datetime, note: str | None
) -> TransferLine:
    return replace(
        line,
        event=Event.OUTCOME,
        status=exchange.status,
        code=exchange.code,
        attempts=max(1, exchange.attempts),
        finished_at=now,
        body_sha256=exchange.body_sha256,
        note=note,
    )
