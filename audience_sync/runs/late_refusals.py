"""Removals of runs that a partner took and refused later, run after run."""

from __future__ import annotations

from dataclasses import dataclass

from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.runs import Batch, BatchState, Operation, Run, RunState

_ENDED = (RunState.CONFIRMED, RunState.FAILED, RunState.CANCELLED)
_LOOKED_AT = 50  # runs; most lists have none of these, or the last one


@dataclass(frozen=True, slots=True, kw_only=True)
class LateRefusals:
    """How many of the last runs in a row ended so.

    `since` counts those after the last that took the list away instead; `reason` is the newest.
    """

    in_all: int = 0
    since: int = 0
    reason: str | None = None

    @classmethod
    def before(cls, run: Run, ledger: Ledger) -> LateRefusals:
        """Of the list of a run; one whose removals the partner took begins the count anew."""
        earlier = ledger.runs(
            audience=run.audience, destination=run.destination, states=_ENDED, limit=_LOOKED_AT
        )
        found, escalated = cls(), False
        for one in earlier:
            if not one.delta.get("removals") or one.state is RunState.CANCELLED:
                continue
            if one.state is RunState.CONFIRMED:
                break
            batches = ledger.batches(one.id)
            refused = [batch for batch in batches if _refused(batch)]
            late = next((batch.error for batch in refused if batch.reference), None)
            escalated |= bool(refused) and late is None
            if late is not None:
                found = cls(
                    in_all=found.in_all + 1,
                    since=found.since + (not escalated),
                    reason=found.reason or late,
                )
        return found


def _refused(batch: Batch) -> bool:
    return batch.operation is Operation.REMOVE and batch.state is BatchState.FAILED
