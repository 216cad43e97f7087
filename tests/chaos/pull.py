"""Pulls one partner's network out for minutes, and nothing is hastened: `python -m chaos.pull`."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from chaos.audit import Findings, compare_known, compare_log, compare_wanted
from chaos.cluster import Cluster, cluster
from chaos.mortal import until
from chaos.rounds import Report
from chaos.shop import LISTS, Shop

from audience_sync.app import App
from audience_sync.ledger.records.runs import Run, RunState

PATIENCE = 1_800.0  # seconds
SLOW = 200  # milliseconds that the partners take to answer
_ENDED = (RunState.CONFIRMED, RunState.FAILED, RunState.HELD, RunState.CANCELLED)


def main() -> int:
    """Pull, wait, plug, wait until all is delivered, compare; 1 when anything was lost."""
    parser = argparse.ArgumentParser(prog="chaos.pull", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--people", type=int, default=2400)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="audience-sync-chaos-") as folder:
        shop = Shop(Path(folder), asked.people, random.Random(1))  # noqa: S311 - no secret
        with (
            cluster(Path(folder), shop, workers=0, scheduled=False) as machines,
            machines.open() as app,
        ):
            for host in ("host-1", "host-2"):
                machines.add(host, "unhurried-worker", "--concurrency=2")
            machines.add("host-3", "unhurried-beat")
            found = pulled(machines, app, asked.minutes * 60)
    print(found)  # noqa: T201 - asked for
    return 0 if found.findings.sound else 1


def pulled(machines: Cluster, app: App, seconds: float) -> Report:
    """What became of it; the workers that began it are those that end it."""
    synced(machines, app)
    machines.control("latency", milliseconds=SLOW)
    machines.shop.change(0.4)
    before = changes(machines)
    machines.ask()
    assert until(lambda: changes(machines) > before, PATIENCE)
    machines.wires["webhook"].pull()
    tell(app, "the webhook's network is pulled while it is being sent to")
    plug_at = time.monotonic() + seconds
    assert until(lambda: time.monotonic() > plug_at - seconds / 2, PATIENCE)
    tell(app, "half of the time is over; more customers change")
    machines.shop.change(0.1)
    machines.ask(partner="meta")
    assert until(lambda: time.monotonic() > plug_at, PATIENCE)
    tell(app, "it is plugged in again")
    machines.wires["webhook"].plug()
    begun = time.monotonic()
    assert until(lambda: not opened(app), PATIENCE), "no rest"
    tell(app, f"all that was begun has ended {time.monotonic() - begun:.0f} s later")
    synced(machines, app)
    found = Findings() + compare_known(machines, app) + compare_wanted(machines, app)
    found += compare_log(machines, app)
    alive = [one.alive for one in (*machines.workers, machines.beat) if one is not None]
    tell(app, f"{sum(alive)} of {len(alive)} processes run since the beginning")
    batches = sum(line.line.event == "intent" for line in app.ledger.log_lines())
    return Report(runs=len(app.ledger.runs()), batches=batches, seconds=seconds, findings=found)


def synced(machines: Cluster, app: App) -> None:
    """Everything is asked for, and ends well."""
    before = {run.id for run in app.ledger.runs()}
    machines.ask()

    def over() -> bool:
        new = [run for run in app.ledger.runs() if run.id not in before]
        done = {(r.audience, r.destination) for r in new if r.state is RunState.CONFIRMED}
        return done == set(LISTS) and not opened(app)

    assert until(over, PATIENCE)


def changes(machines: Cluster) -> int:
    """How many changes the webhook's partner has made."""
    journal = machines.control("journal")["requests"]
    made = [one for one in journal if one["partner"] == "webhook"]
    return sum(one["operation"] in ("add", "remove") for one in made)


def opened(app: App) -> list[Run]:
    """The runs that are under way."""
    return [run for run in app.ledger.runs() if run.state not in _ENDED]


def tell(app: App, what: str) -> None:
    """What happens, and what waits for what."""
    waits = {
        f"{run.audience} to {run.destination}: {run.state}, {run.reason}" for run in opened(app)
    }
    sys.stdout.write("\n   ".join([f"{time.strftime('%H:%M:%S')} {what}", *sorted(waits)]) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
