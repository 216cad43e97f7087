"""Tells a partner of people who withdrew, beyond taking them off the lists of ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

from audience_sync.connector import Receipt
from audience_sync.delivery.exchange import Exchange
from audience_sync.errors import AudienceSyncError
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.log import Event, TransferLine
from audience_sync.ledger.records.runs import RemoteList, Run
from audience_sync.ledger.records.work import Lease
from audience_sync.membership.lines import Lines
from audience_sync.runs.faults import faults_of
from audience_sync.runs.leases import Held
from audience_sync.runs.link import Link

OPERATION = "withdraw"
_NO_NEED = "the partner needs nothing more"


@dataclass(frozen=True)
class Announcer:
    """Tells one partner, for a removal that has the id of a `run` in the transfer log."""

    ledger: Ledger
    link: Link
    run: Run
    remote: RemoteList
    now: Callable[[], datetime] = field(repr=False)

    def tell(self, lines: Lines, held: Held, lease: str) -> None:
        """Tell of these members; both what is asked and what came of it are logged."""
        members = lines.members()
        line = self._intent(len(members))
        self.ledger.record([line], (), held[lease])
        receipt = None
        with self.link.recording() as exchange:
            try:
                with faults_of(self.link.connector.name):
                    receipt = self.link.connector.withdraw(members)
            except AudienceSyncError as error:
                failed = replace(line, unattributed=line.sent, note=f"failed: {error}")
                self._ended(failed, held[lease])
                raise
        self._ended(_told(line, receipt, exchange), held[lease])

    def _intent(self, members: int) -> TransferLine:
        recipient = self.link.connector.recipient
        return TransferLine(
            event=Event.INTENT,
            run=self.run.id,
            audience=self.remote.audience,
            destination=self.remote.destination,
            recipient=recipient.name,
            recipient_country=recipient.country,
            purpose=self.link.purpose,
            operation=f"{OPERATION} everywhere",
            sent=members,
            attempts=1,
            started_at=self.now(),
        )

    def _ended(self, line: TransferLine, lease: Lease) -> None:
        outcome = replace(line, event=Event.OUTCOME, finished_at=self.now())
        self.ledger.record([outcome], (), lease)


def _told(line: TransferLine, receipt: Receipt | None, exchange: Exchange) -> TransferLine:
    told = receipt or Receipt(accepted=0)
    return replace(
        line,
        sent=told.sent,
        accepted=told.accepted,
        rejected=len(told.rejected),
        unattributed=told.unattributed,
        reference=told.reference,
        status=exchange.status,
        code=exchange.code,
        body_sha256=exchange.body_sha256,
        note=_NO_NEED if receipt is None else told.reason,
    )
