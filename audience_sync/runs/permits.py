"""What must not be sent, though it was planned: too old, too small, unwanted, or by one person."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from audience_sync.errors import ConfigurationError
from audience_sync.ledger.records.runs import Batch, Operation, Run
from audience_sync.runs.sending import OPEN

LONGEST_WAIT = timedelta(days=7)  # of a plan: people may refuse meanwhile, which it does not know


def refuse_additions(run: Run, batches: Iterable[Batch]) -> None:
    """A ConfigurationError when people would be added where the project no longer wants them."""
    if any(b.operation is not Operation.REMOVE and b.state in OPEN for b in batches):
        raise ConfigurationError(
            f"audience {run.audience} no longer names {run.destination}; "
            f"drop this run with `audience-sync cancel {run.id}`"
        )


def refuse_small(run: Run, least: int) -> None:
    """A ConfigurationError where so few people would be added to a list as no partner takes.

    A run that also removes people may go: they have a right to leave.
    """
    few = run.delta.get("wanted", 0) < least and run.delta.get("additions")
    if few and not run.delta.get("removals"):
        raise ConfigurationError(
            f"{run.audience} has fewer members than the {least:,} that {run.destination} "
            f"takes, which nobody can overrule; drop this run with `audience-sync cancel "
            f"{run.id}`"
        )


def refuse_old(run: Run, now: datetime) -> None:
    """A ConfigurationError when a plan waited too long."""
    age = now - run.planned_at
    if age > LONGEST_WAIT:
        raise ConfigurationError(
            f"run {run.id} was planned {age.days} days ago and knows nothing of who refused "
            f"since; plan again with `audience-sync plan {run.audience}`"
        )


def refuse_alone(run: Run, actor: str) -> None:
    """A ConfigurationError where the one who planned a held run approves it, too."""
    if run.planned_by is None:
        raise ConfigurationError(
            f"nobody knows who planned run {run.id}, and two people have to decide; "
            f"plan again with `audience-sync plan {run.audience}`"
        )
    if run.planned_by == actor:
        raise ConfigurationError(
            f"{actor} planned run {run.id}, so another person has to approve it: "
            f"`audience-sync approve {run.id}`, under a login of their own"
        )
