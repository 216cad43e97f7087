"""Which runs are gone on with, and that going on twice is the same as once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pipeline_world import World, granted

from audience_sync.errors import AuthenticationError, BusyError, TemporaryPartnerError
from audience_sync.ledger.records.runs import Run, RunState
from audience_sync.runs.due import due_runs, is_due

Fault = Callable[[str, str], None]
PEOPLE = [granted(str(n), email=f"person{n}@example.com") for n in range(7)]


class Killed(BaseException):
    """The process ends here; nobody catches it."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    world.write(PEOPLE)
    yield world
    world.ledger.close()


def planned(world: World) -> Run:
    run = world.sync(deliver=False).run
    assert run is not None
    return run


def made_due(world: World) -> Run:
    return world.ledger.change_run(planned(world).id, next_attempt_at=world.now())


def due(world: World) -> list[str]:
    return [run.id for run in due_runs(world.ledger, world.now(), lambda _holder: True)]


def test_a_plan_that_was_only_shown_waits_for_its_person(world: World) -> None:
    """Nothing that `plan` wrote is sent by a worker before somebody approves it."""
    run = planned(world)

    assert due(world) == []
    assert world.pipeline().go_on(run.id) is None
    assert world.partner.calls == []


def test_a_run_is_delivered_once_however_often_it_is_told(world: World) -> None:
    """A doubled message does no harm (L7)."""
    run = made_due(world)
    assert due(world) == [run.id]

    first = world.pipeline().go_on(run.id)
    sent = len(world.partner.calls)
    second = world.pipeline().go_on(run.id)

    assert first is not None
    assert first.state is RunState.CONFIRMED
    assert second is None
    assert len(world.partner.calls) == sent
    assert len(world.partner.holds) == len(PEOPLE)


def test_a_run_that_is_being_delivered_is_left_alone(world: World) -> None:
    """The holder of the lease goes on; nobody is woken for it, and whoever comes is sent away."""
    run = made_due(world)
    lease = world.ledger.take_lease("vip/memory-1", "another", 60)

    assert due(world) == []
    with pytest.raises(BusyError):
        world.pipeline().go_on(run.id)
    world.ledger.release_lease(lease)
    assert due(world) == [run.id]


def test_a_run_whose_process_died_is_due_at_once(world: World) -> None:
    """Its batches that were answered are not sent again, the others are."""
    run = made_due(world)
    world.partner.fault = _dies_in_the_second_batch(world)
    with pytest.raises(Killed):
        world.pipeline().go_on(run.id)

    world.partner.fault = lambda _when, _operation: None
    assert due(world) == [run.id]
    again = world.pipeline().go_on(run.id)

    assert again is not None
    assert again.state is RunState.CONFIRMED
    assert len(world.partner.holds) == len(PEOPLE)


def test_a_partners_wait_is_kept(world: World) -> None:
    """A run that was told to wait is not due before, and then goes on by itself."""
    run = made_due(world)
    world.partner.fault = _raises(TemporaryPartnerError("busy", 503, retry_after=900))
    with pytest.raises(TemporaryPartnerError):
        world.pipeline().go_on(run.id)
    world.partner.fault = lambda _when, _operation: None

    assert due(world) == []
    assert world.pipeline().go_on(run.id) is None
    world.time += timedelta(seconds=900)
    assert due(world) == [run.id]
    again = world.pipeline().go_on(run.id)
    assert again is not None
    assert again.state is RunState.CONFIRMED


def test_refused_credentials_wait_for_the_operator(world: World) -> None:
    """Not tried again every few minutes; `resume` or the next sync goes on with it."""
    run = made_due(world)
    world.partner.fault = _raises(AuthenticationError("the token is not accepted", 401))
    with pytest.raises(AuthenticationError):
        world.pipeline().go_on(run.id)

    world.time += timedelta(days=1)

    assert due(world) == []


def test_a_partner_that_cannot_tell_is_asked_again_later(world: World) -> None:
    """After the wait that it named, and not by every sweep until then."""
    world.partner.pending = True
    run = made_due(world)
    world.pipeline().go_on(run.id)
    world.time = world.ledger.run(run.id).next_attempt_at or world.time
    failing = _raises(TemporaryPartnerError("busy", 503, retry_after=7200))
    world.partner.poll = lambda _reference: failing("", "")

    with pytest.raises(TemporaryPartnerError):
        world.pipeline().go_on(run.id)

    assert due(world) == []
    world.time += timedelta(seconds=7200)
    assert due(world) == [run.id]


@pytest.mark.parametrize("state", [RunState.HELD, RunState.FAILED, RunState.CONFIRMED])
def test_a_run_that_needs_a_person_or_has_ended_is_never_due(world: World, state: RunState) -> None:
    """Whatever time stands in it."""
    run = made_due(world)

    assert not is_due(
        Run(
            id=run.id,
            audience="vip",
            destination="memory-1",
            state=state,
            planned_at=run.planned_at,
            next_attempt_at=run.planned_at,
        ),
        world.now(),
    )


def _raises(error: Exception) -> Fault:
    def fault(_when: str, _operation: str) -> None:
        raise error

    return fault


def _dies_in_the_second_batch(world: World) -> Fault:
    def fault(when: str, _operation: str) -> None:
        if when == "before" and world.partner.calls:
            raise Killed

    return fault
