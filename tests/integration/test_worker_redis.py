"""Real worker and beat processes on a real Redis, against the simulated partners."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import csv
import hashlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import orjson
import pytest
import redis
import requests

from audience_sync.app import App
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.log import Event
from audience_sync.ledger.records.runs import Batch, BatchState, Operation, Run, RunState
from audience_sync.ledger.runs import ENDED
from audience_sync.sandbox import server
from audience_sync.sandbox.server import RunningSandbox, running_sandbox
from audience_sync.settings import Settings
from audience_sync.testing.project_template import write_demo_secrets
from audience_sync.worker.celery_app import DELIVER, PLAN, POLL, make_celery
from audience_sync.worker.messages import PURGE, SWEEP, SYNC, Message

T = TypeVar("T")

PATIENCE = 90.0  # seconds; other programs may keep the machine busy
PEOPLE = 120
AUDIENCES = ("vip", "readers", "everybody")
PROJECT = """\
project: worker-test
controller: Worker Test AB
source:
  url: customers.csv
  columns: {{customer_id: id, email: email, consent: consent, consent_at: at}}
report_threshold: off
guards: {{minimum_members: off, maximum_removals: off, maximum_consent_drop: off}}
destinations:
  meta-se:
    connector: meta
    base_url: {url}/meta
    ad_account_id: "1234567890"
    access_token: file:secrets/meta-token
  google-se:
    connector: google
    base_url: {url}/google
    operating_account: "1234567890"
    credentials: file:secrets/google.json
    poll_after: 1
audiences:
  vip: {{destinations: [meta-se, google-se], schedule: "0 3 * * *"}}
  readers: {{destinations: [meta-se, google-se], schedule: "0 3 * * *"}}
  everybody: {{destinations: [meta-se, google-se]}}
"""


def email(number: int) -> str:
    return f"canary{number}@canary.example"


def digest(number: int) -> str:
    return hashlib.sha256(email(number).encode()).hexdigest()


@dataclass
class Shop:
    """A project folder, its partners and its broker."""

    folder: Path
    sandbox: RunningSandbox
    broker: str
    ledger: Ledger
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def write_customers(self, granted: int, first: int = 0) -> None:
        with (self.folder / "new.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["id", "email", "consent", "at"])
            for number in range(PEOPLE):
                word = "granted" if first <= number < granted else "withdrawn"
                rows.writerow([number, email(number), word, "2026-01-01"])
        (self.folder / "new.csv").rename(self.folder / "customers.csv")

    def work(self, *words: str) -> subprocess.Popen[bytes]:
        """Run what `worker` becomes once it has checked the project, which takes a second."""
        return self.start(*words, module="audience_sync.worker")

    def start(self, *words: str, module: str = "audience_sync.cli") -> subprocess.Popen[bytes]:
        """Run a command as an operator does, in the project's folder."""
        environ = {**os.environ, "AUDIENCE_SYNC_BROKER_URL": self.broker}
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and words
                [sys.executable, "-P", "-m", module, *words],
                cwd=self.folder,
                env=environ,
                stdout=log,
                stderr=log,
                start_new_session=True,  # it can be killed with its children
            )
        self.processes.append(process)
        return process

    def ask(self, task: str, *args: list[str]) -> None:
        """Put a message into its queue."""
        celery = make_celery(Settings(project=self.folder, broker_url=self.broker))
        with celery:
            Message(task=task, args=args).send(celery)

    def open(self) -> App:
        return App.open(self.folder)

    def runs(self) -> list[Run]:
        return self.ledger.runs()

    def until_ended(self, count: int, ask: str | None = None) -> list[Run]:
        """All runs, once there are so many and each was delivered and confirmed.

        A task may be asked for again and again meanwhile, as beat does.
        """
        asked = 0.0

        def found() -> list[Run]:
            nonlocal asked
            if ask and time.monotonic() > asked + 2:
                asked = time.monotonic()
                self.ask(ask)
            runs = self.runs()
            ended = all(run.state is RunState.CONFIRMED for run in runs)
            return runs if ended and len(runs) >= count else []

        return self.until(found)

    def until(self, found: Callable[[], T]) -> T:
        """What is found, looked for until it is something."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if answer := found():
                return answer
            time.sleep(0.1)
        pytest.fail(f"waited in vain; the log says\n{self.log}")

    def kill(self) -> None:
        """Whatever still runs."""
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def held(self) -> dict[str, set[str]]:
        """The e-mail hashes that each remote list holds, by its name and its partner."""
        state = requests.get(f"{self.sandbox.url}/_control/state", timeout=PATIENCE).json()
        return {
            f"{found['name']} {partner}": self._members(partner, found["id"])
            for partner in ("meta", "google")
            for found in state[partner]["lists"]
        }

    def _members(self, partner: str, remote: str) -> set[str]:
        url = f"{self.sandbox.url}/_control/members?partner={partner}&list={remote}"
        identifiers = requests.get(url, timeout=PATIENCE).json()["identifiers"]
        return {value for values in identifiers.values() for value in values}


@pytest.fixture
def shop(tmp_path: Path, redis_url: str) -> Iterator[Shop]:
    with running_sandbox(google_processing_seconds=0.0) as sandbox:
        (tmp_path / "audience-sync.yaml").write_text(PROJECT.format(url=sandbox.url))
        write_demo_secrets(tmp_path, sandbox.url)
        with App.open(tmp_path) as app:
            shop = Shop(tmp_path, sandbox, redis_url, app.ledger)
            shop.write_customers(granted=100)
            try:
                yield shop
            finally:
                shop.kill()


def ended(process: subprocess.Popen[bytes]) -> int:
    """The exit code after SIGTERM."""
    process.send_signal(signal.SIGTERM)
    return process.wait(PATIENCE)


@contextlib.contextmanager
def overheard(url: str) -> Iterator[list[str]]:
    """Every command that our database of Redis is given meanwhile."""
    heard: list[str] = []
    # Nobody speaks while a worker starts, which takes a busy machine long.
    listening = redis.Redis.from_url(url, socket_timeout=None)
    client = redis.Redis.from_url(url)
    ours = client.get_connection_kwargs()["db"]
    with listening, client, listening.monitor() as monitor:

        def listen() -> None:
            for told in monitor.listen():
                if told["db"] != ours:
                    continue
                heard.append(told["command"])
                if "that is all" in told["command"]:
                    return

        listener = threading.Thread(target=listen)
        listener.start()
        try:
            yield heard
        finally:
            client.echo("that is all")
            listener.join(PATIENCE)


def told_to_redis(heard: list[str]) -> str:
    """The commands, and whatever in them is base64, in plain."""
    text = "\n".join(heard)
    plain = []
    for word in set(re.findall(r"[A-Za-z0-9+/]{16,}={0,2}", text)):
        with contextlib.suppress(ValueError):
            plain.append(base64.b64decode(word, validate=True).decode("latin-1"))
    return text + "\n".join(plain)


def test_audiences_reach_the_partners_through_a_worker(shop: Shop) -> None:
    """Planned, delivered and confirmed by tasks; Redis learns of no person, and SIGTERM ends it.

    Three plans in two processes also prove that the pipeline survives the fork.
    """
    with overheard(shop.broker) as heard:
        worker = shop.start("worker", "--concurrency=2")
        for audience in AUDIENCES:
            shop.ask(SYNC, [audience])
        first = shop.until_ended(2 * len(AUDIENCES))
        assert len(first) == 2 * len(AUDIENCES)
        held = shop.held()
        assert len(held) == 2 * len(AUDIENCES)
        assert all(found == {digest(n) for n in range(100)} for found in held.values())

        shop.write_customers(granted=60)
        shop.ask(SYNC, list(AUDIENCES))
        shop.until_ended(4 * len(AUDIENCES))
        assert all(found == {digest(n) for n in range(60)} for found in shop.held().values())

        assert ended(worker) == 0
    said = told_to_redis(heard)
    assert all(run.id in said for run in first)  # so we do hear what the messages say
    for text in (said, shop.log):
        assert "canary" not in text
        assert not re.search(r"[0-9a-f]{64}", text)
        assert not any(digest(number)[:16] in text for number in range(PEOPLE))
    with redis.Redis.from_url(shop.broker) as client:
        assert not client.exists(PLAN, DELIVER, POLL, "unacked", "unacked_index")
    assert shop.ledger.verify_log().sound


def test_beat_makes_up_for_a_missed_time_once(shop: Shop) -> None:
    """One message for both audiences that were due; a restart of beat repeats nothing."""
    with shop.open() as app:
        long_ago = datetime.now(UTC) - timedelta(days=3)
        replace(app, now=lambda: long_ago).sync(AUDIENCES, "meta-se")
    assert len(shop.runs()) == 3

    worker, beat = shop.work("--concurrency=1"), shop.start("beat")
    runs = shop.until_ended(3 + 4)

    assert ended(beat) == 0
    assert ended(worker) == 0
    new = [run.audience for run in runs if run.planned_at > long_ago]
    assert sorted(new) == ["readers", "readers", "vip", "vip"]
    again = shop.start("beat")
    with redis.Redis.from_url(shop.broker) as client:
        shop.until(lambda: client.llen(POLL) == 2)
        assert {_task(message) for message in client.lrange(POLL, 0, -1)} == {SWEEP, PURGE}
        assert client.llen(PLAN) == 0
    assert ended(again) == 0
    assert not list(shop.folder.glob("celerybeat*"))


def test_sigterm_hands_back_what_was_not_sent_yet(shop: Shop) -> None:
    """The batch under way gets its answer; another worker sends the rest at once, and only that."""
    with shop.open() as app:
        app.sync(["vip"], "meta-se")
    shop.write_customers(granted=120, first=40)
    with _silent():
        worker = shop.work("--concurrency=1", "--queues", "plan", "deliver")
        shop.ask(SYNC, ["vip"])
        shop.until(lambda: _batches(shop, BatchState.SENDING))
        worker.send_signal(signal.SIGTERM)
        shop.until(lambda: "Warm shutdown" in shop.log)
        time.sleep(0.2)  # by then its child is told, too

    assert worker.wait(PATIENCE) == 0

    assert "handed back" in shop.log
    assert [batch.operation for batch in _batches(shop, BatchState.ACCEPTED)] == [Operation.REMOVE]
    assert [batch.operation for batch in _batches(shop, BatchState.WAITING)] == [Operation.ADD]
    with redis.Redis.from_url(shop.broker) as client:
        assert client.llen(DELIVER) >= 1
    another = shop.work("--concurrency=1", "--queues", "deliver")
    shop.until(lambda: not _batches(shop, BatchState.WAITING))
    assert ended(another) == 0
    wanted = {digest(number) for number in range(40, 120)}
    assert shop.held()["worker-test vip meta"] == wanted
    lines = [logged.line for logged in shop.ledger.log_lines()]
    assert not [line for line in lines if line.event is Event.UNKNOWN]
    removed = [line for line in lines if line.operation == Operation.REMOVE]
    assert [line.event for line in removed if line.destination == "meta-se"] == [
        Event.INTENT,
        Event.OUTCOME,
    ]


def test_two_beats_and_a_lost_message_make_one_run(shop: Shop) -> None:
    """Both send for what was missed, one is served; what Redis forgot is asked for again."""
    with shop.open() as app:
        long_ago = datetime.now(UTC) - timedelta(days=3)
        replace(app, now=lambda: long_ago).sync(["vip", "readers"], "meta-se")
    first, second = shop.start("beat"), shop.start("beat")
    with redis.Redis.from_url(shop.broker) as client:
        shop.until(lambda: client.llen(POLL) == 4)  # a sweep and a purge from each
        client.flushdb()  # a Redis that was killed kept nothing
        shop.ask(SWEEP)
        shop.ask(SWEEP)
        worker = shop.work("--concurrency=2")
        shop.until_ended(2 + 4)
        shop.until(lambda: not client.exists(PLAN, DELIVER, POLL, "unacked"))
    assert [ended(process) for process in (first, second, worker)] == [0, 0, 0]
    new = sorted(run.audience for run in shop.runs() if run.planned_at > long_ago)
    assert new == ["readers", "readers", "vip", "vip"]
    with shop.open() as app:
        served = app.ledger.served("vip")
        assert served is not None
        assert served.note is None
        assert app.overdue() == []


def _batches(shop: Shop, state: BatchState) -> list[Batch]:
    newest = shop.ledger.last_run("vip", "meta-se")
    found = [] if newest is None else shop.ledger.batches(newest.id)
    return [batch for batch in found if batch.state is state]


def test_one_tired_partner_blocks_nobody(shop: Shop) -> None:
    """One worker process: Meta asks for minutes of rest, and Google's lists are filled meanwhile.

    Only the first request is spent to learn of the rest; all other deliveries to that account are
    handed back without asking.
    """
    fault = {"partner": "meta", "kind": "rate-limit", "times": None, "minutes": 10}
    control = f"{shop.sandbox.url}/_control"
    requests.post(f"{control}/faults", json=fault, timeout=PATIENCE).raise_for_status()
    worker = shop.work("--concurrency=1")
    shop.ask(SYNC, list(AUDIENCES))

    def settled() -> list[Run]:
        runs = shop.runs()
        google = [r for r in runs if r.destination == "google-se" and r.state in ENDED]
        meta = [r for r in runs if r.destination == "meta-se" and r.next_attempt_at is not None]
        waiting = [r for r in meta if r.state is RunState.DELIVERING and r.reason]
        return waiting if len(google) == len(waiting) == len(AUDIENCES) else []

    waiting = shop.until(settled)
    assert ended(worker) == 0
    now = datetime.now(UTC)
    for run in waiting:
        assert run.next_attempt_at is not None
        assert timedelta(minutes=8) < run.next_attempt_at - now < timedelta(minutes=11)
    journal = requests.get(f"{control}/journal", timeout=PATIENCE).json()["requests"]
    assert len([sent for sent in journal if sent["partner"] == "meta"]) == 1
    assert all(found == {digest(n) for n in range(100)} for found in shop.held().values())
    assert shop.log.count("the partner asked all of us to wait") == len(AUDIENCES) - 1


def test_a_killed_worker_costs_nothing_but_time(shop: Shop) -> None:
    """Another worker finds the run by the sweep, finishes it, and the partner holds the same."""
    with _silent():
        worker = shop.work("--concurrency=1")
        shop.ask(SYNC, ["vip"])
        shop.until(lambda: [run for run in shop.runs() if run.state is RunState.DELIVERING])
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait(PATIENCE)

    another = shop.work("--concurrency=1")
    shop.until_ended(2, ask=SWEEP)

    assert ended(another) == 0
    held = shop.held()
    assert len(held) == 2
    assert all(found == {digest(n) for n in range(100)} for found in held.values())
    assert shop.ledger.verify_log().sound


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """No partner answers anybody before the block is over."""
    answer, over = server._meet, threading.Event()

    async def answer_later(*asked: Any) -> Any:
        await asyncio.to_thread(over.wait, PATIENCE)
        return await answer(*asked)

    with mock.patch.object(server, "_meet", answer_later):
        try:
            yield
        finally:
            over.set()


def _task(message: bytes) -> str:
    return str(orjson.loads(message)["headers"]["task"])
