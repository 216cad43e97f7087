"""A few rounds in which everything dies, short enough for every run of the tests."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from chaos.audit import compare_log, compare_wanted, held
from chaos.cluster import Cluster, cluster
from chaos.mortal import until
from chaos.rounds import is_current, is_rested, play
from chaos.shop import Shop

from audience_sync.ledger.records import Event, RunState

pytestmark = [pytest.mark.chaos, pytest.mark.redis, pytest.mark.postgres]

_PATIENCE = 60.0  # seconds
PEOPLE = 600
SCRIPT = (
    ("worker, its answers unseen", "PostgreSQL", "fault at a partner"),
    ("connections to a partner", "worker", "Redis"),
)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path, PEOPLE, random.Random(7))  # noqa: S311 - no secret


def test_whatever_is_killed_nothing_is_lost_kept_or_untold(tmp_path: Path) -> None:
    """Workers, servers and connections die in the middle of deliveries, twice over."""
    report = play(tmp_path, len(SCRIPT), seed=3, people=PEOPLE, script=SCRIPT)

    assert report.findings.sound, str(report)
    assert report.rounds == len(SCRIPT)
    assert set(report.mishaps) >= {"worker", "Redis", "PostgreSQL"}


def test_two_workers_deliver_one_run(tmp_path: Path, shop: Shop) -> None:
    """Both take their part of the batches; none is sent twice."""
    with cluster(tmp_path, shop, concurrency=1) as machines:
        machines.ask(["everybody"], "webhook")
        with machines.open() as app:
            holders = set()
            assert until(lambda: app.ledger.runs(states=[RunState.CONFIRMED]), _PATIENCE)
            shop.readdress()
            machines.control("latency", milliseconds=300)
            machines.ask(["everybody"], "webhook")

            def shared() -> bool:
                leases = app.ledger.leases_held("piece d")
                holders.update(lease.holder.partition(":")[0] for lease in leases)
                return len(holders) == 2

            assert until(shared, _PATIENCE)
            assert is_rested(machines, app)
            assert held(machines, app, "everybody", "webhook") == shop.wanted(
                "everybody", "webhook"
            )
            found = compare_log(machines, app)
        assert found.sound, found
        assert found.repeated == 0


def test_a_partner_that_cannot_be_reached_costs_nothing_but_time(
    tmp_path: Path, shop: Shop
) -> None:
    """No batch is lost, no run fails, the circuit opens and closes, and the others go on."""
    with cluster(tmp_path, shop) as machines:
        machines.wires["webhook"].pull()
        machines.add("host-1-beat", "beat")
        machines.ask()
        with machines.open() as app:
            others = {("everybody", "meta"), ("sweden", "meta"), ("sweden", "google")}

            def confirmed() -> set[tuple[str, str]]:
                found = app.ledger.runs(states=[RunState.CONFIRMED])
                return {(run.audience, run.destination) for run in found}

            assert until(lambda: confirmed() >= others, _PATIENCE)
            assert until(lambda: "left alone for a while" in _reasons(machines), _PATIENCE)
            assert confirmed() == others

            machines.wires["webhook"].plug()

            assert is_rested(machines, app)
            assert is_current(machines, app)
            found = compare_wanted(machines, app) + compare_log(machines, app)
            refused = [
                logged.line
                for logged in app.ledger.log_lines(destination="webhook")
                if logged.line.event is Event.OUTCOME and not logged.line.accepted
            ]
        assert found.sound, found
        assert all(line.status is None for line in refused)


def _reasons(machines: Cluster) -> str:
    """Why runs and pieces wait, at this moment."""
    with machines.open() as app:
        waiting = app.ledger.runs(states=[RunState.PLANNED, RunState.DELIVERING])
        pieces = [p for job in app.ledger.jobs() for p in app.ledger.pieces(job.id, job.stage)]
    time.sleep(0.1)
    return "; ".join(
        [*(str(run.reason) for run in waiting), *(str(piece.note) for piece in pieces)]
    )
