"""What beat sends: Celery's own scheduler, driven through days on a clock of ours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
from celery.beat import Scheduler

from audience_sync.settings import Settings
from audience_sync.worker.celery_app import make_celery
from audience_sync.worker.messages import SCHEDULED, SWEEP
from audience_sync.worker.schedule import SWEEP_EVERY, CronInZone, beat_entries, due_since

STOCKHOLM = ZoneInfo("Europe/Stockholm")
NEW_YORK = ZoneInfo("America/New_York")
START = datetime(2026, 10, 24, 12, tzinfo=UTC)  # a day before clocks fall back in Stockholm


def project(**schedules: tuple[str | None, ZoneInfo]) -> Any:
    audiences = {
        name: SimpleNamespace(name=name, schedule=cron, timezone=zone)
        for name, (cron, zone) in schedules.items()
    }
    return SimpleNamespace(audiences=audiences, scheduled=audiences, decisions=None)


PROJECT = project(
    vip=("30 2 * * *", STOCKHOLM),
    lapsed=("30 2 * * *", STOCKHOLM),
    readers=("30 2 * * *", NEW_YORK),
    frequent=("*/10 * * * *", STOCKHOLM),
    by_hand=(None, STOCKHOLM),
)


class Driven(Scheduler):  # type: ignore[misc]  # celery has no types
    """Celery's scheduler, which writes down what it would send."""

    producer = None

    def __init__(self, app: Any, clock: Clock) -> None:
        self.clock = clock
        self.sent: list[tuple[datetime, str, Any]] = []
        super().__init__(app)

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        self.sent.append((self.clock.time, entry.task, entry.args[0] if entry.args else None))

    def run_until(self, end: datetime) -> None:
        while self.clock.time < end:
            wait = self.tick()
            self.clock.time += timedelta(seconds=max(wait, 0.01))


class Clock:
    def __init__(self, time: datetime) -> None:
        self.time = time

    def __call__(self) -> datetime:
        return self.time


@pytest.fixture
def celery(tmp_path: Any) -> Any:
    return make_celery(Settings(project=tmp_path, broker_url="redis://127.0.0.1:1/0"))


def beat(celery: Any, clock: Clock) -> Driven:
    celery.now = clock
    celery.conf.beat_schedule = beat_entries(PROJECT, clock)
    return Driven(celery, clock)


def syncs(driven: Driven, *names: str) -> list[datetime]:
    return [when for when, task, names_sent in driven.sent if names_sent == list(names)]


def test_every_due_time_sends_one_message(celery: Any) -> None:
    """Two days over the end of summer time: once a day in each zone, or every ten minutes."""
    driven = beat(celery, Clock(START))

    driven.run_until(START + timedelta(days=2, seconds=1))

    assert [f"{when:%d %H:%M}" for when in syncs(driven, "vip", "lapsed")] == [
        "25 00:30",
        "26 01:30",
    ]
    assert [f"{when:%d %H:%M}" for when in syncs(driven, "readers")] == ["25 06:30", "26 06:30"]
    minutes = syncs(driven, "frequent")
    assert len(minutes) == 2 * 24 * 6
    assert max(when.second for when in minutes) == 0


def test_audiences_due_together_share_one_message(celery: Any) -> None:
    """One pass over the source serves them; one without a schedule is never sent for."""
    entries = beat_entries(PROJECT, Clock(START))

    sent_for = [entry["args"][0] for entry in entries.values() if entry["task"] == SCHEDULED]
    assert sorted(sent_for) == [["frequent"], ["readers"], ["vip", "lapsed"]]


def test_the_sweep_is_sent_at_once_and_then_regularly(celery: Any) -> None:
    """Whatever stopped beat may have stopped workers, and a message of it never piles up."""
    driven = beat(celery, Clock(START))

    driven.run_until(START + timedelta(seconds=SWEEP_EVERY * 3.5))

    sweeps = [when for when, task, _ in driven.sent if task == SWEEP]
    assert len(sweeps) == 4
    assert sweeps[0] - START < timedelta(seconds=1)
    entry = celery.conf.beat_schedule["sweep"]
    assert entry["options"]["expires"] == SWEEP_EVERY


def test_an_untaken_message_ends_with_its_period(celery: Any) -> None:
    """A worker that comes back after days finds one message of a schedule, not one of each day."""
    entries = beat_entries(PROJECT, Clock(START - timedelta(days=5)))

    day = 24 * 3600
    assert entries["sync 30 2 * * * Europe/Stockholm"]["options"]["expires"] == day
    assert entries["sync */10 * * * * Europe/Stockholm"]["options"]["expires"] == 600


def test_beats_entries_are_plain_words(celery: Any) -> None:
    """What beat sends is JSON: names of audiences and nothing else."""
    entries = beat_entries(PROJECT, Clock(START))

    for entry in entries.values():
        orjson.dumps([entry["task"], entry["args"], entry["options"]])


def test_due_since_a_moment() -> None:
    """Whether another sync became due meanwhile; never for audiences without a schedule."""
    before, after = START, START + timedelta(hours=13)

    assert due_since(PROJECT, "vip", before, after)
    assert not due_since(PROJECT, "vip", before, before + timedelta(hours=12))
    assert not due_since(PROJECT, "by_hand", before, after)
    assert not due_since(PROJECT, "gone", before, after)


def test_schedules_are_equal_by_what_they_say() -> None:
    """Celery looks every few seconds whether its schedules have changed; ours have not."""
    one = CronInZone("0 3 * * *", STOCKHOLM)

    assert one == CronInZone("0 3 * * *", STOCKHOLM)
    assert hash(one) == hash(CronInZone("0 3 * * *", STOCKHOLM))
    assert one != CronInZone("0 3 * * *", NEW_YORK)
    assert one != "0 3 * * *"
    assert "0 3 * * *" in repr(one)
