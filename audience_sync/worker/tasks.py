"""The tasks: each opens the project and calls what the command line calls.

This module is loaded before a worker forks, so the pipeline is imported inside the functions: its
libraries start threads, which a forked process would inherit without their running.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import wraps
from typing import TYPE_CHECKING, Any

from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded

from audience_sync.errors import AudienceSyncError, BusyError, TemporaryPartnerError, places
from audience_sync.journal import about
from audience_sync.ledger.records import Job, JobState, Run, RunState
from audience_sync.stopping import StoppedError, within
from audience_sync.worker.celery_app import GRACE, PLAN, STUCK_PLAN, TURN
from audience_sync.worker.messages import (
    DELIVER_PIECE,
    DELIVER_RUN,
    LONGEST_WAIT,
    PLAN_PIECE,
    POLL_RUN,
    PURGE,
    QUEUE_OF,
    SCHEDULED,
    SWEEP,
    SYNC,
    WATCH,
    WITHDRAW,
    Message,
)
from audience_sync.worker.schedule import SWEEP_EVERY, due_since

if TYPE_CHECKING:
    from audience_sync.app import App
    from audience_sync.runs.fanout.coordinator import PieceRef

CRASHES = 3  # times that a message is tried again after its process died
_AFTER_CRASH = 10.0  # seconds, doubled each time
WITHDRAW_PATIENCE = 10.0  # seconds that a task stays with a withdrawal that is nearly done
_COMING_BACK = "withdrawals are looked at again"  # a lease until the message for it comes
_MARGIN = 1.0  # seconds, so that a message never comes just before its time

_log = logging.getLogger(__name__)

Work = Callable[..., None]


def sync(task: Any, audiences: list[str], destination: str | None = None) -> None:
    """Plan these audiences in one pass, and let each run be delivered on its own."""
    with _opened() as app:
        for outcome in app.plan_for_later(audiences, destination):
            _send_all(task, _after_planning(app, outcome.run, outcome.error))
        _wake_pieces(task, app)


def scheduled(task: Any, audiences: list[str]) -> None:
    """The same for those of these audiences whose due time was not served yet."""
    with _opened() as app:
        for outcome in app.plan_scheduled(audiences):
            _send_all(task, _after_planning(app, outcome.run, outcome.error))
        _wake_pieces(task, app)


def deliver(task: Any, run: str) -> None:
    """Deliver one run, if it is due; what does not fit into a turn is handed back."""
    with _opened() as app, within(TURN):
        _send_all(task, _after_work(app, _gone_on(app, run)))
        _wake_pieces(task, app)


def piece(task: Any, job: str, stage: str, number: int) -> None:
    """Do a piece of a job that plans or delivers, and wake what follows from it."""
    from audience_sync.runs.fanout.coordinator import PieceRef  # noqa: PLC0415 - see above

    # A plan's piece has no turns, it would begin anew with each.
    turn = nullcontext() if QUEUE_OF[_piece_task(job)] == PLAN else within(TURN)
    with _opened() as app, turn:
        worked = app.fanout.work(PieceRef(job, stage, number))
        app.fanout.wake.extend(worked.wake)
        if worked.again is not None:
            ref, at = worked.again
            wait = max(0.0, (at - app.now()).total_seconds()) + _MARGIN
            if wait <= LONGEST_WAIT:
                _send_all(task, [_piece(ref, countdown=wait)])
        if worked.ended is not None:
            _send_all(task, _after_job(app, worked.ended))
        _wake_pieces(task, app)


def poll(task: Any, run: str) -> None:
    """Ask one run's partner for its final answer, if it is due."""
    with _opened() as app:
        _send_all(task, _after_work(app, _gone_on(app, run)))


def sweep(task: Any) -> None:
    """Wake every run that is due and every due time that nobody serves; messages get lost."""
    with _opened() as app:
        stalled, ended = app.fanout.stalled()  # keeps the leases of jobs, so it comes first
        _send_all(task, [_piece(ref, expires=SWEEP_EVERY) for ref in stalled])
        for job in ended:
            _send_all(task, _after_job(app, job))
        for run in app.sweep():
            _send_all(task, [_wake(run, expires=SWEEP_EVERY)])
        for names in app.overdue():
            _send_all(task, [Message(task=SCHEDULED, args=(names,), expires=SWEEP_EVERY)])
        if app.ledger.withdrawal_deliveries(only_open=True):
            _send_all(task, [Message(task=WITHDRAW, expires=SWEEP_EVERY)])


def purge(task: Any) -> None:  # noqa: ARG001 - as Celery calls it
    """Delete what is older than the project keeps it, once a day."""
    with _opened() as app:
        for purged in app.purge_if_due():
            if purged.count:
                _log.info("Purged %s: %s", purged.what, app.discretion.count(purged.count))


def withdraw(task: Any) -> None:
    """Bring every open withdrawal as far as it goes, and come back when more can be done."""
    with _opened() as app, within(TURN):
        worked = app.withdrawals.deliver(WITHDRAW_PATIENCE)
        _come_back(task, app, worked.again if worked.open else None)


def watch(task: Any) -> None:
    """Make withdrawals of new refusals in the decisions, and tell of what is late."""
    with _opened() as app:
        received = app.withdrawals.look()
        app.withdrawals.warn()
        if received is not None and received.withdrawals:
            people = app.discretion.count(received.people)
            _log.info("%s customers refused since the last look", people)
            _send_all(task, [Message(task=WITHDRAW)])


def _come_back(task: Any, app: App, wait: float | None) -> None:
    """One message at a time comes back, however many asked for it."""
    from audience_sync.holder import this_process  # noqa: PLC0415 - see above

    if wait is None or wait > LONGEST_WAIT:
        return
    try:
        app.ledger.take_lease(_COMING_BACK, this_process(), wait)
    except BusyError:
        return
    _send_all(task, [Message(task=WITHDRAW, countdown=wait + _MARGIN)])


def register(celery: Celery) -> None:
    """Give the tasks to an app."""
    plans = {"time_limit": STUCK_PLAN, "soft_time_limit": STUCK_PLAN - GRACE}
    known: tuple[tuple[str, Work, dict[str, int]], ...] = (
        (SYNC, sync, plans),
        (SCHEDULED, scheduled, plans),
        (PLAN_PIECE, piece, plans),
        (DELIVER_RUN, deliver, {}),
        (DELIVER_PIECE, piece, {}),
        (POLL_RUN, poll, {}),
        (SWEEP, sweep, {}),
        (WITHDRAW, withdraw, {}),
        (WATCH, watch, {}),
        (PURGE, purge, {}),
    )
    for name, work, limits in known:
        celery.task(_guarded(name, work), name=name, bind=True, shared=False, **limits)


@contextmanager
def _opened() -> Iterator[App]:
    """The project as it is now, with nothing left of the task before."""
    from audience_sync.app import App  # noqa: PLC0415 - only in the forked process, see above

    with App.open(sharing=True) as app:
        yield app


def _gone_on(app: App, run_id: str) -> Run | None:
    """The run after the work, or as it waits for its partner; None when nothing was to be done."""
    try:
        run = app.go_on(run_id)
    except TemporaryPartnerError as error:
        run = app.ledger.run(run_id)
        _log.warning("Run %s of %s waits for %s: %s", run.id, run.audience, run.destination, error)
        return run
    if run is not None:
        _tell(app, run)
    return run


def _after_planning(app: App, run: Run | None, error: AudienceSyncError | None) -> list[Message]:
    if run is not None and run.state is RunState.DELIVERING:
        _log.info("Run %s of %s is not at its end yet and goes on first", run.id, run.audience)
        return [_wake(run)]
    if isinstance(error, StoppedError):
        raise error
    if isinstance(error, BusyError):
        _log.info("Skipped, since %s", error)
    elif error is not None:
        _log.error("%s", error)
    elif run is not None:
        _tell(app, run)
    return [_wake(run)] if run is not None and run.state is RunState.PLANNED else []


def _after_job(app: App, job: Job) -> list[Message]:
    """Deliver what a job planned, ask about what it delivered; tell how it ended."""
    fields = {"job": job.id}
    if job.state is not JobState.DONE:
        _log.warning("Job %s is %s: %s", job.id, job.state, job.reason, extra=fields)
    for error in filter(None, job.spec.get("errors", ())):
        _log.error("%s", error, extra=fields)
    run = app.fanout.delivered(job)
    if run is not None:
        app.read_statistics(run)
        _tell(app, run)
        return _after_work(app, run)
    planned = app.fanout.planned(job)
    return [message for one in planned for message in _after_planning(app, one, None)]


def _wake_pieces(task: Any, app: App) -> None:
    """Send a message for each piece that waits for a worker."""
    if "fanout" in vars(app):
        _send_all(task, [_piece(ref) for ref in app.fanout.wake])
        app.fanout.wake.clear()


def _piece(ref: PieceRef, **timed: float) -> Message:
    return Message(task=_piece_task(ref.job), args=(ref.job, ref.stage, ref.number), **timed)


def _piece_task(job: str) -> str:
    """Jobs that deliver have names with a d, those that plan with a j."""
    return DELIVER_PIECE if job.startswith("d") else PLAN_PIECE


def _after_work(app: App, run: Run | None) -> list[Message]:
    """Come back when the partner will answer; sync anew when that became due meanwhile."""
    if run is None:
        return []
    now, messages = app.now(), []
    if run.next_attempt_at is not None:
        wait = max(0.0, (run.next_attempt_at - now).total_seconds()) + _MARGIN
        if wait <= LONGEST_WAIT:
            messages.append(_wake(run, countdown=wait))
    newest = app.ledger.last_run(run.audience, run.destination) or run
    ended = run.state is not RunState.DELIVERING
    if ended and due_since(app.project, run.audience, newest.planned_at, now):
        messages.append(Message(task=SYNC, args=([run.audience], run.destination)))
    return messages


def _wake(run: Run, **timed: float) -> Message:
    asks = run.state is RunState.DELIVERED
    return Message(task=POLL_RUN if asks else DELIVER_RUN, args=(run.id,), **timed)


def _send_all(task: Any, messages: list[Message]) -> None:
    for message in messages:
        message.send(task.app)


def _tell(app: App, run: Run) -> None:
    level = logging.WARNING if run.state in (RunState.HELD, RunState.FAILED) else logging.INFO
    reason = f": {app.discretion.text(run.reason)}" if run.reason else ""
    words = run.id, run.audience, run.destination, run.state, reason
    fields = {"run": run.id, "audience": run.audience, "destination": run.destination}
    _log.log(level, "Run %s of %s to %s is %s%s", *words, extra=fields)


def _guarded(name: str, work: Work) -> Work:
    """The task, ending well whatever happens: what is still to do stands in the ledger."""

    @wraps(work)
    def guarded(task: Any, *args: Any) -> None:
        with about(**({"run": args[0]} if name in (DELIVER_RUN, POLL_RUN) else {})):
            try_it(task, *args)

    def try_it(task: Any, *args: Any) -> None:
        try:
            if task.request.delivery_info.get("redelivered"):
                _after_crash(task, name, args)
            else:
                work(task, *args)
        except StoppedError as error:
            _log.info("The task %s ends before its end, since %s", name, error)
            Message(task=name, args=args).send(task.app)
        except SoftTimeLimitExceeded:
            _log.error("The task %s hung and was ended; the sweep goes on with its work", name)
        except BusyError as error:
            _log.info("Skipped, since %s", error)
        except AudienceSyncError as error:
            _log.error("%s", error)
        except Exception as error:  # noqa: BLE001 - its own words could hold anything: not told
            words = name, type(error).__name__, places(error)
            _log.error("The task %s failed with %s in %s; please report it", *words)

    return guarded


def _after_crash(task: Any, name: str, args: tuple[Any, ...]) -> None:
    """The process that had this message died, or was stopped before it began: try again soon."""
    crashes = task.request.retries
    if crashes >= CRASHES:
        _log.error("The task %s ended with its process %d times; it is left", name, crashes + 1)
        return
    message = Message(task=name, args=args, countdown=_AFTER_CRASH * 2**crashes)
    task.app.send_task(name, args=list(args), retries=crashes + 1, **message.options())
