"""The whole command, beside two services written by hand for the same job, in one run.

`python bench/sync.py --rows 1000000` makes customers in Parquet and in SQLite, starts a sink that
answers like Meta, and runs each contestant three times, each time in a process of its own: the
first load, again without a change, again after 2 % of the people were replaced. It prints
seconds, processor seconds and memory (medians), says whether the targets were met, and with
`--json` writes all of it. `--stages` says where our own time goes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PHASES = ("first load", "no change", "2 % churn")
REPLACED = 0.02
CHECKED = 50_000  # rows of the comparison of what each leaves on the list
OURS, USUAL, CAREFUL = "audience-sync", "usual", "careful"
FORMATS = {"parquet": "Parquet", "db": "SQLite"}
# How many times faster we want to be: phase → (than usual, than careful).
WANTED = {"first load": (8.0, 4.0), "2 % churn": (5.0, 4.0)}
WANTED_MEMORY = 1 / 3  # of the peers', from so many rows on
MEMORY_ROWS = 5_000_000
FLAT = 0.20  # how much memory may grow from the smallest to the largest number of rows

PROJECT = """\
project: bench
controller: Bench AB
source:
  url: {url}
{table}
  columns:
    customer_id: id
    email: email
{phones}    consent: ads_consent
    consent_at: ads_consent_at
destinations:
  sink:
    connector: meta
    base_url: http://127.0.0.1:{port}
    ad_account_id: "1"
    access_token: file:token
audiences:
  everybody:
    title: Everybody who may be sent
    destinations: [sink]
"""


@dataclass(frozen=True)
class Measured:
    """One process: seconds on the clock and of processors, peak memory, what the sink saw."""

    seconds: float
    cpu: float
    megabytes: float
    requests: int
    rows: int
    uploaded: int


class Sink:
    """The sink in a process of its own."""

    def __init__(self, *flags: str) -> None:
        command = [sys.executable, str(HERE / "sink.py"), *flags]
        self._child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._child.stdout is not None  # noqa: S101 - it was asked for
        self.port = int(self._child.stdout.readline())

    def counts(self) -> dict[str, Any]:
        """What arrived since we asked last."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/counts") as answer:
            return dict(json.load(answer))

    def stop(self) -> None:
        """Stop it."""
        self._child.terminate()
        self._child.wait()


@contextlib.contextmanager
def running_sink(*flags: str) -> Iterator[Sink]:
    """A sink that is stopped at the end."""
    sink = Sink(*flags)
    try:
        yield sink
    finally:
        sink.stop()


def make(path: Path, rows: int, replaced: float, *, phones: bool) -> None:
    """Customers, in a process of their own so that this one stays small."""
    command = [sys.executable, str(HERE / "people.py"), str(path), f"--rows={rows}"]
    command += [f"--replaced={replaced}", *(["--phones"] if phones else [])]
    subprocess.run(command, check=True)
    with path.open("rb") as file:
        os.fsync(file.fileno())


def prepare(folder: Path, suffix: str, port: int, *, phones: bool) -> None:
    """A project folder of ours, and nothing known of any contestant."""
    shutil.rmtree(folder / ".audience-sync", ignore_errors=True)
    for state in folder.glob("*.state"):
        state.unlink()
    database = suffix == "db"
    text = PROJECT.format(
        url=f"sqlite:///now.{suffix}" if database else f"now.{suffix}",
        table="  table: customers" if database else "",
        phones="    phone: phone\n    country: country\n" if phones else "",
        port=port,
    )
    (folder / "audience-sync.yaml").write_text(text)
    (folder / "token").write_text("made-up")


def command_of(contestant: str, folder: Path, suffix: str, port: int) -> list[str]:
    """How a contestant is started."""
    if contestant == OURS:
        return [sys.executable, "-m", "audience_sync.cli", "sync"]
    script = HERE / "peers" / f"{contestant}.py"
    url = f"http://127.0.0.1:{port}/v26.0/{contestant}/users"
    return [
        sys.executable,
        str(script),
        f"now.{suffix}",
        url,
        str(folder / f"{contestant}.state"),
    ]


def measure(command: list[str], folder: Path, sink: Sink) -> Measured:
    """Run a process to its end; its resources are told by the kernel."""
    sink.counts()
    environment = os.environ | {"PYTHONPATH": str(HERE.parent)}
    with (folder / "output").open("w+") as output:
        started = time.perf_counter()
        child = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, used = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            output.seek(0)
            sys.exit(f"{command} failed:\n{output.read()}")
    seen = sink.counts()
    return Measured(
        seconds,
        used.ru_utime + used.ru_stime,
        used.ru_maxrss / 1024,
        seen["requests"],
        seen["rows"],
        seen["bytes"],
    )


def phases(folder: Path, suffix: str) -> Iterator[str]:
    """The three phases; the customers change before the last."""
    for phase in PHASES:
        shown = folder / f"{'after' if phase == PHASES[-1] else 'before'}.{suffix}"
        link = folder / f"now.{suffix}"
        link.unlink(missing_ok=True)
        link.hardlink_to(shown)
        yield phase


def check(folder: Path, contestants: list[str]) -> None:
    """Every contestant must leave the same hashes on its list, after each phase."""
    with running_sink("--keep") as sink:
        for suffix, title in FORMATS.items():
            make(folder / f"before.{suffix}", CHECKED, 0.0, phones=False)
            make(folder / f"after.{suffix}", CHECKED, REPLACED, phones=False)
            prepare(folder, suffix, sink.port, phones=False)
            for phase in phases(folder, suffix):
                for contestant in contestants:
                    command = command_of(contestant, folder, suffix, sink.port)
                    measure(command, folder, sink)
                lists = sink.counts()["lists"]
                if len({tuple(found) for found in lists.values()}) != 1:
                    sys.exit(f"{title}, {phase}: the contestants disagree: {lists}")
            left = next(iter(lists.values()))[0]
            print(f"{title}: all {len(lists)} leave the same {left:,} hashes, of {CHECKED:,} rows")
            for path in folder.glob(f"*.{suffix}"):
                path.unlink()


def compare(
    folder: Path, suffix: str, rows: int, contestants: list[str], rounds: int, *, phones: bool
) -> dict[str, dict[str, list[Measured]]]:
    """Interleaved rounds of all phases and contestants: phase → contestant → measurements."""
    make(folder / f"before.{suffix}", rows, 0.0, phones=phones)
    make(folder / f"after.{suffix}", rows, REPLACED, phones=phones)
    found: dict[str, dict[str, list[Measured]]] = {
        phase: {name: [] for name in contestants} for phase in PHASES
    }
    with running_sink() as sink:
        for _ in range(rounds):
            prepare(folder, suffix, sink.port, phones=phones)
            for phase in phases(folder, suffix):
                for name in contestants:
                    command = command_of(name, folder, suffix, sink.port)
                    found[phase][name].append(measure(command, folder, sink))
    for path in folder.glob(f"*.{suffix}"):
        path.unlink()
    return found


def stages(folder: Path, suffix: str, rows: int, *, phones: bool) -> dict[str, Any]:
    """Print where our own time goes, phase by phase."""
    make(folder / f"before.{suffix}", rows, 0.0, phones=phones)
    make(folder / f"after.{suffix}", rows, REPLACED, phones=phones)
    report: dict[str, Any] = {}
    with running_sink() as sink:
        prepare(folder, suffix, sink.port, phones=phones)
        for phase in phases(folder, suffix):
            told = folder / "stages.json"
            measure([sys.executable, str(HERE / "stages.py"), str(told)], folder, sink)
            report[phase] = json.loads(told.read_text())
    print(f"\nWhere the time goes: {FORMATS[suffix]}, {rows:,} customers, seconds")
    print(f"{'':24}" + "".join(f"{phase:>14}" for phase in report))
    _stage_lines("on the clock", report, lambda told: told["whole"])
    _stage_lines("  start", report, lambda told: told["start"])
    for name in ("survey", "compare", "deliver"):
        _stage_lines(f"  {name}", report, lambda told, name=name: told["phases"].get(name, 0.0))
    print("on all threads")
    seen = dict.fromkeys(name for told in report.values() for name in told["stages"])
    for name in seen:
        _stage_lines(f"  {name}", report, lambda told, name=name: told["stages"].get(name, 0.0))
    for path in folder.glob(f"*.{suffix}"):
        path.unlink()
    return report


def _stage_lines(name: str, report: dict[str, Any], of: Callable[..., float]) -> None:
    print(f"{name:24}" + "".join(f"{of(told):>14.2f}" for told in report.values()))


def median(measured: list[Measured]) -> Measured:
    """The median of each figure."""
    columns = zip(*(asdict(one).values() for one in measured), strict=True)
    return Measured(*(statistics.median(column) for column in columns))  # type: ignore[arg-type] # numbers all


def show(title: str, rows: int, found: dict[str, dict[str, list[Measured]]]) -> dict[str, Any]:
    """Print one table; its figures."""
    print(f"\n{title}, {rows:,} customers")
    print(
        f"{'':12}{'':16}{'seconds':>9}{'ratio':>7}{'CPU s':>8}{'ratio':>7}{'MB':>7}{'ratio':>7}"
        f"{'requests':>10}{'hashes':>12}"
    )
    report: dict[str, Any] = {}
    for phase, by_name in found.items():
        ours = median(by_name[OURS])
        for name, measured in by_name.items():
            one = median(measured)
            ratios = {
                "seconds": one.seconds / ours.seconds,
                "cpu": one.cpu / ours.cpu,
                "memory": one.megabytes / ours.megabytes,
            }
            print(
                f"{phase if name == OURS else '':12}{name:16}"
                f"{one.seconds:>9.2f}{ratios['seconds']:>6.1f}x"
                f"{one.cpu:>8.2f}{ratios['cpu']:>6.1f}x"
                f"{one.megabytes:>7.0f}{ratios['memory']:>6.1f}x"
                f"{one.requests:>10,.0f}{one.rows:>12,.0f}"
            )
            report.setdefault(phase, {})[name] = asdict(one) | {"ratios": ratios}
            report[phase][name]["all"] = [asdict(single) for single in measured]
    return report


def judge(report: dict[str, Any]) -> list[str]:
    """Each target and whether it was met."""
    told = []
    for title, by_rows in report.items():
        for rows, table in by_rows.items():
            if USUAL not in table[PHASES[0]]:
                continue
            for phase, limits in WANTED.items():
                for peer, limit in zip((USUAL, CAREFUL), limits, strict=True):
                    ratio = table[phase][peer]["ratios"]["seconds"]
                    told.append(
                        _told(
                            ratio >= limit,
                            f"{title}, {int(rows):,}, {phase}: {ratio:.1f} times as fast as "
                            f"{peer}, wanted {limit:.0f}",
                        )
                    )
            if int(rows) >= MEMORY_ROWS:
                for phase in PHASES:
                    least = min(table[phase][peer]["megabytes"] for peer in (USUAL, CAREFUL))
                    share = table[phase][OURS]["megabytes"] / least
                    told.append(
                        _told(
                            share <= WANTED_MEMORY,
                            f"{title}, {int(rows):,}, {phase}: memory is {share:.2f} of the "
                            "smaller peer's, wanted 0.33",
                        )
                    )
        if len(by_rows) > 1:
            told += _flat(title, by_rows)
    return told


def _flat(title: str, by_rows: dict[str, Any]) -> list[str]:
    first, last = min(by_rows, key=int), max(by_rows, key=int)
    told = []
    for phase in PHASES:
        small, large = (by_rows[rows][phase][OURS]["megabytes"] for rows in (first, last))
        grown = large / small - 1
        told.append(
            _told(
                grown <= FLAT,
                f"{title}, {phase}: memory grows by {grown:.0%} from {int(first):,} to "
                f"{int(last):,} customers, wanted at most {FLAT:.0%}",
            )
        )
    return told


def _told(met: bool, what: str) -> str:
    return f"{'met    ' if met else 'MISSED '} {what}"


def machine() -> dict[str, str | int]:
    """What the figures were measured on."""
    packages = ("polars", "polars-hash", "numpy", "pyarrow", "requests", "orjson", "cryptography")
    return {
        "processors": os.cpu_count() or 0,
        "machine": platform.machine(),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def main() -> None:
    """Check, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--formats", nargs="+", choices=list(FORMATS), default=list(FORMATS))
    parser.add_argument("--alone", action="store_true", help="without the peers")
    parser.add_argument("--phones", action="store_true", help="phones too; without the peers")
    parser.add_argument("--stages", action="store_true", help="where our own time goes")
    parser.add_argument("--folder", type=Path, help="where to work; default: a temporary folder")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    contestants = [OURS] if asked.alone or asked.phones or asked.stages else [OURS, USUAL, CAREFUL]
    report: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=asked.folder) as made:
        folder = Path(made)
        if len(contestants) > 1:
            check(folder, contestants)
        for suffix in asked.formats:
            for rows in asked.rows:
                if asked.stages:
                    report.setdefault(FORMATS[suffix], {})[str(rows)] = stages(
                        folder, suffix, rows, phones=asked.phones
                    )
                    continue
                found = compare(
                    folder, suffix, rows, contestants, asked.rounds, phones=asked.phones
                )
                title = FORMATS[suffix]
                report.setdefault(title, {})[str(rows)] = show(title, rows, found)
    told = [] if asked.stages else judge(report)
    print("\n" + "\n".join(told))
    if asked.json:
        whole = {"machine": machine(), "figures": report, "targets": told}
        asked.json.write_text(json.dumps(whole, indent=2) + "\n")


if __name__ == "__main__":
    main()
