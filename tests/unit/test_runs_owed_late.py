"""A partner that takes the removals of runs and refuses them later: at last the project decides."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from fanned_world import FannedWorld
from pipeline_world import MemoryPartner, World, digest, fast_folder, granted

from audience_sync.connector import Members, Receipt, Upload
from audience_sync.ledger.records.runs import Run, RunState
from audience_sync.runs.escalation import OnRefusedRemoval
from audience_sync.runs.fanout import delivering

EMPTY, DELETE, ALERT = (
    OnRefusedRemoval.EMPTY_AND_REBUILD,
    OnRefusedRemoval.DELETE,
    OnRefusedRemoval.ALERT,
)
PEOPLE = [granted(f"c{n}", email=f"p{n}@example.com") for n in range(6)]
REFUSED: list[Any] = [PEOPLE[0] | {"consent": "withdrawn"}, *PEOPLE[1:]]


def cells(*numbers: int) -> set[str]:
    """What the partner knows some people by."""
    return {digest(f"p{n}@example.com") for n in numbers}


class LatePartner(MemoryPartner):
    """Takes every removal and later says that it kept those people; it deletes lists at once."""

    def __init__(self) -> None:
        super().__init__()
        self.keeps = True
        self.sizes: list[int] = []

    def remove(self, upload: Upload, members: Members) -> Receipt:
        before = set(self.holds)
        super().remove(upload, members)
        self.sizes.append(len(members))
        if not self.keeps:
            return Receipt(accepted=len(members))
        self.holds = before
        reference = f"removal-{len(self.calls)}"
        self.answers[reference] = Receipt(
            accepted=0, unattributed=len(members), reason="the list would be too small"
        )
        return Receipt(accepted=len(members), reference=reference, pending=True)


class DeletingPartner(LatePartner):
    """Deletes lists, too."""

    def delete_audience(self, remote_id: str) -> None:
        self.holds.clear()
        self.calls.append((f"delete {remote_id}", 0))


def late(
    policy: OnRefusedRemoval,
    partner: type[LatePartner] = DeletingPartner,
    kind: type[World] = World,
) -> Any:
    """Six people on a list, of whom one refuses."""
    here = kind(fast_folder(), partitions=2)
    here.partner, here.policy = partner(), policy
    here.write(PEOPLE)
    here.ran()
    here.write(REFUSED)
    return here


def again(here: Any) -> Run:
    """The next sync, and what the partner says of it at last."""
    here.time += timedelta(days=1)
    run: Run = here.ran()
    here.time += timedelta(hours=1)
    here.pipeline().poll_due()
    found: Run = here.ledger.run(run.id)
    return found


@pytest.mark.parametrize("policy", [EMPTY, DELETE])
def test_the_fourth_run_takes_the_list_away(policy: OnRefusedRemoval) -> None:
    """Three times the removal is tried; a list that may not be emptied either is deleted."""
    here = late(policy)
    for _ in range(3):
        assert "are sent again" in str(again(here).reason)
    assert here.partner.sizes == [1, 1, 1]
    runs = [again(here) for _ in range(5 if policy is EMPTY else 1)]
    assert {run.state for run in runs} == {RunState.FAILED}
    assert "the list would be too small" in str(runs[0].reason)
    assert "deleted" in str(runs[-1].reason)
    assert here.partner.holds == here.held() == set()
    here.partner.keeps = False
    assert again(here).state is RunState.CONFIRMED
    assert here.partner.holds == here.held() == cells(1, 2, 3, 4, 5)


def test_a_list_that_is_emptied_in_the_end_is_built_anew() -> None:
    """Once the partner takes everybody off, the next sync brings back who may be there."""
    here = late(EMPTY, LatePartner)
    for _ in range(3):
        again(here)
    here.partner.keeps = False
    assert "everybody was taken off" in str(again(here).reason)
    assert here.partner.sizes == [1, 1, 1, 3, 3]
    assert here.partner.holds == here.held() == set()
    again(here)
    assert here.partner.holds == here.held() == cells(1, 2, 3, 4, 5)


def test_after_an_emptying_that_comes_to_nothing_the_removal_is_tried_again() -> None:
    """Who may be there comes back meanwhile; every fourth sync the list is to be emptied."""
    here = late(EMPTY, LatePartner)
    for _ in range(8):
        again(here)
    assert here.partner.sizes == [1, 1, 1, 3, 3, 1, 1, 1, 3, 3]
    assert here.partner.holds == here.held() == cells(*range(6))


def test_a_removal_that_was_taken_in_between_begins_the_count_anew() -> None:
    """Three in a row decide, not three in a year."""
    here = late(DELETE)
    for _ in range(2):
        again(here)
    here.partner.keeps = False
    assert again(here).state is RunState.CONFIRMED
    here.partner.keeps = True
    here.write(REFUSED[2:])
    for _ in range(3):
        assert "are sent again" in str(again(here).reason)
    assert "deleted" in str(again(here).reason)


@pytest.mark.parametrize("who", ["nobody decides", "they may stay"])
def test_nothing_is_taken_away_for_whom_it_is_not_decided(who: str) -> None:
    """Where the project leaves it to a person, or the source still permits those who leave."""
    here = late(ALERT if who == "nobody decides" else DELETE)
    if who == "they may stay":
        here.write([PEOPLE[0] | {"market": "NO"}, *PEOPLE[1:]])
    for _ in range(5):
        assert "are sent again" in str(again(here).reason)
    assert here.partner.sizes == [1] * 5
    assert here.partner.holds == cells(*range(6))


def test_workers_that_share_a_delivery_leave_such_a_run_to_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What becomes of the list is decided by one of them."""
    monkeypatch.setattr(delivering, "BATCHES", 0)
    here = late(DELETE, kind=FannedWorld)
    stages = here.coordinator().kinds[delivering.KIND]
    for _ in range(3):
        run = here.ran(deliver=False)
        assert stages.worth_while(run, here.link(run.destination))
        here.pipeline().cancel(run)
        again(here)
    run = here.ran(deliver=False)
    assert not stages.worth_while(run, here.link(run.destination))
    assert here.pipeline().approve(run, "anna").state is RunState.FAILED
    assert here.partner.holds == here.held() == set()
