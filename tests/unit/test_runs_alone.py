"""What goes wrong with one list is that list's matter: the others are planned and delivered."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from pipeline_world import World, granted

from audience_sync.errors import AudienceSyncError, BusyError, StateError
from audience_sync.ledger.records.runs import RunState
from audience_sync.runs import plan, reading
from audience_sync.runs.leases import Held
from audience_sync.runs.listplan import ListPlan


def people(*numbers: int) -> list[dict[str, str | None]]:
    return [granted(str(n), email=f"p{n}@example.com") for n in numbers]


def two_lists(folder: Path) -> tuple[World, list[Any]]:
    here = World(folder)
    return here, [here.target, dataclasses.replace(here.target, audience="other")]


def test_a_damaged_membership_stops_its_own_list_only(tmp_path: Path) -> None:
    """The other list is delivered; the damaged one says what to do, and nothing of it remains."""
    here, targets = two_lists(tmp_path)
    here.write(people(0, 1, 2))
    here.sync_all(targets)
    for path in here.files():
        if "/vip/" in str(path):
            path.write_bytes(b"damaged")
    before = here.files()
    here.write(people(0, 1, 2, 3))
    vip, other = here.sync_all(targets)
    assert isinstance(vip.error, StateError)
    assert vip.run is None
    assert other.run is not None
    assert other.run.state is RunState.CONFIRMED
    assert other.run.delta["additions"] == 1
    kept = [path for path in before if "/vip/" in str(path)]
    assert [path for path in here.files() if "/vip/" in str(path)] == kept
    assert [path for path in here.files() if "outbox" in path.parts] == []


@pytest.mark.parametrize("step", ["take", "finish"])
def test_an_error_at_any_step_stops_its_own_list_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Whatever the step, the error is the list's own answer."""
    here, targets = two_lists(tmp_path)
    here.write(people(0, 1, 2))
    usual = getattr(ListPlan, step)

    def failing(self: ListPlan, *given: Any, **named: Any) -> Any:
        if self.target.audience == "vip":
            raise StateError("the disk does not like it")
        return usual(self, *given, **named)

    monkeypatch.setattr(ListPlan, step, failing)
    vip, other = here.sync_all(targets)
    assert str(vip.error) == "the disk does not like it"
    assert other.run is not None
    assert other.run.state is RunState.CONFIRMED


def test_l7_a_lost_lease_stops_its_own_list_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another holder took one of two leases while customers were read."""
    here, targets = two_lists(tmp_path)
    here.write(people(0, 1, 2))
    usual = reading.survey_customers

    def losing(*given: Any) -> Any:
        held = next(one for one in given if isinstance(one, Held))
        held._lost["vip/memory-1"] = BusyError("another run works on vip at memory-1")
        return usual(*given)

    monkeypatch.setattr(plan, "survey_customers", losing)
    vip, other = here.sync_all(targets)
    assert isinstance(vip.error, BusyError)
    assert other.run is not None
    assert other.run.state is RunState.CONFIRMED


def test_work_that_was_stopped_stops_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends the plan of every list, and nothing of it remains."""
    here, targets = two_lists(tmp_path)
    here.write(people(0, 1, 2))
    usual = reading.survey_customers

    def stopping(*given: Any) -> Any:
        survey = usual(*given)
        next(one for one in given if isinstance(one, Held)).stop()
        return survey

    monkeypatch.setattr(plan, "survey_customers", stopping)
    with pytest.raises(AudienceSyncError, match="stopped"):
        here.sync_all(targets)
    assert here.files() == []
