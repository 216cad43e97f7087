"""`status` tells when audiences are due, on the clocks of their schedule, and what was skipped."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from audience_sync.cli.start import run as command
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.work import Served
from audience_sync.testing.project_template import write_demo_secrets

PROJECT = """\
project: shop
controller: Shop AB
timezone: Europe/Stockholm
source:
  url: customers.csv
  columns: {customer_id: id, email: email, consent: consent, consent_at: at}
destinations:
  meta-se:
    connector: meta
    base_url: http://127.0.0.1:8600/meta
    ad_account_id: "1234567890"
    access_token: file:secrets/meta-token
audiences:
  vip: {destinations: [meta-se], schedule: "0 3 * * *"}
  by-hand: {destinations: [meta-se]}
"""
NOTE = "meta-se was skipped: run r1 is still being delivered"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "audience-sync.yaml").write_text(PROJECT)
    write_demo_secrets(tmp_path, "http://127.0.0.1:8600")
    monkeypatch.chdir(tmp_path)
    handlers, level = list(logging.getLogger().handlers), logging.getLogger().level
    yield tmp_path
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)


def skip(folder: Path) -> None:
    """What a worker notes when the list was still being delivered."""
    with Ledger.open(f"sqlite:///{folder}/.audience-sync/ledger.sqlite") as ledger:
        moment = datetime(2026, 11, 22, 2, tzinfo=UTC)
        served = Served(
            audience="vip",
            rule="0 3 * * * Europe/Stockholm",
            due_at=moment,
            served_at=moment,
            note=NOTE,
        )
        ledger.save_served(served, ledger.take_lease("schedule vip", "a worker", 60))


def test_the_next_time_has_its_zone(capsys: pytest.CaptureFixture[str]) -> None:
    """As the clocks on the wall will show it, with the zone's name; none for one by hand."""
    assert command(["status"]) == 0
    told = capsys.readouterr().out
    [line] = [line for line in told.splitlines() if "is due" in line]
    assert line.startswith("vip is due ")
    assert line.endswith(" 03:00 Europe/Stockholm")
    assert "last time" not in told


def test_a_time_that_nobody_served_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a beat nothing is ever planned, and `status` is where people look."""
    text = (folder / "audience-sync.yaml").read_text().replace("0 3 * * *", "* * * * *")
    (folder / "audience-sync.yaml").write_text(text)
    command(["status"])
    due = datetime(2026, 3, 1, 2, tzinfo=UTC)
    with Ledger.open(f"sqlite:///{folder}/.audience-sync/ledger.sqlite") as ledger:
        known = Served(audience="vip", rule="* * * * * Europe/Stockholm", due_at=due, served_at=due)
        lease = ledger.take_lease("schedule vip", "a worker", 60)
        ledger.save_served(known, lease)
        ledger.release_lease(lease)
    capsys.readouterr()

    command(["status"])

    told = " ".join(capsys.readouterr().out.split())
    assert "vip is due since Sun 01 Mar 03:01 Europe/Stockholm; is `audience-sync beat`" in told
    assert "overdue" in told


def test_what_was_skipped_can_be_seen(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The reason stands in `status`, for people and as JSON."""
    command(["status"])
    skip(folder)
    capsys.readouterr()

    command(["status"])
    assert f"vip, last time: {NOTE}" in " ".join(capsys.readouterr().out.split())
    command(["status", "--json"])
    places = {place["audience"]: place for place in orjson.loads(capsys.readouterr().out)["lists"]}
    assert places["vip"]["schedule_note"] == NOTE
    assert places["vip"]["timezone"] == "Europe/Stockholm"
    assert places["vip"]["served_at"].startswith("2026-11-22T02:00")
    assert places["by-hand"]["next_run_at"] is None
