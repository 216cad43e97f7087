"""The tasks: what they send on, what they tell, and that nothing makes them fail."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
from celery.exceptions import SoftTimeLimitExceeded
from hypothesis import given
from hypothesis import strategies as st

from audience_sync.errors import (
    AuthenticationError,
    BusyError,
    ConfigurationError,
    SourceError,
    TemporaryPartnerError,
)
from audience_sync.ledger.records.runs import Run, RunState
from audience_sync.runs.outcome import Outcome
from audience_sync.settings import Settings
from audience_sync.stopping import StoppedError
from audience_sync.worker import guarding, tasks
from audience_sync.worker.celery_app import (
    QUEUES,
    TURN,
    VISIBILITY_TIMEOUT,
    broker_url,
    make_celery,
)
from audience_sync.worker.messages import (
    DELIVER_RUN,
    LONGEST_WAIT,
    PLAN_PIECE,
    POLL_RUN,
    QUEUE_OF,
    SCHEDULED,
    SWEEP,
    SYNC,
    Message,
)

CANARY = "ida.canary@example.com"
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def run_in(state: RunState, **fields: Any) -> Run:
    usual: dict[str, Any] = {"id": "r1", "planned_at": NOW - timedelta(minutes=5)}
    return Run(audience="vip", destination="meta-se", state=state, **usual | fields)


class Ledger:
    def __init__(self, run: Run | None) -> None:
        self._run = run

    def run(self, _id: str) -> Run | None:
        return self._run

    def last_run(self, _audience: str, _destination: str) -> Run | None:
        return self._run


class StandIn:
    """An app that answers or fails as told."""

    def __init__(
        self,
        *,
        outcomes: list[Outcome] | None = None,
        after: Run | None = None,
        error: Exception | None = None,
        due: list[Run] | None = None,
        overdue: list[list[str]] | None = None,
        schedule: str | None = None,
    ) -> None:
        self.late = overdue or []
        self.outcomes, self.after, self.error, self.due = outcomes or [], after, error, due or []
        self.ledger = Ledger(after)
        known = {"vip": SimpleNamespace(schedule=schedule, timezone=ZoneInfo("UTC"))}
        self.project = SimpleNamespace(audiences=known, scheduled=known)

        self.fanout = SimpleNamespace(wake=[], stalled=lambda: self._answer(([], [])))

    def now(self) -> datetime:
        return NOW

    def plan_for_later(self, _audiences: Any, _destination: Any) -> list[Outcome]:
        return self._answer(self.outcomes)

    def plan_scheduled(self, _audiences: Any) -> list[Outcome]:
        return self._answer(self.outcomes)

    def overdue(self) -> list[list[str]]:
        return self._answer(self.late)

    def go_on(self, _run: str) -> Run | None:
        return self._answer(self.after)

    def sweep(self) -> list[Run]:
        return self._answer(self.due)

    def _answer(self, answer: Any) -> Any:
        if self.error is not None:
            raise self.error
        return answer


class Office:
    """Where tasks are called as Celery calls them, and what they send is kept."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.celery = make_celery(Settings(broker_url="redis://127.0.0.1:1/0"))
        tasks.register(self.celery)
        self.sent: list[tuple[str, list[Any], dict[str, Any]]] = []
        monkeypatch.setattr(self.celery, "send_task", self._keep)
        self._monkeypatch = monkeypatch

    def _keep(self, name: str, args: list[Any], **options: Any) -> None:
        self.sent.append((name, args, options))

    def call(self, app: StandIn, name: str, *args: Any, **request: Any) -> None:
        @contextmanager
        def opened() -> Iterator[StandIn]:
            yield app

        self._monkeypatch.setattr(tasks, "_opened", opened)
        task = self.celery.tasks[name]
        task.push_request(**{"delivery_info": {}, "retries": 0} | request)
        try:
            task.run(*args)
        finally:
            task.pop_request()

    @property
    def countdowns(self) -> list[float | None]:
        return [options.get("countdown") for _, _, options in self.sent]


@pytest.fixture
def office(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Office:
    monkeypatch.chdir(tmp_path)
    return Office(monkeypatch)


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO, "audience_sync"):
        yield caplog


def test_every_planned_run_is_delivered_by_a_task_of_its_own(office: Office) -> None:
    """A slow partner keeps neither the planner nor another partner waiting."""
    planned, other = run_in(RunState.PLANNED), run_in(RunState.PLANNED, id="r2")
    states = RunState.HELD, RunState.CONFIRMED, RunState.FAILED
    left = [run_in(state) for state in states]
    outcomes = [
        Outcome(audience="vip", destination="meta-se", run=run) for run in (planned, other, *left)
    ]

    office.call(StandIn(outcomes=outcomes), SYNC, ["vip"])

    assert [(name, args) for name, args, _ in office.sent] == [
        (DELIVER_RUN, ["r1"]),
        (DELIVER_RUN, ["r2"]),
    ]


def test_an_interrupted_run_goes_on_before_its_list_is_planned(
    office: Office, told: pytest.LogCaptureFixture
) -> None:
    """That is the usual way of things after a crash and is no error."""
    error = ConfigurationError("the delivery of run r1 was interrupted")
    run = run_in(RunState.DELIVERING, next_attempt_at=NOW)
    outcome = Outcome(audience="vip", destination="meta-se", run=run, error=error)

    office.call(StandIn(outcomes=[outcome]), SYNC, ["vip"])

    assert [(name, args) for name, args, _ in office.sent] == [(DELIVER_RUN, ["r1"])]
    assert {record.levelno for record in told.records} == {logging.INFO}


def test_a_sync_that_became_due_during_a_delivery_follows_it(office: Office) -> None:
    """Its list could not be planned then; the audience does not wait for another day."""
    slow = run_in(RunState.CONFIRMED, planned_at=NOW - timedelta(hours=30))

    office.call(StandIn(after=slow, schedule="0 3 * * *"), DELIVER_RUN, "r1")

    assert [(name, args) for name, args, _ in office.sent] == [(SYNC, [["vip"], "meta-se"])]


@pytest.mark.parametrize("state", [RunState.CONFIRMED, RunState.FAILED])
def test_a_run_that_ended_in_time_wakes_nobody(office: Office, state: RunState) -> None:
    """No message without work for it."""
    office.call(StandIn(after=run_in(state), schedule="0 3 * * *"), DELIVER_RUN, "r1")

    assert office.sent == []


@pytest.mark.parametrize("name", [DELIVER_RUN, POLL_RUN])
def test_a_doubled_message_does_nothing(office: Office, name: str) -> None:
    """A run that is not due is left alone, and nobody is told to come back for it."""
    office.call(StandIn(after=None), name, "r1")

    assert office.sent == []


def test_a_delivered_run_is_asked_about_when_its_partner_will_know(office: Office) -> None:
    """Not by the next sweep, but when it was promised."""
    run = run_in(RunState.DELIVERED, next_attempt_at=NOW + timedelta(seconds=90))

    office.call(StandIn(after=run), DELIVER_RUN, "r1")

    [(name, args, options)] = office.sent
    assert (name, args) == (POLL_RUN, ["r1"])
    assert 90 < options["countdown"] < 95


@given(
    wait=st.floats(0, 7 * 24 * 3600),
    state=st.sampled_from([RunState.DELIVERING, RunState.DELIVERED]),
)
def test_no_message_waits_as_long_as_the_visibility_timeout(wait: float, state: RunState) -> None:
    """Redis would deliver such a one twice; a longer wait is left to the sweep."""
    run = run_in(state, next_attempt_at=NOW + timedelta(seconds=wait))
    with pytest.MonkeyPatch.context() as monkeypatch:
        office = Office(monkeypatch)
        error = TemporaryPartnerError("the partner is busy", 503, retry_after=wait)
        app = StandIn(after=run, error=error)
        app.ledger = Ledger(run)

        office.call(app, DELIVER_RUN, "r1")

    assert LONGEST_WAIT < VISIBILITY_TIMEOUT
    assert all(wait < found <= LONGEST_WAIT for found in office.countdowns)
    assert bool(office.sent) == (wait + 1 <= LONGEST_WAIT)


def test_what_a_partner_asked_for_is_told_once(
    office: Office, told: pytest.LogCaptureFixture
) -> None:
    """A warning in one sentence, with run, audience and destination."""
    run = run_in(RunState.DELIVERING, next_attempt_at=NOW + timedelta(seconds=60))
    error = TemporaryPartnerError("Meta asks us to slow down", 429, "80003", 60.0)

    office.call(StandIn(after=run, error=error), DELIVER_RUN, "r1")

    assert [record.getMessage() for record in told.records] == [
        "Run r1 of vip waits for meta-se: Meta asks us to slow down (HTTP 429, code 80003)"
    ]


def test_the_sweep_wakes_what_is_due(office: Office) -> None:
    """Deliveries and questions, by messages that do not pile up when nobody takes them."""
    due = [run_in(RunState.DELIVERING), run_in(RunState.DELIVERED, id="r2")]

    office.call(StandIn(due=due), SWEEP)

    assert [(name, args) for name, args, _ in office.sent] == [
        (DELIVER_RUN, ["r1"]),
        (POLL_RUN, ["r2"]),
    ]
    assert all(options["expires"] > 0 for _, _, options in office.sent)


def test_the_sweep_finds_due_times_that_nobody_serves(office: Office) -> None:
    """A message that Redis lost, or that was never sent, costs minutes and not a day."""
    office.call(StandIn(overdue=[["vip", "lapsed"], ["readers"]]), SWEEP)

    assert [(name, args) for name, args, _ in office.sent] == [
        (SCHEDULED, [["vip", "lapsed"]]),
        (SCHEDULED, [["readers"]]),
    ]
    assert all(options["expires"] > 0 for _, _, options in office.sent)


@pytest.mark.parametrize("name", [SYNC, SCHEDULED])
def test_planned_runs_are_delivered_however_they_were_asked_for(office: Office, name: str) -> None:
    """By a schedule, or by a message of its own."""
    outcome = Outcome(audience="vip", destination="meta-se", run=run_in(RunState.PLANNED))

    office.call(StandIn(outcomes=[outcome]), name, ["vip"])

    assert [(name, args) for name, args, _ in office.sent] == [(DELIVER_RUN, ["r1"])]


@pytest.mark.parametrize("name", [SYNC, SCHEDULED, DELIVER_RUN, POLL_RUN])
def test_work_that_was_stopped_is_handed_back(
    office: Office, told: pytest.LogCaptureFixture, name: str
) -> None:
    """At once, to whoever is free, and nobody is alarmed."""
    args: list[Any] = [["vip"]] if name in (SYNC, SCHEDULED) else ["r1"]

    office.call(StandIn(error=StoppedError("the worker stops")), name, *args)

    assert [(sent, args) for sent, args, _ in office.sent] == [(name, args)]
    assert office.countdowns == [None]
    assert {record.levelno for record in told.records} == {logging.INFO}


def test_planning_that_was_stopped_for_one_list_is_handed_back_whole(office: Office) -> None:
    """What was planned before is delivered; the message comes back for the rest."""
    done = Outcome(audience="vip", destination="meta-se", run=run_in(RunState.PLANNED))
    stopped = Outcome(audience="vip", destination="google-se", error=StoppedError("stop"))

    office.call(StandIn(outcomes=[done, stopped]), SYNC, ["vip"])

    assert [(name, args) for name, args, _ in office.sent] == [
        (DELIVER_RUN, ["r1"]),
        (SYNC, [["vip"]]),
    ]


def test_a_hung_task_ends_before_redis_gives_its_message_to_another(
    office: Office, told: pytest.LogCaptureFixture
) -> None:
    """A turn ends in order, then by a word, then by force; only planning may take longer."""
    conf = office.celery.conf
    assert TURN < conf.task_soft_time_limit < conf.task_time_limit < VISIBILITY_TIMEOUT
    for name in (DELIVER_RUN, POLL_RUN, SWEEP):
        assert office.celery.tasks[name].time_limit < VISIBILITY_TIMEOUT
    for name in (SYNC, SCHEDULED, PLAN_PIECE):
        assert office.celery.tasks[name].time_limit > VISIBILITY_TIMEOUT

    office.call(StandIn(error=SoftTimeLimitExceeded()), DELIVER_RUN, "r1")

    assert office.sent == []
    assert "hung and was ended" in told.text


@pytest.mark.parametrize("name", [SYNC, DELIVER_RUN, POLL_RUN])
def test_a_list_that_another_run_works_on_is_skipped_quietly(
    office: Office, told: pytest.LogCaptureFixture, name: str
) -> None:
    """Nobody is alarmed and nothing is tried again."""
    error = BusyError("vip/meta-se is being worked on by another")
    busy = Outcome(audience="vip", destination="meta-se", error=error)

    office.call(StandIn(outcomes=[busy]), SYNC, ["vip"])
    office.call(StandIn(error=error), name, "vip")

    assert office.sent == []
    assert {record.levelno for record in told.records} == {logging.INFO}


@pytest.mark.parametrize(
    "error",
    [
        ConfigurationError("set AUDIENCE_SYNC_PROJECT"),
        SourceError("customers.db cannot be read"),
        AuthenticationError("Meta does not accept the token", 401, "190"),
    ],
)
def test_an_error_is_told_in_one_sentence_and_ends_the_task(
    office: Office, told: pytest.LogCaptureFixture, error: Exception
) -> None:
    """No traceback, no try again, and the worker lives on."""
    office.call(StandIn(error=error), DELIVER_RUN, "r1")

    assert office.sent == []
    assert [(record.levelname, record.getMessage()) for record in told.records] == [
        ("ERROR", str(error))
    ]


@pytest.mark.parametrize("name", [SYNC, DELIVER_RUN, POLL_RUN, SWEEP])
def test_an_unknown_error_tells_its_class_and_place_only(
    office: Office, told: pytest.LogCaptureFixture, name: str
) -> None:
    """A library's own words could hold a customer's value."""
    args = [] if name == SWEEP else ["vip"]

    office.call(StandIn(error=ValueError(f"cannot cast {CANARY}")), name, *args)

    assert CANARY not in told.text
    assert f"The task {name} failed with ValueError in tasks.py:" in told.text


def test_a_message_whose_process_died_is_tried_again_a_few_times(office: Office) -> None:
    """With a pause that doubles, so that a task that kills its process kills no machine."""
    for retries in range(guarding.CRASHES + 1):
        redelivered = {"delivery_info": {"redelivered": True}, "retries": retries}
        office.call(StandIn(error=AssertionError("not begun")), SYNC, ["vip"], **redelivered)

    assert [(name, args) for name, args, _ in office.sent] == [(SYNC, [["vip"]])] * guarding.CRASHES
    assert office.countdowns == [10.0, 20.0, 40.0]
    assert [options["retries"] for _, _, options in office.sent] == [1, 2, 3]


def test_a_serialized_message_holds_names_and_ids_only(office: Office) -> None:
    """Whatever else a run knows stays in the ledger: not even its reason travels."""
    reason = f"not for {CANARY}"
    planned = run_in(RunState.PLANNED, reason=reason, funnel={CANARY: 1}, approved_by=CANARY)
    outcome = Outcome(audience="vip", destination="meta-se", run=planned)
    office.call(StandIn(outcomes=[outcome], due=[planned]), SYNC, ["vip"])
    office.call(StandIn(due=[planned]), SWEEP)

    for name, args, options in office.sent:
        written = office.celery.amqp.as_task_v2(
            "a-task-id", name, args, {}, argsrepr=options["argsrepr"], kwargsrepr="-"
        )
        assert orjson.loads(orjson.dumps(written.body))[:2] == [["r1"], {}]
        assert CANARY not in repr(written)
        assert written.headers["argsrepr"] == "-"


def test_no_message_shows_its_arguments_to_the_log() -> None:
    """Celery writes `argsrepr` into its own records; ours has nothing in it."""
    for name in QUEUE_OF:
        options = Message(task=name, args=("r1",)).options()

        assert "r1" not in repr(options)
        assert options["queue"] in QUEUES


def test_json_is_the_only_language(office: Office) -> None:
    """A pickled message is refused, and nothing is written by pickle."""
    conf = office.celery.conf

    assert list(conf.accept_content) == ["json"]
    assert list(conf.result_accept_content) == ["json"]
    assert {conf.task_serializer, conf.result_serializer, conf.event_serializer} == {"json"}
    assert conf.beat_scheduler == "celery.beat:Scheduler"  # the usual one pickles a file


def test_nothing_is_kept_of_a_task(office: Office) -> None:
    """No result, and an acknowledgement only when it ended."""
    conf = office.celery.conf

    assert conf.task_ignore_result
    assert conf.result_backend is None
    assert conf.task_acks_late
    assert conf.worker_prefetch_multiplier == 1
    assert conf.broker_transport_options["visibility_timeout"] == VISIBILITY_TIMEOUT


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (None, "is not set"),
        ("amqp://user:secret@host", "not the URL of a Redis"),
        ("sentinel://:secret@host:26379/0", "not the URL of a Redis"),  # would need a master's name
    ],
)
def test_a_missing_broker_is_named(url: str | None, told: str, tmp_path: Any) -> None:
    """The message names the variable, what to write and the way without; never the value."""
    settings = Settings(project=tmp_path, broker_url=url)

    with pytest.raises(ConfigurationError, match="AUDIENCE_SYNC_BROKER_URL") as raised:
        broker_url(settings)

    assert told in str(raised.value)
    assert "secret" not in str(raised.value)
