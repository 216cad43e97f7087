"""Whole syncs over HTTP at partners that keep people who may not stay: as the project decides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from partner_bench import NOBODY, Bench, control
from pipeline_world import World, fast_folder, granted

from audience_sync.connector import Kind
from audience_sync.ledger.records.log import Event
from audience_sync.ledger.records.runs import BatchState, Operation, RunState
from audience_sync.runs.escalation import OnRefusedRemoval
from audience_sync.runs.link import Link
from audience_sync.sandbox.server import running_sandbox

EMPTY, DELETE, ALERT = (
    OnRefusedRemoval.EMPTY_AND_REBUILD,
    OnRefusedRemoval.DELETE,
    OnRefusedRemoval.ALERT,
)
PEOPLE = [granted(f"c{n}", email=f"p{n}@example.com", phone=f"+4670000001{n}") for n in range(8)]
CHANGED = [PEOPLE[0] | {"consent": "withdrawn"}, *PEOPLE[1:7], PEOPLE[7] | {"consent": None}]
NEWCOMER = granted("c9", email="p9@example.com", phone="+46700000019")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """TikTok keeps a thousand people on each list that is made from files."""
    with running_sandbox(match_share=1.0, tiktok_strict_minimum=True) as sandbox:
        yield sandbox.url


class AtPartner(World):
    """A world with a real connector and a simulated partner."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(fast_folder())
        self.bench = bench
        forms = bench.connector.forms
        self.aim(forms={kind: forms[kind] for kind in (Kind.EMAIL, Kind.PHONE)}, batch_size=100)

    def link(self, destination: str) -> Link:
        usual = super().link(destination)
        client = self.bench.client
        return replace(usual, connector=self.bench.connector, recording=client.recording)

    def at_partner(self) -> set[str]:
        """Every identifier that the partner holds, on whatever list."""
        lists = control(self.bench.url, "state")[self.bench.name]["lists"]
        return {cell for one in lists for cell in self.bench.held(str(one["id"]))} - {NOBODY}


@pytest.fixture
def here(url: str, request: pytest.FixtureRequest) -> Iterator[AtPartner]:
    """Eight people on a list at the partner."""
    control(url, "reset", {})
    bench = Bench(url, request.param)
    world = AtPartner(bench)
    world.write(PEOPLE)
    world.ran()
    assert world.at_partner() == world.held()
    assert len(world.held()) == 16
    yield world
    bench.client.close()
    world.ledger.close()


@pytest.mark.parametrize(
    ("here", "policy", "deleted"),
    [
        ("tiktok-files", EMPTY, True),
        ("tiktok-files", DELETE, True),
        ("snapchat", EMPTY, False),
        ("snapchat", DELETE, True),
    ],
    indirect=["here"],
)
def test_a_refused_removal_takes_the_list_away(
    here: AtPartner, policy: OnRefusedRemoval, deleted: bool
) -> None:
    """A refusal within HTTP 200, too; TikTok does not empty such a list either."""
    here.policy = policy
    if here.bench.name == "snapchat":  # says no to the sub-request, once
        here.bench.fault("final-failure", operation="remove")
    before = here.ledger.remote_list("vip", "memory-1").remote_id
    here.write([*CHANGED, NEWCOMER])
    run = here.ran()
    assert (run.delta["removals"], run.delta["must_leave"]) == (2, 2)
    assert run.state is RunState.FAILED
    assert "as on_refused_removal says" in str(run.reason)
    assert ("was deleted" in str(run.reason)) is deleted
    assert here.at_partner() == here.held() == set()
    assert (here.ledger.remote_list("vip", "memory-1").remote_id is None) is deleted
    batch = here.ledger.batches(run.id)[0]
    assert batch.operation is Operation.REMOVE
    assert batch.state in (BatchState.FAILED, BatchState.UNKNOWN)
    refused = next(line for line in here.log() if line.run == run.id and line.note)
    assert refused.status == 200
    assert here.log()[-1].event is Event.OUTCOME
    assert str(here.log()[-1].operation).startswith("remove everybody")

    assert here.ran().state is RunState.CONFIRMED
    assert here.at_partner() == here.held()
    assert len(here.held()) == 14
    after = here.ledger.remote_list("vip", "memory-1").remote_id
    assert (after != before) is deleted
    assert here.ledger.verify_log().sound


@pytest.mark.parametrize("here", ["tiktok-files"], indirect=True)
def test_who_may_stay_and_what_a_person_decides_leave_the_list_as_it_is(here: AtPartner) -> None:
    """Nothing is taken away for who merely left the audience, nor where the project says alert."""
    held = here.at_partner()
    here.policy = DELETE
    here.write([PEOPLE[0] | {"market": "NO"}, *PEOPLE[1:]])
    assert "a list made from files" in str(here.ran().reason)
    here.policy = ALERT
    here.write(CHANGED)
    assert "set on_refused_removal" in str(here.ran().reason)
    assert here.at_partner() == here.held() == held
