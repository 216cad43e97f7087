"""Sums that do not hold stop a plan, and what leaves by age is counted for what it is (L3, L12)."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from pipeline_world import NO_GUARDS, World, fast_folder, granted

from audience_sync.errors import StateError
from audience_sync.ledger.records.runs import RunState
from audience_sync.membership.delta import Delta, diff
from audience_sync.runs import compare


def people(*numbers: int) -> list[dict[str, str | None]]:
    return [granted(str(n), email=f"p{n}@example.com") for n in numbers]


def test_l3_a_delta_that_loses_a_member_stops_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """A member that is neither unchanged nor added nor left out for a reason is never ignored."""

    def losing(*lines: Any, **options: Any) -> Delta:
        delta = diff(*lines, **options)
        return dataclasses.replace(delta, additions=max(0, delta.additions - 1))

    here = World(fast_folder())
    here.write(people(*range(9)))
    monkeypatch.setattr(compare, "diff", losing)
    outcome = here.sync()
    assert isinstance(outcome.error, StateError)
    assert "vip/memory-1 does not add up" in str(outcome.error)
    assert here.partner.calls == []


def test_l3_who_left_by_age_and_who_was_rejected_are_dropped_by_name() -> None:
    """Each is counted on its own: the funnel says how many were left out."""
    here = World(fast_folder())
    here.write(people(*range(9)))
    here.ran()
    run = here.ran(keep=True)
    assert run.delta["wanted"] == 9
    here.aim(expired_before=here.time + timedelta(days=1))
    run = here.ran()
    assert run.state is RunState.CONFIRMED
    assert (run.funnel["members"], run.funnel["suppressed"]) == (0, 9)
    assert (run.delta["removals"], run.delta["wanted"]) == (9, 0)
    assert here.held() == here.partner.holds == set()


def test_l12_members_that_leave_by_age_are_no_accident() -> None:
    """A list whose members' time is over at once is emptied without asking anybody."""
    here = World(fast_folder())
    guards = dataclasses.replace(NO_GUARDS, maximum_removals=0.3, minimum_members=5)
    here.aim(guards=guards)
    here.write(people(*range(9)))
    here.ran()
    here.aim(expired_before=here.time + timedelta(days=1))
    run = here.ran()
    assert run.state is RunState.CONFIRMED, run.reason
    assert here.partner.holds == set()
