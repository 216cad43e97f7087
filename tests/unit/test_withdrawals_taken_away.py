"""Which whole lists a withdrawal cost, where a partner refuses to take few off."""

from __future__ import annotations

from pathlib import Path

import pytest
from pipeline_world import granted
from withdrawn_world import WithdrawnWorld, takes_nobody_alone

from audience_sync.cli.taken_away import tell_taken_away
from audience_sync.runs.escalation import OnRefusedRemoval
from audience_sync.runs.taken_away import TakenAway, taken_away


@pytest.fixture
def world(tmp_path: Path) -> WithdrawnWorld:
    """Eight people on a list of which the partner takes nobody alone."""
    world = WithdrawnWorld(tmp_path)
    world.write([granted(f"c{n}", email=f"p{n}@example.com") for n in range(8)])
    world.ran()
    takes_nobody_alone(world)
    world.partner.limits = world.partner.limits.__class__(members_per_request=5)
    world.policy = OnRefusedRemoval.EMPTY_AND_REBUILD
    return world


@pytest.mark.parametrize("later", [False, True])
def test_an_emptied_list_is_told_once_however_many_batches_it_took(
    world: WithdrawnWorld, *, later: bool
) -> None:
    """By its name and its size; of a partner that answers later only that it was asked."""
    world.partner.pending = later
    before = world.ledger.newest_line()
    assert taken_away(world.ledger, before) == []
    world.withdraw(email="p1@example.com")
    world.lane_works()

    name = {"audience": "vip", "destination": "memory-1"}
    told = TakenAway(**name, members=8, deleted=False, asked=later)
    assert taken_away(world.ledger, before) == [told]
    assert taken_away(world.ledger, world.ledger.newest_line()) == []


def test_a_removal_that_is_not_refused_costs_no_list(world: WithdrawnWorld) -> None:
    """Nor does one that a person is to decide."""
    world.policy = OnRefusedRemoval.ALERT
    world.withdraw(email="p1@example.com")
    world.lane_works()

    assert taken_away(world.ledger, 0) == []


def test_the_sentence_says_what_was_done_and_what_comes_next(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In whole words, a line of its own for each list."""
    place = {"audience": "vip", "destination": "here", "members": "fewer than 10"}
    tell_taken_away([{**place, "deleted": False, "asked": asked} for asked in (False, True)])

    done, asked = capsys.readouterr().out.splitlines()
    assert "vip at here: the partner takes nobody off alone" in done
    assert "everybody was taken off the list (fewer than 10 members)" in done
    assert "it was asked to take everybody off the list (fewer than 10 members)" in asked
    assert done.endswith("the next sync builds it anew.")
