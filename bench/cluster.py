"""What two workers do that one cannot, and how much memory a worker takes; in one run.

`python bench/cluster.py --rows 1000000` starts Redis, PostgreSQL and simulated partners, lets one
worker and then two deliver the same members to a partner that answers slowly, and prints the
ratio; then a worker plans and delivers that many customers, and its peak memory is printed.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

import polars as pl  # noqa: E402 - as below
from chaos.cluster import Cluster, cluster  # noqa: E402 - the tests' harness, found only now
from chaos.mortal import descendants, until  # noqa: E402 - the same
from chaos.shop import Shop  # noqa: E402 - the same

from audience_sync.ledger.records.runs import Run, RunState  # noqa: E402 - the same

SLOW = 250  # milliseconds that the partner takes to answer
PEOPLE = 8_000  # in the race of one worker with two
UPLOADS = 32  # at a time, as far as the partner is concerned
ROWS = 1_000_000
SPLIT = 250_000  # customers that a worker reads at once
PATIENCE = 1_800.0  # seconds
LIMIT = 1024.0  # MB that a worker may take
WANTED = 1.7  # times as fast with two workers


def main() -> int:
    """Measure, print, and say by the exit code whether the targets were met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    one, two = delivery(1), delivery(2)
    ratio = one / two
    print(f"delivery by one worker:   {one:8.1f} s")
    print(f"delivery by two workers:  {two:8.1f} s, {ratio:.2f} times as fast")
    seconds, peak = memory(asked.rows)
    print(f"{asked.rows:,} customers planned and delivered in {seconds:.0f} s by two workers")
    print(f"peak memory of one task's process: {peak:.0f} MB")
    met = ratio >= WANTED and peak <= LIMIT
    print("targets met" if met else f"targets missed: {WANTED} times, {LIMIT:.0f} MB")
    if asked.json:
        told = {"one": one, "two": two, "ratio": ratio, "rows": asked.rows, "megabytes": peak}
        asked.json.write_text(json.dumps(told, indent=1))
    return 0 if met else 1


def delivery(workers: int) -> float:
    """Seconds from the first batch to the last, once the workers are warm."""
    with tempfile.TemporaryDirectory() as folder:
        shop = Shop(Path(folder), PEOPLE, random.Random(1))  # noqa: S311 - no secret
        with cluster(Path(folder), shop, workers=workers, concurrency=1, parallel=UPLOADS) as made:
            _synced(made)  # the processes have loaded everything after that
            shop.readdress()
            made.control("latency", milliseconds=SLOW)
            run = _synced(made)
            assert run.started_at is not None  # noqa: S101 - a run that has ended
            assert run.finished_at is not None  # noqa: S101 - the same
            return (run.finished_at - run.started_at) / timedelta(seconds=1)


def memory(rows: int) -> tuple[float, float]:
    """Seconds, and the largest resident memory of a process in MB, for a base of so many."""
    with tempfile.TemporaryDirectory() as folder:
        shop = Shop(Path(folder), 1, random.Random(1))  # noqa: S311 - no secret
        _many(Path(folder) / "customers.parquet", rows)
        made = cluster(
            Path(folder), shop, concurrency=1, parallel=UPLOADS, members=1_000, split=SPLIT
        )
        with made as machines:
            begun = time.monotonic()
            run = _synced(machines)
            if run.delta.get("additions", 1) == 0:
                raise SystemExit("nothing was delivered")
            return time.monotonic() - begun, max(_peaks(machines))


def _many(path: Path, rows: int) -> None:
    """So many customers of whom all have granted."""
    number = pl.int_range(rows, eager=True).cast(pl.String)
    fixed = {"idfa": None, "consent": "granted", "consent_at": "2026-01-01T00:00:00+00:00"}
    fixed |= {"account_status": "active", "market": "SE"}
    frame = pl.DataFrame({"customer_id": number}).with_columns(
        email="canary" + pl.col("customer_id") + "@canary.example",
        phone="+4670" + pl.col("customer_id").str.zfill(7),
        **{name: pl.lit(text, pl.String) for name, text in fixed.items()},
    )
    frame.write_parquet(path, row_group_size=SPLIT)


def _peaks(machines: Cluster) -> list[float]:
    """Of every process of the workers that still lives, as the kernel counts it."""
    numbers = [one.number for one in machines.workers if one.number]
    family = [*numbers, *(child for number in numbers for child in descendants(number))]
    lines = [
        line
        for number in family
        for line in Path(f"/proc/{number}/status").read_text().splitlines()
    ]
    return [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")]


def _synced(machines: Cluster) -> Run:
    """The run of everybody to the webhook, asked for now, once it has ended."""
    with machines.open() as app:
        before = {run.id for run in app.ledger.runs()}
        machines.ask(["everybody"], "webhook")

        def ended() -> Any:
            runs = app.ledger.runs(states=[RunState.CONFIRMED])
            return [run for run in runs if run.id not in before]

        found = until(ended, PATIENCE)
    if not found:
        raise SystemExit(f"no run ended\n{machines.workers[0].log[-2000:]}")
    newest: Run = found[0]
    return newest


if __name__ == "__main__":
    sys.exit(main())
