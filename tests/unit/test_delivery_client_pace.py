"""Requests leave no faster than a partner allows."""

from __future__ import annotations

import pickle
import time
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from audience_sync.delivery.limits import MINUTE, Pace


class Time:
    """A clock that stands still but for sleeping."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@given(st.integers(1, 8), st.lists(st.floats(0, 90), max_size=60))
def test_no_minute_holds_more_than_allowed(per_minute: int, gaps: list[float]) -> None:
    """In any sixty seconds at most so many requests leave, however they arrive."""
    clock = Time()
    pace = Pace(per_minute, clock=clock, sleep=clock.sleep)
    left = []
    for gap in gaps:
        clock.now += gap
        pace.wait()
        left.append(clock.now)
    for first, later in zip(left, left[per_minute:], strict=False):
        assert later - first >= MINUTE - 1e-6


def test_without_a_limit_nothing_waits() -> None:
    """A partner without a limit is not slowed down."""
    clock = Time()
    pace = Pace(None, clock=clock, sleep=clock.sleep)
    for _ in range(1000):
        pace.wait()
    assert clock.now == 1000.0


def test_a_rest_is_kept() -> None:
    """Nothing leaves while the partner asked for a rest."""
    clock = Time()
    pace = Pace(None, clock=clock, sleep=clock.sleep)
    pace.rest(5.0)
    pace.wait()
    assert clock.now == 1005.0
    pace.wait()
    assert clock.now == 1005.0


def test_threads_share_one_minute() -> None:
    """Places are given out once, whoever asks."""
    clock = Time()
    slept: list[float] = []
    pace = Pace(10, clock=clock, sleep=slept.append)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: pace.wait(), range(30)))
    assert sorted(round(pause) for pause in slept) == [60] * 10 + [120] * 10


def test_a_pace_survives_pickling() -> None:
    """A copy in another process keeps the limit and starts with an empty minute."""
    pace = pickle.loads(pickle.dumps(Pace(3)))  # noqa: S301 - our own object
    started = time.monotonic()
    for _ in range(3):
        pace.wait()
    assert time.monotonic() - started < MINUTE
