"""A run whose partner keeps people who must leave: the project file decides, and nobody is lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any

import pytest
from fanned_world import FannedWorld
from pipeline_world import NO_GUARDS, START, MemoryPartner, World, digest, fast_folder, granted
from withdrawn_world import WithdrawnWorld

from audience_sync.connector import Limits, Members, Receipt, RefusedError, Upload
from audience_sync.delivery.exchange import Exchange
from audience_sync.errors import GuardError, TemporaryPartnerError
from audience_sync.ledger.records.log import Event
from audience_sync.ledger.records.runs import Run, RunState
from audience_sync.membership.held import Manifest, Membership
from audience_sync.membership.lines import DOUBTFUL
from audience_sync.runs.escalation import OnRefusedRemoval
from audience_sync.runs.fanout import delivering

EMPTY, DELETE, ALERT = (
    OnRefusedRemoval.EMPTY_AND_REBUILD,
    OnRefusedRemoval.DELETE,
    OnRefusedRemoval.ALERT,
)
PEOPLE = [granted(f"c{n}", email=f"p{n}@example.com") for n in range(6)]
NEWCOMER = granted("c9", email="p9@example.com")
REFUSED = [PEOPLE[0] | {"consent": "withdrawn"}, *PEOPLE[1:], NEWCOMER]
TOO_SMALL = RefusedError("the list would be too small", 200, "40002")


def cells(*numbers: int) -> set[str]:
    """What the partner knows some people by."""
    return {digest(f"p{n}@example.com") for n in numbers}


class StrictPartner(MemoryPartner):
    """Keeps a list that is too small as it is, unless it is emptied at once; deletes lists."""

    limits = Limits(members_per_request=100)

    def __init__(self) -> None:
        super().__init__()
        self.least = 0
        self.deleted: list[str] = []

    def remove(self, upload: Upload, members: Members) -> Receipt:
        left = self.holds - {c for row in members.rows(members.kinds) for c in row if c}
        if 0 < len(left) < self.least and left != self.holds:
            raise TOO_SMALL
        return super().remove(upload, members)

    def delete_audience(self, remote_id: str) -> None:
        self.fault("before", "delete")
        self.holds.clear()
        self.deleted.append(remote_id)
        self.fault("after", "delete")


@cache
def _six() -> World:
    """Six people who were delivered; to copy."""
    here = World(fast_folder(), partitions=2)
    here.partner = StrictPartner()
    here.write(PEOPLE)
    here.ran()
    here.ledger.close()
    return here


def strict(policy: OnRefusedRemoval, kind: type[World] = World, *, least: int = 9) -> World:
    """Six people on a list that is too small for anybody to leave."""
    return _again(_six(), policy, kind, least)


def _again(
    before: World, policy: OnRefusedRemoval, kind: type[World] = World, least: int = 9
) -> World:
    """The same world once more."""
    folder = fast_folder()
    shutil.copytree(before.folder, folder, dirs_exist_ok=True)
    here = kind(folder, partitions=2)
    here.partner, here.policy, here.time = StrictPartner(), policy, before.time
    here.partner.holds, here.partner.least = set(before.partner.holds), least
    here.partner.lists = list(before.partner.lists)
    return here


def surely_held(here: World) -> set[str]:
    """The identifiers that we take for held without doubt."""
    remote = here.ledger.remote_list("vip", "memory-1")
    lines = Membership(here.location, here.keyring, Manifest.of(remote.manifest)).read(0, 1)
    sure = lines.take(lines.alive & (lines.state != DOUBTFUL))
    return {v.tobytes().hex() for c in sure.columns.values() for v in c if v.any()}


def is_true(here: World) -> bool:
    """Nobody is forgotten who may be on the list, nor taken for held who is not on it."""
    holds: set[str] = here.partner.holds
    return surely_held(here) <= holds <= here.held()


@pytest.mark.parametrize("policy", [EMPTY, DELETE])
def test_a_run_takes_the_list_away_that_keeps_who_refused(policy: OnRefusedRemoval) -> None:
    """As the project decides; the books and the log say it, and the next sync builds it anew."""
    here = strict(policy)
    remote = replace(here.ledger.remote_list("vip", "memory-1"), statistics={"size_upper": 2000})
    here.ledger.save_remote_list(remote, expect_generation=remote.generation)
    here.write(REFUSED)
    run = here.ran()
    assert run.state is RunState.FAILED
    assert here.partner.holds == here.held() == set()
    assert run.reason is not None
    assert "the list would be too small (HTTP 200, code 40002); so" in run.reason
    assert "on_refused_removal" in run.reason
    assert "the next sync" in run.reason
    assert ("deleted" in run.reason) is (policy is DELETE)
    assert bool(here.ledger.remote_list("vip", "memory-1").statistics) is (policy is EMPTY)
    line = here.log()[-1]
    operation = "remove everybody by deleting the list" if policy is DELETE else "remove everybody"
    told = (line.run, line.event, line.operation, line.sent, line.accepted)
    assert told == (run.id, Event.OUTCOME, operation, 6, 6)
    assert not here.ledger.unanswered(run.id)
    assert here.location.names("outbox") == []

    again = here.ran()
    assert again.state is RunState.CONFIRMED
    assert here.partner.holds == here.held() == cells(1, 2, 3, 4, 5, 9)
    assert len(here.partner.lists) == (2 if policy is DELETE else 1)
    assert here.ledger.verify_log().sound
    assert here.ran().outbox is None


def test_a_person_decides_where_the_project_does_not() -> None:
    """Nobody is silently kept: each sync says what to do, and the books are as they were."""
    here = strict(ALERT)
    here.write(REFUSED)
    for _ in range(2):
        run = here.ran()
        assert run.state is RunState.FAILED
        assert "people who may not stay" in str(run.reason)
        assert "or set on_refused_removal" in str(run.reason)
        assert here.partner.holds == here.held() == surely_held(here) == cells(*range(6))
    here.policy = DELETE
    here.ran()
    assert here.partner.holds == here.held() == set()


def test_a_list_that_the_project_adopted_is_nobodys_to_take_away() -> None:
    """It is not ours: a person decides, whatever the project says."""
    here = strict(DELETE)
    remote = here.ledger.remote_list("vip", "memory-1")
    lease = here.ledger.take_lease("vip/memory-1", "test", 60)
    adopted = replace(remote, adopted=True)
    here.ledger.save_remote_list(adopted, expect_generation=remote.generation, lease=lease)
    here.ledger.release_lease(lease)
    here.write(REFUSED)
    pipeline = replace(here.pipeline(), adopted=lambda _audience, _destination: "1")
    here.pipeline = lambda: pipeline  # type: ignore[method-assign]
    assert "delete the list there" in str(here.ran().reason)
    assert here.partner.deleted == []
    assert here.held() == here.partner.holds == cells(*range(6))


@pytest.mark.parametrize(
    ("change", "leaves", "owed"),
    [
        ({"consent": "denied"}, 1, 1),
        ({"consent": None}, 1, 1),
        ({"account_status": "closed"}, 1, 1),
        ({"email": "other@example.com"}, 1, 1),
        (None, 1, 1),
        ({"market": "NO"}, 1, 0),
    ],
)
def test_whom_the_source_still_permits_no_list_is_taken_away_for(
    change: dict[str, str | None] | None, leaves: int, owed: int
) -> None:
    """Who merely left the audience stays until the partner agrees; everybody else is owed it."""
    here = strict(DELETE)
    first = [] if change is None else [PEOPLE[0] | change]
    here.write([*first, *PEOPLE[1:]])
    run = here.ran()
    assert (run.delta["removals"], run.delta["must_leave"]) == (leaves, owed)
    assert run.state is RunState.FAILED
    assert len(here.partner.deleted) == owed
    assert here.held() == here.partner.holds == (set() if owed else cells(*range(6)))
    if not owed:
        assert run.reason == str(TOO_SMALL)


@pytest.mark.parametrize("policy", [EMPTY, DELETE])
def test_who_was_on_the_list_for_too_long_does_not_come_back(policy: OnRefusedRemoval) -> None:
    """They leave with everybody else, and the list that is built anew is without them."""
    here = strict(policy)
    here.partner.least = 0
    here.time += timedelta(days=30)
    here.write([*PEOPLE, NEWCOMER])
    here.ran()
    here.partner.least = 9
    here.aim(expired_before=START + timedelta(days=10))
    run = here.ran()
    assert (run.delta["removals"], run.delta["must_leave"]) == (6, 6)
    assert run.state is RunState.FAILED
    assert here.partner.holds == here.held() == set()
    assert here.ran().state is RunState.CONFIRMED
    assert here.partner.holds == here.held() == cells(9)


@pytest.mark.parametrize("policy", [EMPTY, DELETE])
def test_nor_does_it_when_a_withdrawal_takes_the_list_away(policy: OnRefusedRemoval) -> None:
    """Whoever left by age before is still noted in the books; who withdrew is noted nowhere."""
    here = strict(policy, WithdrawnWorld)
    assert isinstance(here, WithdrawnWorld)
    here.partner.least = 0
    here.time += timedelta(days=30)
    here.write([*PEOPLE, NEWCOMER, PEOPLE[0] | {"email": "p8@example.com"}])
    here.ran()
    here.aim(expired_before=START + timedelta(days=10))
    here.ran()
    assert here.partner.holds == cells(8, 9)
    here.partner.least = 9
    here.withdraw(email="p8@example.com")
    here.lane_works()
    assert here.partner.holds == here.held() == set()
    run = here.ran()
    assert run.delta["must_leave"] == 0
    assert here.partner.holds == here.held() == cells(9)


def test_too_long_on_the_list_and_out_of_the_audience_is_too_long() -> None:
    """Nobody stays for an audience's conditions whose time is over."""
    here = strict(DELETE)
    here.time += timedelta(days=30)
    here.aim(expired_before=START + timedelta(days=10))
    here.write([one | {"market": "NO"} for one in PEOPLE[:2]])
    assert here.ran(deliver=False).delta["must_leave"] == 6


class Killed(BaseException):
    """A process that dies runs nothing more."""


def _mortal(here: World, when: int, patched: pytest.MonkeyPatch) -> list[int]:
    """Kill right after the n-th change; what is left to count down."""
    left = [when]

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            answer = real(*arguments, **options)
            if left[0] == 0:
                raise Killed
            return answer

        return call

    for owner, names in (
        (here.ledger, ("record", "save_remote_list", "move_run", "change_run", "release_lease")),
        (here.location, ("create", "delete")),
        (here.partner, ("add", "remove", "delete_audience")),
    ):
        for name in names:
            patched.setattr(owner, name, wrap(getattr(owner, name)))
    return left


@pytest.mark.parametrize(
    ("policy", "end"), [(EMPTY, "resume"), (DELETE, "resume"), (EMPTY, "cancel")]
)
def test_a_kill_at_any_moment_leaves_the_truth(policy: OnRefusedRemoval, end: str) -> None:
    """Between escalation and settlement, too: gone on with, or given up, nobody is lost."""
    before = strict(policy)
    before.write(REFUSED)
    run = before.ran(deliver=False)
    before.ledger.close()
    moments = 0
    for when in range(5, 100):  # the run is approved before
        here = _again(before, policy)
        with pytest.MonkeyPatch.context() as patched:
            left = _mortal(here, when, patched)
            try:
                here.pipeline().approve(here.ledger.run(run.id), "ann")
            except Killed:
                moments += 1
        here.holder, here.alive = "next", lambda holder: holder == "next"
        if here.ledger.run(run.id).state in (RunState.PLANNED, RunState.DELIVERING):
            pipeline, found = here.pipeline(), here.ledger.run(run.id)
            ended = pipeline.cancel(found) if end == "cancel" else pipeline.resume(found)
            assert ended.state in (RunState.CANCELLED, RunState.FAILED)
            if end == "resume":
                assert "as on_refused_removal says" in str(ended.reason)
        assert is_true(here), when
        if end == "resume":
            assert here.partner.holds == here.held() == set(), when
        assert here.ledger.verify_log().sound
        here.sweep()
        manifest = here.ledger.remote_list("vip", "memory-1").manifest
        assert len(here.files()) == len(manifest["files"]), when
        if not when % 5:
            here.ran()
            here.ran()  # the first one perhaps met the list that is too small again
            assert here.partner.holds == here.held() == surely_held(here), when
            assert here.partner.holds == cells(1, 2, 3, 4, 5, 9), when
        here.ledger.close()
        if left[0] > 0:
            break
    assert moments > 8


def test_a_partner_that_is_away_meanwhile_is_asked_again() -> None:
    """The run stays open and says when; gone on with, it ends as it would have."""
    here = strict(DELETE)
    here.write(REFUSED)

    def busy(_when: str, operation: str) -> None:
        if operation == "delete":
            raise TemporaryPartnerError("not now", 503, retry_after=60.0)

    here.partner.fault = busy
    outcome = here.sync()
    assert isinstance(outcome.error, TemporaryPartnerError)
    assert outcome.run is not None
    assert outcome.run.state is RunState.DELIVERING
    assert outcome.run.next_attempt_at is not None
    assert is_true(here)
    here.partner.fault = lambda _when, _operation: None
    assert here.pipeline().resume(outcome.run).state is RunState.FAILED
    assert here.partner.holds == here.held() == set()
    here.ran()
    assert here.partner.holds == here.held() == cells(1, 2, 3, 4, 5, 9)


@pytest.mark.parametrize("able", [True, False])
def test_a_list_that_is_not_deleted_either_is_told(able: bool) -> None:
    """Nobody counts as gone who is still there, and the next sync asks again."""
    here = strict(DELETE)
    if able:

        def used(_when: str, operation: str) -> None:
            if operation == "delete":
                raise RefusedError("an ad group uses the list", 400)

        here.partner.fault = used
    else:
        here.partner.__class__ = type("Keeping", (StrictPartner,), {
            "delete_audience": MemoryPartner.delete_audience,
        })  # fmt: skip
    here.write(REFUSED)
    run = here.ran()
    assert run.state is RunState.FAILED
    assert str(TOO_SMALL) in str(run.reason)
    assert ("an ad group uses the list" if able else "deleted from here") in str(run.reason)
    assert is_true(here)
    assert here.held() == cells(*range(6))
    here.partner.fault = lambda _when, _operation: None
    here.partner.__class__ = StrictPartner
    here.ran()
    assert here.partner.holds == here.held() == set()


def test_a_list_that_was_emptied_in_part_is_all_in_doubt() -> None:
    """The second request is refused, and nobody knows by heart who is left: all are sent again."""
    here = strict(EMPTY, least=3)
    here.partner.__class__ = type("Keeping", (StrictPartner,), {
        "delete_audience": MemoryPartner.delete_audience,
        "limits": Limits(members_per_request=2),
    })  # fmt: skip
    here.partner.limits = Limits(members_per_request=2)
    here.partner.least = 6
    here.write(REFUSED)
    run = here.ran(deliver=False)
    here.partner.least = 3
    usual, calls = here.partner.remove, list[int]()

    def remove(upload: Upload, members: Members) -> Receipt:
        calls.append(len(members))
        if len(calls) in (1, 3):
            raise TOO_SMALL
        return usual(upload, members)

    here.partner.remove = remove
    ended = here.pipeline().approve(run, "ann")
    assert ended.state is RunState.FAILED
    assert len(here.partner.holds) == 4
    assert surely_held(here) == set()
    assert here.held() == cells(*range(6))
    here.partner.remove, here.partner.least = usual, 0
    here.ran()
    assert here.partner.holds == here.held() == cells(1, 2, 3, 4, 5, 9)


@pytest.mark.parametrize("answer", ["later", "not all"])
def test_a_list_that_is_not_surely_empty_is_all_in_doubt(answer: str) -> None:
    """The partner works on it, or leaves some on it: nobody is forgotten, all are sent again."""
    here = strict(EMPTY)
    usual = here.partner.remove

    def remove(upload: Upload, members: Members) -> Receipt:
        if len(members) < 6:
            return usual(upload, members)
        if answer == "later":
            return Receipt(accepted=6, pending=True, reference="1")
        here.partner.holds -= cells(3)
        return Receipt(accepted=1, unattributed=5)

    here.partner.remove = remove
    here.write(REFUSED)
    run = here.ran()
    assert run.state is RunState.FAILED
    assert ("asked to take everybody off" if answer == "later" else "did not take") in str(
        run.reason
    )
    assert surely_held(here) == set()
    assert here.held() == cells(*range(6))
    here.partner.remove, here.partner.least = usual, 0
    here.partner.holds.clear()
    here.ran()
    assert here.partner.holds == here.held() == cells(1, 2, 3, 4, 5, 9)


@pytest.mark.parametrize("policy", [EMPTY, DELETE])
def test_what_the_partner_may_still_add_is_not_forgotten(policy: OnRefusedRemoval) -> None:
    """It is at work on an earlier run when it is asked to empty the list; a deleted one is gone."""
    here = World(fast_folder(), partitions=2)
    here.partner, here.policy = StrictPartner(), policy
    here.partner.pending = True
    here.write(PEOPLE)
    assert here.ran().state is RunState.DELIVERED
    here.partner.pending, here.partner.least = False, 9
    here.write(REFUSED)
    assert here.ran().state is RunState.FAILED
    assert surely_held(here) == set()
    assert here.held() == (cells(*range(6)) if policy is EMPTY else set())


def test_a_refusal_of_the_second_of_two_requests_counts_as_one() -> None:
    """Such a removal is perhaps made in part, so that it is not called refused in the ledger."""
    here = strict(DELETE)
    usual = here.link
    here.link = lambda name: replace(  # type: ignore[method-assign]
        usual(name), recording=lambda: nullcontext(Exchange(attempts=2, uncertain=True))
    )
    here.write(REFUSED)
    assert "deleted" in str(here.ran().reason)
    assert here.partner.holds == here.held() == set()


def test_a_plugins_mistake_takes_no_list_away() -> None:
    """It says nothing about the list: the run fails, and nobody counts as gone."""
    here = strict(DELETE, least=0)

    def fault(when: str, operation: str) -> None:
        if (when, operation) == ("before", "remove"):
            raise KeyError(operation)

    here.partner.fault = fault
    here.write(REFUSED)
    assert "report this to its author" in str(here.ran().reason)
    assert here.partner.deleted == []
    assert here.held() == here.partner.holds == cells(*range(6))


def test_a_refused_addition_takes_no_list_away() -> None:
    """The removals were made by then, and the list stays."""
    here = strict(DELETE, least=0)

    def fault(_when: str, operation: str) -> None:
        if operation == "add":
            raise RefusedError("the list is locked", 400)

    here.partner.fault = fault
    here.write(REFUSED)
    assert here.ran().reason == "the list is locked (HTTP 400)"
    assert here.partner.deleted == []
    assert here.held() == here.partner.holds == cells(1, 2, 3, 4, 5)


def test_a_guard_holds_a_run_before_anything_is_taken_away() -> None:
    """L12: the list goes only once a person approved; what is built anew is guarded as well."""
    here = strict(DELETE)
    here.aim(guards=replace(NO_GUARDS, minimum_members=7))
    here.write(REFUSED)
    run = here.ran()
    assert run.state is RunState.HELD
    with pytest.raises(GuardError):
        here.pipeline().resume(run)
    assert here.partner.deleted == []
    assert "deleted" in str(here.pipeline().approve(run, "ann").reason)
    here.aim(guards=replace(NO_GUARDS, maximum_growth=1.0))
    here.write([granted(str(n), email=f"p{n}@example.com") for n in range(13)])
    assert "would grow from 6 to 13 members" in str(here.ran().reason)


def _fanned(here: FannedWorld) -> Run:
    run = here.ran(deliver=False)
    here.work_off(here.begin_delivery(run.id))
    return here.ledger.run(run.id)


def test_a_run_that_many_workers_deliver_escalates_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever met the refusal ends the run; away meanwhile, one process goes on with it alone."""
    monkeypatch.setattr(delivering, "BATCHES", 0)
    here = strict(DELETE, FannedWorld)
    assert isinstance(here, FannedWorld)
    here.write(REFUSED)
    away = [TemporaryPartnerError("not now", 503)]

    def busy(_when: str, operation: str) -> None:
        if operation == "delete" and away:
            raise away.pop()

    here.partner.fault = busy
    run = _fanned(here)
    assert run.state is RunState.DELIVERING
    assert run.next_attempt_at is not None
    stages = here.coordinator().kinds[delivering.KIND]
    assert isinstance(stages, delivering.DeliveryStages)
    assert not stages.worth_while(run, here.link(run.destination))
    run = here.pipeline().resume(run)
    assert run.state is RunState.FAILED
    assert "deleted" in str(run.reason)
    assert here.partner.holds == here.held() == set()
    here.ran()
    assert here.partner.holds == here.held() == cells(1, 2, 3, 4, 5, 9)
    here.write([*PEOPLE[2:], NEWCOMER])
    assert "deleted" in str(_fanned(here).reason)
    assert here.partner.holds == here.held() == set()


def test_only_who_withdrew_is_told_of_when_a_list_is_emptied() -> None:
    """A partner may keep those from every list of it: the others leave this one, and come back."""
    told: list[set[str]] = []

    class Telling(StrictPartner):
        def withdraw(self, members: Members) -> Receipt:
            told.append({c for row in members.rows(members.kinds) for c in row if c})
            return Receipt(accepted=len(members))

    here = strict(EMPTY, WithdrawnWorld)
    assert isinstance(here, WithdrawnWorld)
    here.partner.__class__ = Telling
    here.withdraw(email="p0@example.com")
    here.lane_works()
    assert here.partner.holds == here.held() == set()
    assert told == [cells(0)]
    here.ran()
    here.write(PEOPLE[2:])
    here.ran()
    assert here.partner.holds == here.held() == set()
    assert told == [cells(0)]
