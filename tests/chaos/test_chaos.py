"""What takes minutes or depends on how busy the machine is; `make chaos` runs it first."""

from __future__ import annotations

import random
import time
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from chaos.audit import compare_log, compare_wanted, held
from chaos.cluster import Cluster, cluster
from chaos.mortal import until
from chaos.rounds import is_current, is_rested, play
from chaos.shop import Shop
from chaos.wire import wires

from audience_sync.ledger.records.log import Event
from audience_sync.ledger.records.runs import RunState
from audience_sync.settings import PREFIX

pytestmark = [pytest.mark.chaos, pytest.mark.redis, pytest.mark.postgres]

_PATIENCE = 60.0  # seconds
PEOPLE = 600
BROKER = f"{PREFIX}BROKER_URL"
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


@pytest.mark.parametrize("busy", [False, True])
def test_a_redis_that_is_gone_without_a_word_is_heard_again(
    tmp_path: Path, shop: Shop, busy: bool
) -> None:
    """As after a power cut; a worker that has something to acknowledge does not wait for ever."""
    with cluster(tmp_path, shop, workers=0, scheduled=False) as machines, ExitStack() as stack:
        here = urlsplit(machines.environ[BROKER])
        (wire,) = stack.enter_context(wires(here.port or 0, 1))
        there = stack.enter_context(redis.Redis.from_url(here.geturl()))
        address = here._replace(netloc=f"{here.hostname}:{wire.port}").geturl()
        machines.environ[BROKER] = address
        machines.add("host-1", "unhurried-worker", "--concurrency=2")

        def ears() -> set[str]:
            return {one["id"] for one in there.client_list() if one["cmd"] == "brpop"}

        assert until(ears, _PATIENCE)
        with machines.open() as app:
            machines.wires["webhook"].hold()
            if busy:
                machines.ask(["everybody"], "webhook")
                assert until(lambda: app.ledger.runs(states=[RunState.DELIVERING]), _PATIENCE)
            known = {one["id"] for one in there.client_list()}
            wire.lose()
            machines.wires["webhook"].let_go()
            assert until(lambda: ears() - known, _PATIENCE)


def _reasons(machines: Cluster) -> str:
    """Why runs and pieces wait, at this moment."""
    with machines.open() as app:
        waiting = app.ledger.runs(states=[RunState.PLANNED, RunState.DELIVERING])
        pieces = [p for job in app.ledger.jobs() for p in app.ledger.pieces(job.id, job.stage)]
    time.sleep(0.1)
    return "; ".join(
        [*(str(run.reason) for run in waiting), *(str(piece.note) for piece in pieces)]
    )
