"""What became of each list of a sync."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from audience_sync.errors import AudienceSyncError, BusyError, TemporaryPartnerError
from audience_sync.ledger.records.runs import Run, RunState

NO_ROWS = "the source has no rows"  # where nothing differs, but for a reason that is no good news


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one list: its run, or the error that stopped it.

    `replaced` names older plans that nobody had sent and that this one took the place of.
    """

    audience: str
    destination: str
    run: Run | None = None
    error: AudienceSyncError | None = None
    replaced: tuple[str, ...] = ()


def worst(outcomes: Sequence[Outcome]) -> Mapping[str, int]:
    """How many lists went well, were held, were busy or failed."""
    counts = {"done": 0, "held": 0, "busy": 0, "failed": 0}
    for outcome in outcomes:
        if isinstance(outcome.error, BusyError):
            counts["busy"] += 1
        elif outcome.error is not None or (
            outcome.run is not None and outcome.run.state is RunState.FAILED
        ):
            counts["failed"] += 1
        elif outcome.run is not None and outcome.run.state is RunState.HELD:
            counts["held"] += 1
        else:
            counts["done"] += 1
    return counts


def late_failures(polled: Sequence[Outcome], synced: Sequence[Outcome]) -> list[Outcome]:
    """What asking about earlier runs found that a person should know of.

    A partner that cannot answer now is no news: it is asked again. Runs of this sync are told
    among its own outcomes.
    """
    own = {outcome.run.id for outcome in synced if outcome.run is not None}
    late = []
    for outcome in polled:
        failed = outcome.run is not None and outcome.run.state is RunState.FAILED
        told = outcome.error is not None and not isinstance(
            outcome.error, BusyError | TemporaryPartnerError
        )
        if (failed or told) and (outcome.run is None or outcome.run.id not in own):
            late.append(outcome)
    return late
