"""Round after round: customers change, a sync is asked for, things die, all comes to rest."""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from chaos.audit import Findings, compare_known, compare_log, compare_wanted
from chaos.cluster import Cluster, cluster
from chaos.mishaps import Mishaps
from chaos.mortal import until
from chaos.shop import LISTS, Shop

from audience_sync.app import App
from audience_sync.errors import AudienceSyncError
from audience_sync.ledger.records.runs import RunState

REST = 120.0  # seconds until everything that was begun has ended
ASK_AGAIN = 4.0  # seconds; the schedule asks every minute anyway
CHANGED = 0.4  # of the customers, before each round
_OPEN = (RunState.PLANNED, RunState.DELIVERING, RunState.DELIVERED)


@dataclass
class Report:
    """What happened in all rounds."""

    rounds: int = 0
    runs: int = 0
    batches: int = 0
    seconds: float = 0.0
    mishaps: Counter[str] = field(default_factory=Counter)
    findings: Findings = field(default_factory=Findings)

    def __str__(self) -> str:
        found = self.findings
        lines = [
            ("rounds", self.rounds),
            ("seconds", round(self.seconds)),
            ("runs", self.runs),
            ("batches sent", self.batches),
            *((f"killed or cut: {kind}", number) for kind, number in self.mishaps.most_common()),
            ("members lost", found.lost),
            ("members wrongly kept", found.kept),
            ("identifiers held that we do not know", found.strangers),
            ("transfers missing from the log", found.unlogged),
            ("transfers in the log that never were", found.untrue),
            ("lists made twice", found.twins),
            ("log found broken", found.broken),
            ("runs that failed", found.failed),
            ("errors that nobody had thought of", found.surprised),
            ("rounds that did not come to rest", found.restless),
            ("batches sent again", found.repeated),
        ]
        text = "\n".join(f"{name:<52}{number:>8,}" for name, number in lines)
        return "\n".join([text, *found.notes])


def play(
    folder: Path,
    rounds: int,
    seed: int,
    *,
    people: int = 2400,
    seconds: float = 12.0,
    script: Sequence[Sequence[str]] = (),
    minutes: float = math.inf,
    tell: bool = False,
) -> Report:
    """Play so many rounds; the same seed chooses the same mishaps, unless a script names them.

    After so many `minutes` no further round is begun.
    """
    chance = random.Random(seed)  # noqa: S311 - no secret
    shop, report, begun = Shop(folder, people, chance), Report(), time.monotonic()
    with cluster(folder, shop) as machines:
        machines.add("host-1-beat", "beat")
        machines.control("latency", milliseconds=30)
        for number in range(rounds):
            mishaps = Mishaps(machines, chance, report.mishaps)
            harm = (
                partial(mishaps.follow, script[number])
                if script
                else partial(mishaps.rage, seconds)
            )
            found = _round(machines, chance, report, harm)
            report.rounds += 1
            if tell:
                print(f"round {number + 1}: {_short(found)}", flush=True)  # noqa: T201 - asked for
            if not found.sound or time.monotonic() > begun + minutes * 60:
                break
        with machines.open() as app:
            _sum_up(machines, app, report)
    report.seconds = time.monotonic() - begun
    return report


def _round(
    machines: Cluster,
    chance: random.Random,
    report: Report,
    harm: Callable[[], None],
) -> Findings:
    machines.keep_redis(chance.random() < 0.5)
    report.mishaps["Redis"] += 1
    machines.shop.change(CHANGED)
    machines.ask()
    harm()
    machines.mend()
    found = Findings()
    with machines.open() as app:
        if not is_rested(machines, app):
            found.restless += 1
            found.notes.append(_waits(app))
        found = found + compare_known(machines, app)
        if not is_current(machines, app):
            found.restless += 1
            found.notes.append(_waits(app))
        found = found + compare_wanted(machines, app)
    report.findings = report.findings + found
    return found


def is_rested(machines: Cluster, app: App) -> bool:
    """Whether everything that was begun ended by itself."""

    def over() -> bool:
        machines.mend()
        try:
            return not (app.ledger.runs(states=_OPEN) or app.ledger.jobs())
        except AudienceSyncError:  # PostgreSQL is still on its way back
            return False

    return bool(until(over, REST))


def is_current(machines: Cluster, app: App) -> bool:
    """Whether every list was synced since now, after somebody asked for it."""
    since, asked = datetime.now(UTC), [0.0]

    def over() -> bool:
        if time.monotonic() > asked[0] + ASK_AGAIN:
            machines.ask()
            asked[0] = time.monotonic()
        new = [run for run in app.ledger.runs() if run.planned_at > since]
        done = {(r.audience, r.destination) for r in new if r.state is RunState.CONFIRMED}
        return done >= set(LISTS) and all(run.state not in _OPEN for run in new)

    return bool(until(over, REST)) and is_rested(machines, app)


def _waits(app: App) -> str:
    runs = [f"{r.lease_name} {r.id} {r.state} {r.reason}" for r in app.ledger.runs(states=_OPEN)]
    jobs = [f"{job.id} {job.stage} {job.leases}" for job in app.ledger.jobs()]
    return f"no rest: {runs} {jobs} {app.ledger.leases_held('')}"


def _sum_up(machines: Cluster, app: App, report: Report) -> None:
    report.findings = report.findings + compare_log(machines, app)
    report.runs = len(app.ledger.runs())
    report.batches = sum(line.line.event == "intent" for line in app.ledger.log_lines())


def _short(found: Findings) -> str:
    return "sound" if found.sound else "; ".join(found.notes)
