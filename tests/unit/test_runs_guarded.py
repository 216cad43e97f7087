"""Held, approved, forced, cancelled, replaced: who decides, and what is then sent (L12)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
from pipeline_world import NO_GUARDS, World, digest, fast_folder, granted

from audience_sync.connector import Kind
from audience_sync.errors import AudienceSyncError, ConfigurationError, GuardError, StateError
from audience_sync.ledger.records.log import Event
from audience_sync.ledger.records.runs import Batch, Run, RunState
from audience_sync.ledger.records.work import Lease


def email(number: int) -> str:
    return f"p{number}@example.com"


def people(*numbers: int) -> list[dict[str, str | None]]:
    return [granted(str(n), email=email(n)) for n in numbers]


def hashes(*numbers: int) -> set[str]:
    return {digest(email(n)) for n in numbers}


def held_world() -> World:
    """Ten members are held; a plan that removes five of them is held by a guard."""
    here = World(fast_folder())
    here.write(people(*range(10)))
    here.ran()
    here.aim(guards=dataclasses.replace(NO_GUARDS, maximum_removals=0.3))
    here.write(people(*range(5)))
    return here


def test_l12_a_held_run_sends_nothing_until_approved() -> None:
    """The reason is told; resuming is refused; approving sends the very outbox that was shown."""
    here = held_world()
    calls = len(here.partner.calls)
    run = here.ran()
    assert run.state is RunState.HELD
    assert run.reason == "5 of 10 members (50.0%) would be removed (maximum_removals is 30%)"
    assert len(here.partner.calls) == calls
    with pytest.raises(GuardError, match=f"approve {run.id}"):
        here.pipeline().resume(run)
    here.write(people(20, 21, 22))  # the source moves on; what was shown is what is sent
    done = here.pipeline().approve(run, "ann")
    assert done.state is RunState.CONFIRMED
    assert done.approved_by == "ann"
    assert not done.forced
    assert here.partner.holds == hashes(*range(5)) == here.held()
    mine = [line for line in here.log() if line.run == run.id]
    assert mine[0].event is Event.APPROVED
    assert mine[0].actor == "ann"
    assert mine[0].note == run.reason
    assert mine[1].event is Event.INTENT


def test_l12_force_is_logged_before_anything_is_sent() -> None:
    """Who sends what a guard would hold stands in the log, before the first intent."""
    here = held_world()
    run = here.ran(forced_by="bob")
    assert run.state is RunState.CONFIRMED
    assert run.forced
    mine = [line for line in here.log() if line.run == run.id]
    assert [line.event for line in mine[:2]] == [Event.FORCED, Event.INTENT]
    assert (mine[0].actor, mine[0].note) == ("bob", run.reason) or mine[0].actor == "bob"
    assert here.partner.holds == hashes(*range(5))


def test_force_on_a_quiet_run_is_no_decision() -> None:
    """Where no guard finds anything nobody overruled one."""
    here = World(fast_folder())
    here.write(people(1))
    assert not here.ran(forced_by="bob").forced
    assert not [line for line in here.log() if line.event is Event.FORCED]


def test_a_membership_that_moved_on_refuses_older_plans() -> None:
    """A plan made against an older membership is not delivered over a newer one."""
    here = held_world()
    older = here.ran(deliver=False)
    remote = here.ledger.remote_list("vip", "memory-1")
    here.ledger.save_remote_list(
        dataclasses.replace(remote, generation=remote.generation + 1),
        expect_generation=remote.generation,
    )
    calls = len(here.partner.calls)
    with pytest.raises(ConfigurationError, match="cancel it and plan again"):
        here.pipeline().approve(older, "ann")
    assert len(here.partner.calls) == calls
    assert not [line for line in here.log() if line.run == older.id]


def test_a_newer_plan_takes_the_place_of_an_older_one() -> None:
    """The older run is cancelled, and nothing of it rests on the disk."""
    here = held_world()
    older = here.ran()
    newer = here.ran()
    assert here.ledger.run(older.id).state is RunState.CANCELLED
    assert here.ledger.run(older.id).reason == "a newer plan took its place"
    assert here.location.names("outbox") == [newer.id]
    assert older.id not in here.location.names("lists/memory-1/vip")
    with pytest.raises(ConfigurationError):
        here.pipeline().approve(here.ledger.run(older.id), "ann")


def test_a_cancelled_run_sends_nothing_and_leaves_nothing() -> None:
    """The outbox is gone; neither approval nor resumption brings it back, not even a stale one."""
    here = held_world()
    run = here.ran()
    calls = len(here.partner.calls)
    done = here.pipeline().cancel(run)
    assert done.state is RunState.CANCELLED
    assert here.location.names("outbox") == []
    for act in (
        lambda: here.pipeline().approve(run, "ann"),
        lambda: here.pipeline().cancel(run),
        lambda: here.pipeline().resume(dataclasses.replace(run, state=RunState.PLANNED)),
    ):
        with pytest.raises(AudienceSyncError):
            act()
    assert len(here.partner.calls) == calls
    assert not [line for line in here.log() if line.event is Event.APPROVED]
    assert here.held() == hashes(*range(10))


@pytest.mark.parametrize("kind", ["email", "phone", "idfa"])
def test_l11_refusals_are_not_held_for_being_many(kind: str) -> None:
    """Half of the members withdraw, whatever identifier they are known by: they leave at once."""
    values = {
        "email": [email(n) for n in range(10)],
        "phone": [f"+4670123450{n}" for n in range(10)],
        "idfa": [f"{n}8400000-8cf0-11bd-b23e-10b96e40000d" for n in range(10)],
    }[kind]
    here = World(fast_folder())
    here.aim(
        guards=dataclasses.replace(NO_GUARDS, maximum_removals=0.3),
        forms=here.target.forms | {Kind.IDFA: "device/lower"},
    )
    rows = [granted(str(n), **{kind: value}) for n, value in enumerate(values)]
    here.write(rows)
    here.ran()
    assert len(here.partner.holds) == 10
    refused = [row | {"consent": "withdrawn"} for row in rows[:5]]
    here.write(refused + rows[5:])
    run = here.ran()
    assert run.state is RunState.CONFIRMED
    assert (run.delta["removals"], run.delta["refused"]) == (5, 5)
    assert len(here.partner.holds) == 5


def test_l11_a_refusal_by_a_shared_phone_counts_as_one() -> None:
    """Members that leave because somebody refused on their phone are not an accident either."""
    here = World(fast_folder())
    here.aim(guards=dataclasses.replace(NO_GUARDS, maximum_removals=0.3))
    phone = "+46701234567"
    rows = [granted(str(n), email=email(n), phone=phone if n < 5 else None) for n in range(10)]
    here.write(rows)
    here.ran()
    here.write([*rows, granted("x", phone=phone, consent="objected", consent_at=None)])
    run = here.ran()
    assert run.state is RunState.CONFIRMED
    assert here.partner.holds == hashes(*range(5, 10))


def test_a_plan_that_fails_leaves_the_others_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two lists are planned together, the second one fails: the first can still be approved."""
    here = World(fast_folder())
    here.write(people(1, 2))
    second = dataclasses.replace(here.target, audience="other")
    real = here.ledger.create_run

    def create(run: Run, batches: Sequence[Batch], *leases: Lease) -> None:
        if run.audience == "other":
            raise StateError("the disk is full")
        real(run, batches, *leases)

    monkeypatch.setattr(here.ledger, "create_run", create)
    _, failed = here.sync_all([here.target, second], deliver=False)
    assert isinstance(failed.error, StateError)
    (run,) = here.ledger.runs()
    assert here.location.names("outbox") == [run.id]
    here.pipeline().approve(run, "ann")
    assert here.partner.holds == hashes(1, 2)


def test_planning_can_leave_nothing() -> None:
    """A dry run tells the run and keeps neither it nor a file."""
    here = World(fast_folder())
    here.write(people(1, 2))
    run = here.ran(deliver=False, keep=False)
    assert run.delta["additions"] == 2
    assert here.ledger.runs() == []
    assert here.files() == []
    assert here.partner.lists == []
