"""What a plan of a list amounts to: its funnel, its delta, and the facts that guards look at."""

from __future__ import annotations

from collections.abc import Mapping

from audience_sync.customers.funnel import Funnel
from audience_sync.customers.policy import Reason
from audience_sync.membership.guard import GuardFacts
from audience_sync.runs.listplan import ListPlan
from audience_sync.runs.outcome import NO_ROWS
from audience_sync.runs.surveyed import Surveyed


def delta_of(plan: ListPlan, batches: int) -> Mapping[str, int]:
    """How the list changes, in counts."""
    counts = plan.counts
    return {
        "held": counts.held,
        "wanted": counts.members,
        "unchanged": counts.unchanged,
        "additions": counts.additions,
        "changed": counts.changed,
        "removals": counts.left,
        "refused": counts.refused,
        "must_leave": counts.must_leave,
        "batches": batches,
        **({"canaries": counts.canaries} if plan.target.canaries else {}),
    }


def why_silent(funnel: Funnel) -> str:
    """Why a run has nothing to send."""
    return "nothing changed" if funnel.rows else NO_ROWS


def consenting(funnel: Funnel) -> int:
    """Rows that the policy let pass, whatever audience they are in."""
    later = (Reason.SUPPRESSED, Reason.NOT_IN_AUDIENCE, Reason.NO_USABLE_IDENTIFIER)
    return funnel.members + funnel.merged + sum(funnel.drops.get(reason, 0) for reason in later)


def funnel_of(plan: ListPlan, survey: Surveyed) -> Funnel:
    """What became of every row for one list; a StateError when it does not add up (L3)."""
    target, counts, tally = plan.target, plan.counts, survey.tally
    group = survey.group_of[target.partner]
    audience = survey.audiences.index(target.audience)
    drops = tally.drops[group] + counts.drops
    drops[Reason.NOT_IN_AUDIENCE] += tally.blank_left_out[group, audience]
    drops[Reason.NO_USABLE_IDENTIFIER] += tally.blank_selected[group, audience]
    by_reason: Mapping[Reason, int] = {reason: int(drops[reason]) for reason in Reason}
    return Funnel(
        rows=tally.rows,
        drops=by_reason,
        merged=counts.merged,
        members=counts.members,
        unknown_consent_values=tally.unknown_consent_values,
    ).verify()


def facts_of(plan: ListPlan, funnel: Funnel, was: Funnel | None) -> GuardFacts:
    """What guards compare: this plan, and what it `was` for the last run that was delivered."""
    counts = plan.counts
    return GuardFacts(
        rows=funnel.rows,
        consenting=consenting(funnel),
        selected=counts.members + counts.merged + funnel.drops.get(Reason.NO_USABLE_IDENTIFIER, 0),
        unusable=funnel.drops.get(Reason.NO_USABLE_IDENTIFIER, 0),
        wanted=counts.members,
        held=counts.held,
        additions=counts.additions,
        removals=counts.left - counts.refused - counts.expired,
        barred=counts.barred,
        previous_rows=was.rows if was else None,
        previous_consenting=consenting(was) if was else None,
        previous_members=was.members if was else None,
    )
