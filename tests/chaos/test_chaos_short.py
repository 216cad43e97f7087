"""One worker and everything that it needs; each dies once while a partner's answer is on its way.

The script is always the same and waits for what happens, never for a time: it belongs to every
run of the tests.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from chaos.audit import Findings, compare_known, compare_log, compare_wanted
from chaos.cluster import Cluster, cluster
from chaos.mortal import until
from chaos.shop import Shop

from audience_sync.app import App
from audience_sync.errors import AudienceSyncError
from audience_sync.ledger.records.log import Event
from audience_sync.ledger.records.runs import RunState

pytestmark = [pytest.mark.redis, pytest.mark.postgres]

PEOPLE = 300
LIST = ("everybody", "webhook")
CHANGED = 0.3  # of them, before each death
PATIENCE = 200.0  # seconds; a machine that is busy with other tests is slow
NUDGE = 2.0  # seconds between two sweeps; really three minutes


def cut(machines: Cluster) -> None:
    """The partner has done what was asked, and its answer is lost."""
    machines.wires["webhook"].cut()


def kill_worker(machines: Cluster) -> None:
    """The worker, with its children."""
    (worker,) = machines.workers
    worker.kill()
    worker.start()


def kill_redis(machines: Cluster) -> None:
    """Redis, which comes back and remembers nothing."""
    machines.keep_redis(keeps=False)


def kill_postgresql(machines: Cluster) -> None:
    """PostgreSQL, which comes back and remembers everything."""
    machines.postgresql.kill()
    machines.postgresql.start()


@pytest.mark.timeout(900)
def test_whoever_dies_between_acceptance_and_record_nothing_is_lost(tmp_path: Path) -> None:
    """Whoever dies, the partners hold whom they should, and the log tells all they were asked."""
    shop = Shop(tmp_path, PEOPLE, random.Random(5))  # noqa: S311 - no secret
    found = Findings()
    with (
        cluster(tmp_path, shop, workers=1, concurrency=1, parallel=1, scheduled=False) as machines,
        machines.open() as app,
    ):
        synced(machines, app, lambda _machines: None)
        for death in (cut, kill_worker, kill_redis, kill_postgresql):
            shop.change(CHANGED)
            synced(machines, app, unseen(death))
            found += compare_known(machines, app, [LIST])
            found += compare_wanted(machines, app, [LIST])
        found += compare_log(machines, app)
        unknown = [one for one in app.ledger.log_lines() if one.line.event is Event.UNKNOWN]
    assert found.sound, found
    assert unknown  # so something did die before its record
    assert found.repeated >= 1


def unseen(death: Callable[[Cluster], None]) -> Callable[[Cluster], None]:
    """The death, once the partner has made a change of which nobody has seen the answer yet."""

    def strike(machines: Cluster) -> None:
        machines.wires["webhook"].hold()
        before = changes(machines)
        ask(machines)
        assert until(lambda: changes(machines) > before, PATIENCE)
        death(machines)
        machines.wires["webhook"].let_go()

    return strike


def ask(machines: Cluster) -> None:
    """Ask for a sync of the list."""
    assert until(lambda: machines.ask(["everybody"], "webhook"), PATIENCE)


def changes(machines: Cluster) -> int:
    """How many changes the webhook's partner has made."""
    journal = machines.control("journal")["requests"]
    made = [one for one in journal if one["partner"] == "webhook"]
    return sum(one["operation"] in ("add", "remove") for one in made)


def synced(machines: Cluster, app: App, strike: Callable[[Cluster], None]) -> None:
    """The list was synced, however often somebody died meanwhile; sweeps are all the help."""
    since, nudged = datetime.now(UTC), time.monotonic()
    strike(machines)
    if not planned(app, since):
        ask(machines)

    def over() -> bool:
        nonlocal nudged
        if time.monotonic() > nudged + NUDGE:
            machines.nudge()
            nudged = time.monotonic()
        return planned(app, since) and ended(app)

    assert until(over, PATIENCE), waits(machines, app)


def planned(app: App, since: datetime) -> bool:
    """Whether the list has a run that was planned after a moment."""
    return any(run.planned_at > since for run in app.ledger.runs())


def ended(app: App) -> bool:
    """Whether nothing is under way any more."""
    try:
        runs = app.ledger.runs()
        return not app.ledger.jobs() and all(run.state is RunState.CONFIRMED for run in runs)
    except AudienceSyncError:  # PostgreSQL is still on its way back
        return False


def waits(machines: Cluster, app: App) -> str:
    """What is not over, for who reads a failed test."""
    runs = [f"{run.lease_name} {run.state} {run.reason}" for run in app.ledger.runs()]
    return f"{runs} {app.ledger.jobs()}\n{machines.workers[0].log}"
