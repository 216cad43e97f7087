"""Whoever is killed, whenever: the next one ends in the same membership (L5, L6, L7)."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pipeline_world import World, digest, fast_folder, granted

from audience_sync.errors import BusyError
from audience_sync.ledger.records.log import Event
from audience_sync.ledger.records.runs import BatchState, RunState

EMAILS = [f"p{i}@example.com" for i in range(9)]


class Killed(BaseException):
    """A process that dies runs nothing more."""


def people(numbers: range) -> list[dict[str, str | None]]:
    return [granted(str(i), email=EMAILS[i], phone=f"+4670123456{i % 3}") for i in numbers]


def wanted(numbers: range) -> set[str]:
    return {digest(EMAILS[i]) for i in numbers} | {digest(f"4670123456{i % 3}") for i in numbers}


def delivered(numbers: range) -> World:
    """A world whose partner holds these people."""
    here = World(fast_folder())
    here.write(people(numbers))
    here.ran()
    here.ledger.close()
    return here


def again(before: World) -> World:
    """The same world once more, to be ruined."""
    folder = fast_folder()
    shutil.copytree(before.folder, folder, dirs_exist_ok=True)
    here = World(folder)
    here.time = before.time
    here.partner.holds = set(before.partner.holds)
    return here


class Death:
    """Kills at the n-th of the calls that matter, and lets nothing happen afterwards.

    Before a call is also after the one before it, since nothing else changes anything; `after`
    kills between what a partner did, which only itself knows then, and everything else.
    """

    def __init__(self, here: World, when: int, *, after: bool) -> None:
        self.left = when
        self.after = after
        self.dead = False
        self._here = here

    def wrap(self, real: Callable[..., Any], *, partner: bool) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if self.dead:
                raise Killed
            if self.after and not partner:
                return real(*arguments, **options)
            self.left -= 1
            if self.left == 0 and not self.after:
                self.dead = True
                raise Killed
            answer = real(*arguments, **options)
            if self.left == 0:
                self.dead = True
                raise Killed
            return answer

        return call


LEDGER = ("record", "save_remote_list", "move_run", "create_run", "change_run", "remember")
CONNECTOR = ("add", "remove", "ensure_audience")


@contextmanager
def mortal(here: World, death: Death) -> Iterator[None]:
    """Every change that the pipeline makes may be its last."""
    with pytest.MonkeyPatch.context() as patched:
        for owner, names in (
            (here.ledger, (*LEDGER, "release_lease", "renew_lease")),
            (here.location, ("create", "delete")),
            (here.partner, CONNECTOR),
        ):
            for name in names:
                wrapped = death.wrap(getattr(owner, name), partner=owner is here.partner)
                patched.setattr(owner, name, wrapped)
        yield


def die(here: World, when: int, *, after: bool) -> bool:
    """Sync until killed; whether it came to that."""
    death = Death(here, when, after=after)
    with mortal(here, death):
        try:
            here.sync()
        except Killed:
            return True
    return death.dead


def overtake(here: World) -> None:
    """The dead one's leases are seen to be a dead one's."""
    dead = here.holder
    here.holder = f"{dead}+"
    here.alive = lambda holder: holder == here.holder


@pytest.mark.parametrize("after", [False, True])
def test_l6_a_kill_at_any_moment_costs_at_most_the_batches_under_way(after: bool) -> None:
    """Before every change in turn, and after each at the partner: the next run converges.

    The log is sound, and at most the uploads under way are repeated; nothing stays in outbox or
    scratch.
    """
    before = delivered(range(6))
    when = 0
    while True:
        when += 1
        here = again(before)
        first = len(here.partner.uploads)
        here.write(people(range(2, 9)))
        if not die(here, when, after=after):
            break
        overtake(here)
        here.ran()
        assert here.partner.holds == wanted(range(2, 9)) == here.held(), when
        assert here.ledger.verify_log().sound
        assert not here.ledger.runs(states=[RunState.DELIVERING, RunState.PLANNED])
        rows = Counter(str((op, rows)) for op, _, rows in here.partner.uploads[first:])
        assert sum(rows.values()) - len(rows) <= here.partner.limits.parallel_uploads
        here.sweep()
        folders = {path.relative_to(here.folder / "state").parts[0] for path in here.files()}
        assert folders == {"lists"}, when
        remote = here.ledger.remote_list("vip", "memory-1")
        assert len(here.files()) == len(remote.manifest["files"]), when
        calls = len(here.partner.calls)
        here.ran()
        assert len(here.partner.calls) == calls
    assert when > (2 if after else 25)


def test_l15_a_kill_while_the_list_is_made_makes_no_twin() -> None:
    """At the first delivery, too; the intention stands before the partner is asked."""
    before = World(fast_folder())
    before.write(people(range(4)))
    for after in (False, True):
        for when in range(1, 40):
            here = again(before)
            intended = []

            def ensure(request: Any, here: World = here, seen: list[Any] = intended) -> str:
                seen.append(here.ledger.remote_list("vip", "memory-1"))
                here.partner.lists.append(request)
                return "1"

            here.partner.ensure_audience = ensure  # type: ignore[method-assign]
            if not die(here, when, after=after):
                break
            overtake(here)
            here.ran()
            assert here.partner.holds == wanted(range(4)) == here.held()
            assert all(one.creation_intended_at and one.marker for one in intended)
            marker = here.link("memory-1").marker("vip")
            assert {request.marker for request in here.partner.lists} == {marker}
            assert len(here.partner.lists) <= 2


def test_l5_an_intent_without_an_answer_is_logged_as_unknown() -> None:
    """A crash between request and answer leaves a line that says so."""
    here = World(fast_folder())
    here.write(people(range(3)))

    def killed(when: str, _operation: str) -> None:
        if when == "after":
            raise Killed

    here.partner.fault = killed
    with pytest.raises(Killed):
        here.sync()
    run = here.ledger.runs()[0]
    assert run.state is RunState.DELIVERING
    here.partner.fault = lambda _when, _operation: None
    here.ran()
    events = [line.event for line in here.log()]
    assert Event.UNKNOWN in events
    assert events.count(Event.INTENT) == events.count(Event.OUTCOME) + events.count(Event.UNKNOWN)
    assert all(b.state is BatchState.ACCEPTED for b in here.ledger.batches(run.id))


def test_l7_a_living_holder_is_not_overtaken_a_dead_one_is() -> None:
    """The lease of somebody at work is respected; one who died is replaced at once."""
    here = World(fast_folder())
    here.write(people(range(3)))
    other = here.ledger.take_lease("vip/memory-1", "other", 3600)
    busy = here.sync()
    assert isinstance(busy.error, BusyError)
    assert busy.run is None
    assert not here.partner.calls
    here.alive = lambda holder: holder != "other"
    here.ran()
    assert here.partner.holds == wanted(range(3))
    with pytest.raises(BusyError):
        here.ledger.renew_lease(other, 60)


def test_a_sweep_takes_the_leftovers_of_the_dead_only() -> None:
    """Scratch of a living planner stays, and so do all outboxes while it plans."""
    here = World(fast_folder())
    here.write(people(range(3)))
    here.ran()
    for path in ("scratch/dead/a", "scratch/living/a", "outbox/nobody/add.sealed"):
        with here.location.create(path) as file:
            file.write(b"x")
    mine = here.location.names("lists/memory-1/vip")[0]
    left = ("nobody/0.sealed", f"{mine}/99.sealed", f"{mine}/taken-back-1/0.sealed")
    for name in left:
        with here.location.create(f"lists/memory-1/vip/{name}") as file:
            file.write(b"x")
    here.ledger.take_lease("scratch/living", "living", 3600)
    here.ledger.take_lease("scratch/dead", "dead", 3600)
    here.alive = lambda holder: holder == "living"
    here.sweep()
    assert here.location.names("scratch") == ["living"]
    assert here.location.names("outbox") == ["nobody"]
    here.alive = lambda _holder: False
    here.sweep()
    assert here.location.names("scratch") == here.location.names("outbox") == []
    assert here.held() == wanted(range(3))
    assert here.location.names("lists/memory-1/vip") == [mine]
    remote = here.ledger.remote_list("vip", "memory-1")
    assert len(here.files()) == len(remote.manifest["files"])
    here.ran()
