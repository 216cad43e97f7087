"""From `withdraw` to the partners' acknowledgement, while a full sync runs.

`python bench/withdraw.py --rows 1000000 --destinations 5` fills a list at each of several accounts
of a partner that answers at once, then sends everybody again in one process, and withdraws people
in another meanwhile: by e-mail, and by customer id. It prints the seconds of each.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from audience_sync.testing.project_template import write_demo_secrets

HERE = Path(__file__).resolve().parent
AIM = 10.0  # seconds
PROJECT = """\
project: bench
controller: Bench AB
source:
  url: customers.parquet
  columns: {customer_id: id, email: email, consent: ads_consent, consent_at: ads_consent_at}
guards: {minimum_members: off, maximum_removals: off, maximum_growth: off}
destinations:
"""
DESTINATION = """\
  sink-{n}:
    connector: meta
    base_url: http://127.0.0.1:{port}/meta
    ad_account_id: "1234567890"
    access_token: file:secrets/meta-token
"""


def main() -> None:
    """Make the people, fill the lists, and measure."""
    options = _options()
    with tempfile.TemporaryDirectory() as folder, _sink() as port:
        place = Path(folder)
        _prepare(place, options.rows, options.destinations, "0", port)
        _run(place, "sync")
        _prepare(place, options.rows, options.destinations, options.replaced, port)
        busy = subprocess.Popen([*_PROGRAM, "sync"], cwd=place, stdout=subprocess.DEVNULL)
        time.sleep(options.after)
        found, beside = [], 0
        for number in range(options.times):
            found.append(_withdraw(place, number))
            beside += busy.poll() is None  # it was at work all the time
        busy.wait()
        _run(place, "withdrawals", "--deliver")
    members, destinations = options.rows, options.destinations
    print(f"{members:,} rows, {destinations} destinations")
    print(f"{beside} of {options.times} withdrawals beside the sync, from start to end")
    for how in ("--email", "--customer-id"):
        seconds = [taken for kind, taken, _ in found if kind == how]
        work = [used for kind, _, used in found if kind == how]
        if seconds:
            print(
                f"{how:14} median {statistics.median(seconds):5.1f} s, most {max(seconds):5.1f} s, "
                f"of which {statistics.median(work):4.1f} s on a processor"
            )
    worst = max(taken for _, taken, _ in found)
    print(f"aim under {AIM:.0f} s: {'met' if worst < AIM else 'MISSED'}")


_PROGRAM = (sys.executable, "-m", "audience_sync.cli")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--destinations", type=int, default=5)
    parser.add_argument("--times", type=int, default=4)
    parser.add_argument("--after", type=float, default=8.0, help="seconds after the sync's start")
    parser.add_argument("--replaced", default="0.3", help="share of the people who are new then")
    return parser.parse_args()


def _prepare(place: Path, rows: int, destinations: int, replaced: str, port: int) -> None:
    made = [sys.executable, str(HERE / "people.py"), str(place / "customers.parquet")]
    subprocess.run([*made, "--rows", str(rows), "--replaced", replaced], check=True)
    if not (place / "secrets").exists():
        write_demo_secrets(place, f"http://127.0.0.1:{port}")
    names = [f"sink-{n}" for n in range(destinations)]
    text = PROJECT + "".join(DESTINATION.format(n=n, port=port) for n in range(destinations))
    text += f"audiences:\n  everybody: {{destinations: [{', '.join(names)}]}}\n"
    (place / "audience-sync.yaml").write_text(text)


def _run(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*_PROGRAM, *words], cwd=place, capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 4):
        sys.exit(done.stderr)
    return done


def _withdraw(place: Path, number: int) -> tuple[str, float, float]:
    """Seconds of the whole command, its start included, until every partner acknowledged.

    Then those that it was on a processor, which others do not change.
    """
    how = "--email" if number % 2 == 0 else "--customer-id"
    value = _email(place, number) if how == "--email" else str(1000 + number)
    started, used = time.perf_counter(), _used()
    told = json.loads(_run(place, "withdraw", how, value, "--json").stdout)
    taken, used = time.perf_counter() - started, _used() - used
    left = {state for state in told["destinations"] if state in ("queued", "sent")}
    if left:
        print(f"not acknowledged yet: {told['destinations']} {told['reasons']}")
    return how, taken, used


def _used() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def _email(place: Path, number: int) -> str:
    frame = pl.scan_parquet(place / "customers.parquet").head(10_000)
    kept = frame.filter(
        pl.col("ads_consent") == "granted", pl.col("email").str.contains(r"^[^@\s]+@[^@\s]+$")
    )
    return str(kept.collect()["email"][number])


@contextlib.contextmanager
def _sink() -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ("sandbox", "--discard", "--port", str(port))
    sink = subprocess.Popen([*_PROGRAM, *words], stdout=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.1)
        yield port
    finally:
        sink.terminate()
        sink.wait()


if __name__ == "__main__":
    main()
