"""Requests leave no faster than a partner allows, and nobody sleeps through a long wait."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audience_sync.connector import Limits
from audience_sync.delivery.board import LocalBoard
from audience_sync.delivery.circuit import WithheldError
from audience_sync.delivery.limits import DAY, MINUTE, Gate, rates_of


class Time:
    """A clock that stands still but for sleeping."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def gate(clock: Time, patience: float = 1e9, **limits: int) -> Gate:
    made = Gate("an account", patience=patience, clock=clock, sleep=clock.sleep)
    made.limit(Limits(members_per_request=1, **limits))
    return made


@given(
    st.integers(1, 3),
    st.integers(1, 8),
    st.integers(5, 30),
    st.lists(st.floats(0, 90), max_size=60),
)
def test_no_time_holds_more_than_allowed(
    second: int, minute: int, day: int, gaps: list[float]
) -> None:
    """In any second, minute and day at most so many requests leave, however they arrive."""
    clock = Time()
    limited = gate(
        clock, requests_per_second=second, requests_per_minute=minute, requests_per_day=day
    )
    left = []
    for gap in gaps:
        clock.now += gap
        limited.wait()
        left.append(clock.now)
    for allowed, seconds in ((second, 1), (minute, MINUTE), (day, DAY)):
        for first, later in zip(left, left[allowed:], strict=False):
            assert later - first >= seconds - 1e-6


def test_without_a_limit_nothing_waits() -> None:
    """A partner without a limit is not slowed down."""
    clock = Time()
    free = gate(clock)
    for _ in range(1000):
        free.wait()
    assert clock.now == 1000.0


def test_a_rest_is_kept() -> None:
    """Nothing leaves while the partner asked for a rest; a shorter one does not end it."""
    clock = Time()
    rested = gate(clock)
    rested.rest(5.0)
    rested.rest(1.0)
    rested.wait()
    assert clock.now == 1005.0
    rested.wait()
    assert clock.now == 1005.0


def test_a_long_wait_is_handed_back_with_its_time() -> None:
    """A worker does not sleep through a spent day: the task comes back when it is over."""
    clock = Time()
    spent = gate(clock, patience=30.0, requests_per_day=1)
    spent.wait()
    clock.now += 3600
    with pytest.raises(WithheldError, match="takes for now") as caught:
        spent.wait()
    assert caught.value.retry_after == DAY - 3600
    assert clock.now == 4600.0


def test_waits_do_not_add_up_beyond_the_patience() -> None:
    """A rest and then a full minute are one wait to whoever waits."""
    clock = Time()
    slow = gate(clock, patience=30.0, requests_per_minute=1)
    slow.wait()
    clock.now += 10
    slow.rest(25.0)
    with pytest.raises(WithheldError) as caught:
        slow.wait()
    assert caught.value.retry_after == 25.0
    assert clock.now == 1035.0


def test_a_request_that_is_withheld_is_not_counted() -> None:
    """Asking often and in vain spends nothing of the day."""
    clock = Time()
    busy = gate(clock, patience=0.0, requests_per_second=1, requests_per_day=3)
    left = 0
    for _ in range(10):
        try:
            busy.wait()
            left += 1
        except WithheldError:
            clock.now += 0.5
    assert left == 3


def test_threads_share_one_minute() -> None:
    """Places are given out once, whoever asks."""
    clock = Time()
    shared = gate(clock, patience=0.0, requests_per_minute=10)

    def sent(_number: int) -> bool:
        try:
            shared.wait()
        except WithheldError:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(sent, range(30))) == 10


def test_destinations_of_one_account_share_its_limits() -> None:
    """The board knows accounts; another account has limits of its own."""
    clock = Time()
    board = LocalBoard(clock)
    made = [
        Gate(account, board, patience=0.0, clock=clock, sleep=clock.sleep)
        for account in ("meta 1", "meta 1", "meta 2")
    ]
    for each in made:
        each.limit(Limits(members_per_request=1, requests_per_minute=1))
    made[0].wait()
    with pytest.raises(WithheldError):
        made[1].wait()
    made[2].wait()


def test_a_gate_survives_pickling() -> None:
    """A copy in another process keeps the limits and starts with an empty minute."""
    original = Gate("an account", patience=0.0)
    original.limit(Limits(members_per_request=1, requests_per_minute=2))
    original.wait()
    original.wait()
    copied = pickle.loads(pickle.dumps(original))  # noqa: S301 - our own object
    copied.wait()
    copied.wait()
    with pytest.raises(WithheldError):
        copied.wait()
    with copied.slots("vip", 4) as places:
        assert places == 1


def test_what_a_connector_declares_becomes_rates() -> None:
    """The shortest time first; what is not declared is not limited."""
    declared = Limits(members_per_request=1, requests_per_day=9, requests_per_second=2)
    assert [(rate.requests, rate.seconds) for rate in rates_of(declared)] == [(2, 1), (9, DAY)]
    assert rates_of(Limits(members_per_request=1)) == ()
