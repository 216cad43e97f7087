"""Guards: whether a delta looks like an accident (L12)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardLimits:
    """Limits as shares (0.3 is 30 %); None switches a guard off.

    `always` is a reason to hold whatever the delta looks like.
    """

    always: str | None = None

    minimum_members: int | None = 100
    maximum_removals: float | None = 0.30
    maximum_growth: float | None = 3.0
    maximum_source_drop: float | None = 0.50
    maximum_unusable: float | None = 0.20
    maximum_consent_drop: float | None = 0.30


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardFacts:
    """What the guards look at. The `previous_…` counts are None before the first delivery.

    `removals` leaves out those who refused or whose time is over: neither is ever held back for
    being one of many. `barred` ones are selected, but were members for as long as they may be.
    """

    rows: int
    consenting: int
    selected: int  # rows in the audience that may be sent, usable or not
    unusable: int
    wanted: int
    held: int
    additions: int
    removals: int
    barred: int = 0
    previous_rows: int | None = None
    previous_consenting: int | None = None
    previous_members: int | None = None


def findings(facts: GuardFacts, limits: GuardLimits) -> list[str]:
    """What looks wrong, one phrase each; empty when the delta may go."""
    if limits.always is not None:
        return [limits.always]
    checks: list[Callable[[GuardFacts, GuardLimits], str | None]] = [
        _source,
        _consent,
        _unusable,
        _minimum,
        _removals,
        _growth,
    ]
    return [found for check in checks if (found := check(facts, limits))]


def _source(facts: GuardFacts, limits: GuardLimits) -> str | None:
    if limits.maximum_source_drop is None:
        return None
    if not facts.rows:
        return "the source has no rows"
    before = facts.previous_rows
    if before and facts.rows < before * (1 - limits.maximum_source_drop):
        return (
            f"the source shrank from {before:,} to {facts.rows:,} rows "
            f"(maximum_source_drop is {limits.maximum_source_drop:.0%})"
        )
    return None


def _consent(facts: GuardFacts, limits: GuardLimits) -> str | None:
    if limits.maximum_consent_drop is None or not facts.rows or not facts.previous_rows:
        return None
    share = facts.consenting / facts.rows
    before = (facts.previous_consenting or 0) / facts.previous_rows
    if share < before * (1 - limits.maximum_consent_drop):
        return (
            f"the share of customers who may be sent fell from {before:.1%} to {share:.1%} "
            f"(maximum_consent_drop is {limits.maximum_consent_drop:.0%})"
        )
    return None


def _unusable(facts: GuardFacts, limits: GuardLimits) -> str | None:
    if limits.maximum_unusable is None or not facts.selected:
        return None
    share = facts.unusable / facts.selected
    if share > limits.maximum_unusable:
        return (
            f"{share:.1%} of the selected customers have no usable identifier "
            f"(maximum_unusable is {limits.maximum_unusable:.0%})"
        )
    return None


def _minimum(facts: GuardFacts, limits: GuardLimits) -> str | None:
    if limits.minimum_members is None:
        return None
    if facts.wanted + facts.barred < limits.minimum_members:
        return f"the audience has {facts.wanted:,} members, fewer than {limits.minimum_members:,}"
    return None


def _removals(facts: GuardFacts, limits: GuardLimits) -> str | None:
    if limits.maximum_removals is None or not facts.held:
        return None
    share = facts.removals / facts.held
    if share > limits.maximum_removals:
        return (
            f"{facts.removals:,} of {facts.held:,} members ({share:.1%}) would be removed "
            f"(maximum_removals is {limits.maximum_removals:.0%})"
        )
    return None


def _growth(facts: GuardFacts, limits: GuardLimits) -> str | None:
    before = facts.held or facts.previous_members  # a list is perhaps built anew
    if limits.maximum_growth is None or not before:
        return None
    growth = (facts.wanted - before) / before
    if growth > limits.maximum_growth:
        return (
            f"the audience would grow from {before:,} to {facts.wanted:,} members "
            f"(maximum_growth is {limits.maximum_growth:.0%})"
        )
    return None
