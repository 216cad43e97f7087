"""Whether a report of orders looks like an accident (L12).

Orders come in by the quarter of an hour, so that a share of a few of them says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from audience_sync.membership.guard import GuardLimits

FEW = 20  # orders or lines; so few wake nobody


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderFacts:
    """What the guards look at; the `previous_…` counts are None before the first report."""

    rows: int  # order lines
    unreadable: int
    held: int  # orders that were reported and can still be corrected
    taken_back: int  # orders to be corrected or cancelled
    fresh: int  # orders to be reported for the first time
    customers: int
    granted: int
    previous_rows: int | None = None
    previous_customers: int | None = None
    previous_granted: int | None = None


def findings(facts: OrderFacts, limits: GuardLimits) -> list[str]:
    """What looks wrong, one phrase each; empty when the report may go."""
    checks = (_source, _consent, _unreadable, _taken_back, _growth)
    return [found for check in checks if (found := check(facts, limits))]


def _source(facts: OrderFacts, limits: GuardLimits) -> str | None:
    limit = limits.maximum_source_drop
    if limit is None:
        return None
    if not facts.rows:
        return "the orders' source has no rows"
    before = facts.previous_rows
    if before and before > FEW and facts.rows < before * (1 - limit):
        return (
            f"the orders' source shrank from {before:,} to {facts.rows:,} rows "
            f"(maximum_source_drop is {limit:.0%})"
        )
    return None


def _consent(facts: OrderFacts, limits: GuardLimits) -> str | None:
    limit = limits.maximum_consent_drop
    if limit is None or not facts.customers or not facts.previous_customers:
        return None
    share = facts.granted / facts.customers
    before = (facts.previous_granted or 0) / facts.previous_customers
    if share < before * (1 - limit):
        return (
            f"the share of customers who may be sent fell from {before:.1%} to {share:.1%} "
            f"(maximum_consent_drop is {limit:.0%})"
        )
    return None


def _unreadable(facts: OrderFacts, limits: GuardLimits) -> str | None:
    limit = limits.maximum_unusable
    if limit is None or facts.unreadable <= max(FEW, facts.rows * limit):
        return None
    share = facts.unreadable / facts.rows
    return f"{share:.1%} of the order lines cannot be read (maximum_unusable is {limit:.0%})"


def _taken_back(facts: OrderFacts, limits: GuardLimits) -> str | None:
    limit = limits.maximum_removals
    if limit is None or not facts.held or facts.taken_back <= max(FEW, facts.held * limit):
        return None
    share = facts.taken_back / facts.held
    return (
        f"{facts.taken_back:,} of {facts.held:,} reported orders ({share:.1%}) would be corrected "
        f"or cancelled (maximum_removals is {limit:.0%})"
    )


def _growth(facts: OrderFacts, limits: GuardLimits) -> str | None:
    limit = limits.maximum_growth
    if limit is None or not facts.held or facts.fresh <= max(FEW, facts.held * limit):
        return None
    return (
        f"{facts.fresh:,} orders would be reported on top of {facts.held:,} "
        f"(maximum_growth is {limit:.0%})"
    )
