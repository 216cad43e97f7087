"""Leases stay alive in long stretches of work, and a lost one is never hidden (L7)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from pipeline_world import World, fast_folder, granted, new_ledger

from audience_sync.errors import BusyError, StateError
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.work import Lease
from audience_sync.runs import sync
from audience_sync.runs.leases import Held
from audience_sync.runs.plan import Planner

SOON = 30.0  # seconds that a test waits for the thread before it fails
QUICK = 0.001  # seconds between renewals


@dataclass
class Renewals:
    """A ledger's leases, counting; `fault` may fail a renewal."""

    ledger: Ledger
    fault: Callable[[str], None] = lambda _name: None
    seen: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def renew_lease(self, lease: Lease, seconds: float) -> Lease:
        try:
            self.fault(lease.name)
            return self.ledger.renew_lease(lease, seconds)
        finally:
            self.seen.release()

    def release_lease(self, lease: Lease) -> None:
        self.ledger.release_lease(lease)

    def wait(self, times: int = 1) -> None:
        """Until the thread has renewed, and what it found is on record."""
        self.seen = threading.Semaphore(0)  # what was before says nothing
        # The first may have begun before; one more begins only when the one before has ended.
        for _ in range(times + 2):
            assert self.seen.acquire(timeout=SOON)


@contextmanager
def held_by(
    ledger: Ledger, *names: str, **options: Any
) -> Iterator[tuple[Renewals, Held, dict[str, Lease]]]:
    leases = {name: ledger.take_lease(name, "me", 600) for name in names}
    renewals = Renewals(ledger)
    with Held(renewals, leases, every=QUICK, **options) as held:  # type: ignore[arg-type]  # as much of a ledger as it needs
        yield renewals, held, leases


def ledger() -> Ledger:
    return new_ledger(fast_folder() / "ledger.sqlite")


def running() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "leases"]


def test_l7_a_lease_is_renewed_while_nobody_asks() -> None:
    """The work may compute for as long as it likes without a word."""
    with held_by(ledger(), "a/x") as (renewals, held, leases):
        renewals.wait(3)
        assert held["a/x"].expires_at > leases["a/x"].expires_at
        held.renew()


def test_l7_the_thread_ends_with_the_work_whatever_happens() -> None:
    """Neither an error nor a released lease leaves a thread, and the lease is free again."""
    here = ledger()

    def work() -> None:
        with held_by(here, "a/x") as (renewals, _, _):
            renewals.wait()
            assert running()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert not running()
    here.release_lease(here.take_lease("a/x", "other", 600))


def test_l7_a_lost_lease_is_told_again_and_again() -> None:
    """Whoever asks next, in whatever thread, learns that another took over; others go on."""
    here = ledger()
    with held_by(here, "a/x", "b/x") as (renewals, held, leases):
        here.release_lease(leases["b/x"])
        here.take_lease("b/x", "other", 600)
        renewals.wait(4)
        for _ in range(2):
            with pytest.raises(BusyError, match="b/x"):
                held.renew()
            with pytest.raises(BusyError, match="b/x"):
                held.renew("b/x")
            held.renew("a/x")
        held.let_go("b/x")
        held.renew()
    with pytest.raises(BusyError, match="other"):
        here.take_lease("b/x", "third", 600)


@pytest.mark.parametrize("error", [StateError("the ledger is away"), OSError("no socket")])
def test_l7_a_ledger_that_is_away_is_forgiven_until_the_lease_ends(error: Exception) -> None:
    """A short silence harms nobody; one as long as the lease stops the work."""
    time = [0.0]

    def away(_name: str) -> None:
        raise error

    with held_by(ledger(), "a/x", clock=lambda: time[0]) as (renewals, held, _):
        renewals.fault = away
        renewals.wait(2)
        held.renew()
        time[0] = 600.0
        renewals.wait()
        with pytest.raises(StateError):
            held.renew()
        renewals.fault = lambda _name: None
        renewals.wait()
        held.renew()  # nobody had taken it


def test_l7_a_stopped_work_stops() -> None:
    """After Ctrl-C no further batch is sent."""
    with held_by(ledger(), "a/x") as (_, held, _):
        held.stop()
        with pytest.raises(BusyError, match="stopped"):
            held.renew("a/x")


def test_l7_the_pipeline_renews_while_the_source_keeps_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A first batch that takes longer than a lease lasts does not cost the lease."""
    here = World(fast_folder())
    here.write([granted("1", email="a@example.com")])
    renewals = Renewals(here.ledger)
    monkeypatch.setattr(
        sync,
        "Held",
        lambda _ledger, leases: Held(renewals, leases, every=QUICK),  # type: ignore[arg-type]  # as much of a ledger as it needs
    )
    plan = Planner.plan

    def slow(*given: Any, **named: Any) -> Any:
        renewals.wait(2)
        return plan(*given, **named)

    monkeypatch.setattr(Planner, "plan", slow)
    assert here.ran().delta["additions"] == 1
    assert not running()
