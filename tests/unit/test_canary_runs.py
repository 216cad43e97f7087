"""Canaries take turns, and move alike whoever plans."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from fanned_world import FannedWorld
from hypothesis import given
from hypothesis import strategies as st
from pipeline_world import World, digest, fast_folder, granted

from audience_sync.identifiers.kinds import Kind
from audience_sync.ledger.records.runs import Run
from audience_sync.runs.canaries import Canary

EMAIL = "bird@shop.example"
PEOPLE = [granted(str(n), email=f"p{n}@example.com", phone=f"070 {1_000_000 + n}")
          for n in range(9)]  # fmt: skip
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)).map(  # noqa: DTZ001 - given one below
    lambda moment: moment.replace(tzinfo=UTC)
)


def bird(**changes: object) -> Canary:
    """One canary, on for a week and off for a week."""
    made = Canary(name="bird", values={Kind.EMAIL: EMAIL}, country="SE", stays=timedelta(days=7))
    return replace(made, **changes)  # type: ignore[arg-type]  # fields of a Canary


@given(MOMENTS, st.integers(1, 90), st.text(min_size=1, max_size=8))
def test_each_turn_lasts_as_long_as_it_says(at: datetime, days: int, audience: str) -> None:
    """Through a whole turn the answer stays, with one beginning; the next turn is the opposite."""
    canary = bird(stays=timedelta(days=days))
    turn = canary.turn(audience, at)

    assert turn.since <= at < turn.since + canary.stays + timedelta(seconds=1)
    almost = canary.turn(audience, turn.since + canary.stays - timedelta(seconds=2))
    assert almost.here is turn.here
    after = canary.turn(audience, turn.since + canary.stays + timedelta(seconds=2))
    assert after.here is not turn.here


def _ran(world: World, at: datetime) -> Run:
    world.write(PEOPLE)
    world.aim(canaries=(bird(),), canaries_at=at)
    return world.ran()


def test_many_workers_move_a_canary_as_one_process_does() -> None:
    """The same lists, the same customers' counts, the canary counted apart."""
    at = datetime(2026, 11, 21, tzinfo=UTC)
    here = bird().turn("vip", at).since + timedelta(days=1)
    if not bird().turn("vip", here).here:
        here += timedelta(days=7)
    worlds = World(fast_folder()), FannedWorld(fast_folder())
    for when, held in ((here, True), (here + timedelta(days=7), False)):
        runs = [_ran(world, when) for world in worlds]
        for world, run in zip(worlds, runs, strict=True):
            assert (digest(EMAIL) in world.partner.holds) is held
            assert world.partner.holds == world.held()
            assert (run.delta["wanted"], run.delta["canaries"]) == (9, int(held))
            assert run.funnel["rows_read"] == 9
            remote = world.ledger.remote_list("vip", "memory-1")
            assert remote.members == 9 + int(held)


def test_a_canary_prints_no_identifier() -> None:
    """It stands in targets, which logs may print."""
    assert EMAIL not in repr(bird())
