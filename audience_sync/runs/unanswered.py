"""What was under way when somebody stopped: whether it arrived is not known."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.log import Event, TransferLine
from audience_sync.ledger.records.runs import BatchState, Run
from audience_sync.ledger.records.work import Lease


def unknown_lines(ledger: Ledger, run: Run, now: datetime) -> list[TransferLine]:
    """A line for each intent whose answer we never saw, because we stopped in between."""
    return _unknown(ledger, run.id, now, "no answer was seen; the batch is sent again")


def note_unknown_removal(ledger: Ledger, name: str, lease: Lease, now: datetime) -> None:
    """Log the same of a removal that was of no run, under the lease of the lane that began it."""
    note = "no answer was seen; whoever is still on the list is taken off again"
    lines = _unknown(ledger, name, now, note) if name else []
    if lines:
        ledger.record(lines, (), lease)


def _unknown(ledger: Ledger, name: str, now: datetime, note: str) -> list[TransferLine]:
    lines = []
    for logged in ledger.unanswered(name):
        found: dict[str, Any] = {"event": Event.UNKNOWN, "finished_at": now, "note": note}
        lines.append(replace(logged.line, **found, unattributed=logged.line.sent))
    return lines


def note_unknown(
    ledger: Ledger, run: Run, lease: Lease, now: datetime, positions: range | None = None
) -> None:
    """Log each intent without an answer as unknown; its batch waits to be sent again.

    Of the batches at some positions only, where other workers are at the others.
    """
    stuck = [
        replace(batch, state=BatchState.UNKNOWN)
        for batch in ledger.batches(run.id, positions)
        if batch.state is BatchState.SENDING
    ]
    if stuck or positions is None:
        lines = unknown_lines(ledger, run, now)
        mine = [one for one in lines if positions is None or one.batch in positions]
        if mine or stuck:
            ledger.record(mine, stuck, lease)
