"""The tasks of withdrawals: their queue, when they come back, and what they tell of deadlines."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from pipeline_world import granted
from withdrawn_world import WithdrawnWorld, written

from audience_sync.cli.withdrawals import clock_object
from audience_sync.connector import Receipt
from audience_sync.discretion import Discretion
from audience_sync.errors import TemporaryPartnerError
from audience_sync.ledger.records.work import Job
from audience_sync.ledger.withdrawal_deliveries import WithdrawalState
from audience_sync.runs.clock import clocked, overdue_lines
from audience_sync.runs.lane import Worked
from audience_sync.runs.merging import Merger
from audience_sync.runs.watch import Watch
from audience_sync.runs.withdrawal_requests import Received
from audience_sync.settings import Settings
from audience_sync.withdrawing import Withdrawing
from audience_sync.worker import tasks
from audience_sync.worker.celery_app import URGENT, make_celery
from audience_sync.worker.messages import LONGEST_WAIT, QUEUE_OF, SWEEP, WATCH, WITHDRAW
from audience_sync.worker.schedule import WATCH_EVERY, beat_entries

if TYPE_CHECKING:
    from audience_sync.app import App

PEOPLE = [granted(f"c{n}", email=f"p{n}@example.com") for n in range(4)]
HOUR = timedelta(hours=1)


@dataclass
class Withdrawals:
    """Answers as told, and remembers what it was asked."""

    worked: Worked = field(default_factory=lambda: Worked(open=0))
    received: Received | None = None
    asked: list[str] = field(default_factory=list)

    def deliver(self, _patience: float) -> Worked:
        self.asked.append("deliver")
        return self.worked

    def look(self) -> Received | None:
        self.asked.append("look")
        return self.received

    def warn(self) -> None:
        self.asked.append("warn")


class Office:
    """Where tasks are called as Celery calls them, and what they send is kept."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, world: WithdrawnWorld) -> None:
        self.celery = make_celery(Settings(broker_url="redis://127.0.0.1:1/0"))
        tasks.register(self.celery)
        self.sent: list[tuple[str, str, float | None]] = []
        monkeypatch.setattr(self.celery, "send_task", self._keep)
        self._monkeypatch, self.world = monkeypatch, world

    def _keep(self, name: str, args: list[Any], **options: Any) -> None:
        self.sent.append((name, options["queue"], options.get("countdown")))

    def call(self, name: str, withdrawals: Any) -> None:
        """Run a task on this world's ledger."""
        none: tuple[list[Any], list[Job]] = ([], [])
        app = SimpleNamespace(
            withdrawals=withdrawals,
            discretion=Discretion(None),
            ledger=self.world.ledger,
            now=self.world.now,
            fanout=SimpleNamespace(wake=[], stalled=lambda: none),
            sweep=list,
            overdue=list,
        )

        @contextmanager
        def opened() -> Iterator[Any]:
            yield app

        self._monkeypatch.setattr(tasks, "_opened", opened)
        task = self.celery.tasks[name]
        task.push_request(delivery_info={}, retries=0)
        try:
            task.run()
        finally:
            task.pop_request()


@pytest.fixture
def world(tmp_path: Path) -> WithdrawnWorld:
    """Four people on a list, whose refusals can be looked for."""
    world = WithdrawnWorld(tmp_path)
    world.partners = frozenset({"memory", "other"})
    world.decisions = []
    world.write(PEOPLE)
    return world


@pytest.fixture
def office(monkeypatch: pytest.MonkeyPatch, world: WithdrawnWorld) -> Office:
    monkeypatch.chdir(world.folder)
    return Office(monkeypatch, world)


def withdrawing(world: WithdrawnWorld) -> Withdrawing:
    """What a worker has at hand, on this world."""
    decisions = world.selection().decisions
    common: dict[str, Any] = {"ledger": world.ledger, "now": world.now}
    merger = Merger(
        location=world.location,
        keyring=world.keyring,
        holder="worker:1",
        alive=world.alive,
        **common,
    )
    watch = None
    if decisions is not None:
        watch = Watch(decisions=decisions, recorder=world.recorder(), **common)
    return Withdrawing(
        recorder=world.recorder(),
        lane=world.lane(),
        watch=watch,
        merger=merger,
        deadline=HOUR.total_seconds,
        base=world.folder,
        now=world.now,
    )


def test_withdrawals_have_a_queue_of_their_own() -> None:
    """A worker that takes nothing else is free for them, whatever the others do."""
    assert [name for name, queue in QUEUE_OF.items() if queue == URGENT] == [WITHDRAW, WATCH]


def test_what_the_watch_finds_is_sent_at_once(office: Office, world: WithdrawnWorld) -> None:
    """By a message in that queue; without a refusal there is none."""
    world.ran()
    office.call(WATCH, withdrawing(world))
    assert office.sent == []
    assert world.decisions is not None
    row = {"customer_id": "c1", "decision": "withdrawn", "decided_at": world.time.isoformat()}
    world.decisions.append(row)
    world.write(PEOPLE)
    office.call(WATCH, withdrawing(world))
    assert office.sent == [(WITHDRAW, URGENT, None)]
    office.call(WITHDRAW, withdrawing(world))
    assert office.sent[1:] == []
    assert not world.partner.holds & written("p1@example.com", None)


def test_beat_looks_where_there_are_decisions_only(world: WithdrawnWorld) -> None:
    """Every few minutes."""
    project: Any = SimpleNamespace(scheduled={}, decisions=None)
    assert "watch" not in beat_entries(project)
    project.decisions = world.selection().decisions
    entry = beat_entries(project)["watch"]
    assert entry["task"] == WATCH
    assert entry["schedule"] == timedelta(seconds=WATCH_EVERY)
    assert entry["options"]["queue"] == URGENT


def test_one_message_comes_back_for_what_is_open(office: Office) -> None:
    """However many withdrawals and workers asked for it; a long wait is left to the sweep."""
    waits = Withdrawals(worked=Worked(open=3, waiting=3, again=20.0))
    office.call(WITHDRAW, waits)
    office.call(WITHDRAW, waits)
    [(name, queue, countdown)] = office.sent
    assert (name, queue) == (WITHDRAW, URGENT)
    assert countdown is not None
    assert 20 < countdown < 25


@pytest.mark.parametrize(
    "worked", [Worked(open=0, again=1.0), Worked(open=1, again=LONGEST_WAIT + 1), Worked(open=1)]
)
def test_nobody_comes_back_in_vain(office: Office, worked: Worked) -> None:
    """Where nothing is open, or the sweep comes sooner than the message would."""
    office.call(WITHDRAW, Withdrawals(worked=worked))
    assert office.sent == []


def test_the_sweep_wakes_what_a_lost_message_left(office: Office, world: WithdrawnWorld) -> None:
    """As long as one is open, and no longer."""
    world.ran()
    office.call(SWEEP, Withdrawals())
    assert office.sent == []
    world.withdraw(email="p1@example.com")
    office.call(SWEEP, Withdrawals())
    assert [(name, queue) for name, queue, _ in office.sent] == [(WITHDRAW, URGENT)]
    world.lane_works()
    office.call(SWEEP, Withdrawals())
    assert len(office.sent) == 1


def test_a_deadline_is_told_before_it_is_missed(
    office: Office, world: WithdrawnWorld, caplog: pytest.LogCaptureFixture
) -> None:
    """A warning at three quarters, an error after it, and silence once the partner acknowledged."""
    world.ran()

    def away(when: str, operation: str) -> None:
        if (when, operation) == ("before", "remove"):
            raise TemporaryPartnerError("the partner is away", 503)

    world.partner.fault = away
    world.withdraw(email="p1@example.com")

    def told() -> list[tuple[int, str]]:
        caplog.clear()
        office.call(WITHDRAW, withdrawing(world))
        words = [(one.levelno, one.getMessage()) for one in caplog.records]
        return [(level, text) for level, text in words if "deadline" in text]

    assert told() == []
    world.time += 0.8 * HOUR
    [(level, text)] = told()
    assert (level, text) == (
        logging.WARNING,
        "1 withdrawal will miss its deadline of 1 hour at memory-1",
    )
    world.time += 0.3 * HOUR
    [(level, text)] = told()
    assert level == logging.ERROR
    assert "1 withdrawal has missed its deadline" in text
    world.partner.fault = lambda _when, _operation: None
    world.time += HOUR
    assert told() == []
    rows = world.ledger.withdrawal_deliveries()
    assert [row.acknowledged_at is None for row in rows] == [False]


def test_the_clock_knows_how_long_partners_took(world: WithdrawnWorld) -> None:
    """Half of them, and nearly all, of the last month; and how old the oldest open one is."""
    world.ran()
    for number, minutes in enumerate((1, 2, 3)):
        world.withdraw(email=f"p{number}@example.com")
        world.time += timedelta(minutes=minutes)
        world.lane_works()
    found = clocked(world.ledger, world.now(), HOUR.total_seconds())
    assert (found.open, found.near, found.late, found.acknowledged) == (0, 0, 0, 3)
    assert found.oldest is None
    assert found.p50 is not None
    assert found.p95 is not None
    assert 120 <= found.p50 < 140
    assert 180 <= found.p95 < 200
    assert list(overdue_lines(found)) == []
    world.time += timedelta(days=31)
    world.withdraw(email="p3@example.com")
    world.time += HOUR * 0.9
    found = clocked(world.ledger, world.now(), HOUR.total_seconds())
    assert (found.open, found.near, found.acknowledged, found.p50) == (1, 1, 0, None)
    assert found.oldest is not None
    assert found.waiting_for == ("memory-1",)


def test_one_withdrawal_counts_once_however_many_partners_hold_the_person(
    world: WithdrawnWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Open, near or late, and hidden as so few people; what waits at each is told beside it."""
    places = dict.fromkeys(("a", "b", "c", "d", "e", "f"), "memory")
    rules = replace(world.withdrawal_rules(), places=lambda: places)
    monkeypatch.setattr(world, "withdrawal_rules", lambda: rules)
    for number in range(2):
        world.withdraw(email=f"p{number}@example.com")
    app = SimpleNamespace(
        ledger=world.ledger,
        now=world.now,
        project=SimpleNamespace(withdrawals=SimpleNamespace(deadline=HOUR)),
        discretion=Discretion(None),
    )

    def counted() -> list[Any]:
        found = clock_object(cast("App", app))
        return [found[name] for name in ("open", "deliveries", "near", "late", "acknowledged")]

    assert counted() == [2, 12, 0, 0, 0]
    world.time += 0.9 * HOUR
    assert counted() == [2, 12, 2, 0, 0]
    world.time += HOUR
    assert counted() == [2, 12, 0, 2, 0]
    app.discretion = Discretion(10)
    assert counted() == ["fewer than 10", "hidden", 0, "fewer than 10", 0]
    rows = world.ledger.withdrawal_deliveries(sequences=[1])
    done = [replace(row, acknowledged_at=world.now()) for row in rows]
    world.ledger.save_withdrawal_deliveries(done[:-1])
    assert counted()[-1] == 0
    world.ledger.save_withdrawal_deliveries(done)
    assert counted()[-1] == "fewer than 10"


@pytest.mark.parametrize(("answers_after", "patience", "confirmed"), [(15, 30, 1), (15, 9, 0)])
def test_whoever_waits_for_the_last_word_has_the_partner_asked_again(
    world: WithdrawnWorld,
    monkeypatch: pytest.MonkeyPatch,
    answers_after: float,
    patience: float,
    confirmed: int,
) -> None:
    """As long as they are patient, and no longer, whatever pace the partner likes."""
    world.ran()
    world.partner.pending = True
    world.withdraw(email="p1@example.com")
    slept = list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if sum(slept) >= answers_after:
            answers = dict.fromkeys(world.partner.removals, Receipt(accepted=1))
            world.partner.answers.update(answers)

    monkeypatch.setattr(time, "sleep", sleep)

    def over() -> bool:
        return world.states() == [WithdrawalState.CONFIRMED]

    withdrawing(world).deliver(patience, until=over)
    assert over() is bool(confirmed)
    assert sum(slept) <= patience
    assert confirmed or sum(slept) == patience
