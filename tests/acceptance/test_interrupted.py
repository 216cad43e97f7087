"""Killed or stopped at any moment: the rerun ends in the same membership, and the log is sound."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing

import pytest
from shop import PATIENCE, Shop, expected, people

SEVERAL_BATCHES = 2_500  # customers
SMALL_REQUESTS = """
from dataclasses import replace
from audience_sync.cli import main
from connectors.meta import MetaConnector
MetaConnector.limits = replace(MetaConnector.limits, members_per_request=200)
main()
"""  # the first goes alone, then four at a time: most are still to come when the first is answered
STARTED = """
print("started", flush=True)  # what befalls Python itself before is not our doing
from audience_sync.cli import main
main()
"""
INTERRUPTED_WHILE_LOADING = """
import os, signal, sys

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background process ignores it

class Finder:
    def find_spec(self, name, *_more):
        if name == "orjson":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
from audience_sync.cli import main
main()
"""
LATE = 3.0  # seconds that an answer takes, but for the first: there are three rounds to be met in


@pytest.fixture
def busy_shop(open_shop: Callable[..., Shop]) -> Shop:
    """A shop whose partner is slow, so that a delivery can be met in its middle."""
    shop = open_shop(people(SEVERAL_BATCHES), destinations="[meta-se]")
    shop.fault("timeout", times=None, after=1, seconds=LATE)
    return shop


def _in_the_middle(shop: Shop, process: subprocess.Popen[str]) -> None:
    """Wait until some upload was answered and another one is on its way."""
    end = time.monotonic() + PATIENCE
    while True:
        events = _events(shop)
        if events.count("outcome") and events.count("intent") > events.count("outcome"):
            return
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "no upload was met in its middle"
        time.sleep(0.01)  # the simulated partner runs in this process and needs its turn


def _events(shop: Shop) -> list[str]:
    """What the log has by now, read beside the process that writes it."""
    place = f"file:{shop.folder}/.audience-sync/ledger.sqlite?mode=ro"
    try:
        with closing(sqlite3.connect(place, uri=True, timeout=0.1)) as ledger:
            return [event for (event,) in ledger.execute("SELECT event FROM transfer_log")]
    except sqlite3.OperationalError:
        return []


def test_a_killed_delivery_goes_on(busy_shop: Shop) -> None:
    """SIGKILL between intent and answer: sent again, told as unknown, no member lost (L5, L6)."""
    process = busy_shop.started("sync", "everyone", program=("-c", SMALL_REQUESTS))
    _in_the_middle(busy_shop, process)
    process.kill()
    process.communicate()
    busy_shop.clear_faults()
    interrupted = busy_shop.must("runs", "--json").json["runs"][0]
    assert interrupted["state"] == "delivering"
    planned = busy_shop.run("plan", "everyone")
    assert planned.code == 2
    assert "resume" in planned.out

    busy_shop.must("resume", interrupted["id"])
    assert busy_shop.held() == expected(people(SEVERAL_BATCHES))
    events = [entry["line"]["event"] for entry in busy_shop.must("log", "--json").json["lines"]]
    assert "unknown" in events
    assert busy_shop.must("log", "verify").code == 0
    again = busy_shop.must("sync", "everyone", "--json").json["outcomes"][0]
    assert again["reached"] == "unchanged"


def test_ctrl_c_stops_after_the_requests_under_way(busy_shop: Shop) -> None:
    """Exit 130, the run is named, and what was answered is not sent again."""
    process = busy_shop.started("sync", "everyone", program=("-c", SMALL_REQUESTS))
    _in_the_middle(busy_shop, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, (out, err)
    assert "Traceback" not in out + err
    assert "audience-sync resume r" in err, (err, _events(busy_shop))
    busy_shop.clear_faults()
    busy_shop.must("sync", "everyone")
    assert busy_shop.held() == expected(people(SEVERAL_BATCHES))
    lines = [entry["line"] for entry in busy_shop.must("log", "--json").json["lines"]]
    answered = [line["batch"] for line in lines if line["event"] == "outcome" and line["accepted"]]
    assert sorted(answered) == sorted(set(answered))


@pytest.mark.parametrize("moment", [0.05, 0.4, 0.7, 1.0])
def test_ctrl_c_at_any_moment(open_shop: Callable[..., Shop], moment: float) -> None:
    """Whatever was under way: no traceback, nothing left behind that hinders the next sync."""
    rows = people(9_000)
    shop = open_shop(rows, destinations="[meta-se]")
    process = shop.started("sync", "everyone", program=("-c", STARTED))
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    try:
        out, err = process.communicate(timeout=moment)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode in (130, -signal.SIGINT, 0), (out, err)
        if process.returncode == 130:
            assert "Traceback" not in out + err
    shop.must("sync", "everyone")
    assert shop.held() == expected(rows)
    assert shop.must("log", "verify").code == 0


@pytest.mark.parametrize("module", ["orjson", "connectors.meta"])
def test_ctrl_c_while_the_command_or_its_project_is_loaded(
    open_shop: Callable[..., Shop], module: str
) -> None:
    """Nothing has begun, so the process ends at once, and says so in one sentence."""
    program = ("-c", INTERRUPTED_WHILE_LOADING.replace("orjson", module))
    process = open_shop().started("sync", program=program)
    out, err = process.communicate(timeout=PATIENCE)
    assert (out, err.strip()) == ("", "audience-sync: interrupted; nothing was sent")
    assert process.returncode == -signal.SIGINT
