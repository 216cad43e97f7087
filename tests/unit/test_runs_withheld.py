"""A delivery that may not send now is handed back with its time, and nothing is in doubt."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta

import pytest
from pipeline_world import World, digest, fast_folder, granted

from audience_sync.connector import Limits
from audience_sync.delivery.board import LocalBoard
from audience_sync.delivery.circuit import WithheldError
from audience_sync.delivery.limits import Gate
from audience_sync.ledger.records.log import Event
from audience_sync.ledger.records.runs import BatchState, RunState


def world(people: int) -> World:
    here = World(fast_folder())
    here.write([granted(str(n), email=f"p{n}@example.com") for n in range(people)])
    return here


def share(here: World, gate: Gate) -> None:
    """Let this world's deliveries take their places at a gate."""
    real = here.link

    def link(destination: str) -> object:
        return replace(real(destination), slots=gate.slots)

    here.link = link  # type: ignore[method-assign,assignment]


def test_what_was_withheld_waits_and_is_not_in_doubt() -> None:
    """Nothing left, so the batch is not unknown; the run comes back when the account is free."""
    here = world(2)

    def fault(when: str, _operation: str) -> None:
        if when == "before":
            raise WithheldError("as much was sent as the partner takes for now", retry_after=900.0)

    here.partner.fault = fault
    outcome = here.sync()
    assert isinstance(outcome.error, WithheldError)
    assert outcome.run is not None
    assert outcome.run.state is RunState.DELIVERING
    assert outcome.run.next_attempt_at == here.time + timedelta(seconds=900)
    assert [b.state for b in here.ledger.batches(outcome.run.id)] == [BatchState.WAITING]

    here.partner.fault = lambda _when, _operation: None
    here.time += timedelta(seconds=901)
    here.sync()
    assert here.partner.holds == {digest(f"p{n}@example.com") for n in range(2)}
    assert not [line for line in here.log() if line.event is Event.UNKNOWN]


def test_workers_that_find_no_place_hand_the_run_back_untouched() -> None:
    """While others make all uploads that the partner takes, not even an intent is written."""
    here = world(2)
    here.aim()
    board = LocalBoard()
    gate = Gate("an account", board, patience=0.0)
    gate.limit(Limits(members_per_request=1, parallel_uploads=2))
    share(here, gate)
    with gate.slots("vip", 2):
        outcome = here.sync()
        assert isinstance(outcome.error, WithheldError)
        assert outcome.run is not None
        assert outcome.run.next_attempt_at is not None
        assert here.log() == []
    here.time += timedelta(seconds=60)
    here.sync()
    assert len(here.partner.holds) == 2


@pytest.mark.parametrize("taken", [0, 1, 2])
def test_uploads_at_a_time_are_what_is_free(taken: int) -> None:
    """A delivery uses the places that other workers leave, and gives all of them back."""
    here = world(6)
    here.partner.limits = Limits(members_per_request=1, parallel_uploads=3)
    here.aim(batch_size=1)
    gate = Gate("an account", LocalBoard(), patience=0.0)
    gate.limit(here.partner.limits)
    got: list[int] = []
    real = gate.slots

    class Counted:
        def __init__(self, places: AbstractContextManager[int]) -> None:
            self.places = places

        def __enter__(self) -> int:
            got.append(self.places.__enter__())
            return got[-1]

        def __exit__(self, *end: object) -> None:
            self.places.__exit__(*end)  # type: ignore[arg-type]

    gate.slots = lambda audience, wanted: Counted(real(audience, wanted))  # type: ignore[method-assign,assignment,return-value]
    share(here, gate)
    with real("vip", taken) if taken else real("another", 1):
        here.ran()
    assert max(got) == 3 - taken
    with real("vip", 3) as free:
        assert free == 3
