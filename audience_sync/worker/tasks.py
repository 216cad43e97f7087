"""The tasks: each opens the project and calls what the command line calls.

This module is loaded before a worker forks, so the pipeline is imported inside the functions: its
libraries start threads, which a forked process would inherit without their running.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from celery import Celery

from audience_sync.errors import BusyError, TemporaryPartnerError
from audience_sync.ledger.records.runs import Run
from audience_sync.stopping import within
from audience_sync.worker.celery_app import GRACE, PLAN, STUCK_PLAN, TURN
from audience_sync.worker.following import (
    MARGIN,
    after_job,
    after_planning,
    after_work,
    piece_task,
    send_all,
    tell,
    wake_pieces,
    waking,
    waking_piece,
)
from audience_sync.worker.guarding import Work, guard
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
from audience_sync.worker.schedule import SWEEP_EVERY

if TYPE_CHECKING:
    from audience_sync.app import App

WITHDRAW_PATIENCE = 10.0  # seconds that a task stays with a withdrawal that is nearly done
_COMING_BACK = "withdrawals are looked at again"  # a lease until the message for it comes

_log = logging.getLogger(__name__)


def sync(task: Any, audiences: list[str], destination: str | None = None) -> None:
    """Plan these audiences in one pass, and let each run be delivered on its own."""
    with _opened() as app:
        for outcome in app.plan_for_later(audiences, destination):
            send_all(task, after_planning(app, outcome.run, outcome.error))
        wake_pieces(task, app)


def scheduled(task: Any, audiences: list[str]) -> None:
    """The same for those of these audiences whose due time was not served yet."""
    with _opened() as app:
        for outcome in app.plan_scheduled(audiences):
            send_all(task, after_planning(app, outcome.run, outcome.error))
        wake_pieces(task, app)


def deliver(task: Any, run: str) -> None:
    """Deliver one run, if it is due; what does not fit into a turn is handed back."""
    with _opened() as app, within(TURN):
        send_all(task, after_work(app, _gone_on(app, run)))
        wake_pieces(task, app)


def piece(task: Any, job: str, stage: str, number: int) -> None:
    """Do a piece of a job that plans or delivers, and wake what follows from it."""
    from audience_sync.runs.fanout.kinds import PieceRef  # noqa: PLC0415 - see above

    # A plan's piece has no turns, it would begin anew with each.
    turn = nullcontext() if QUEUE_OF[piece_task(job)] == PLAN else within(TURN)
    with _opened() as app, turn:
        worked = app.fanout.work(PieceRef(job, stage, number))
        app.fanout.wake.extend(worked.wake)
        if worked.again is not None:
            ref, at = worked.again
            wait = max(0.0, (at - app.now()).total_seconds()) + MARGIN
            if wait <= LONGEST_WAIT:
                send_all(task, [waking_piece(ref, countdown=wait)])
        if worked.ended is not None:
            send_all(task, after_job(app, worked.ended))
        wake_pieces(task, app)


def poll(task: Any, run: str) -> None:
    """Ask one run's partner for its final answer, if it is due."""
    with _opened() as app:
        send_all(task, after_work(app, _gone_on(app, run)))


def sweep(task: Any) -> None:
    """Wake every run that is due and every due time that nobody serves; messages get lost."""
    with _opened() as app:
        stalled, ended = app.fanout.stalled()  # keeps the leases of jobs, so it comes first
        send_all(task, [waking_piece(ref, expires=SWEEP_EVERY) for ref in stalled])
        for job in ended:
            send_all(task, after_job(app, job))
        for run in app.sweep():
            send_all(task, [waking(run, expires=SWEEP_EVERY)])
        for names in app.overdue():
            send_all(task, [Message(task=SCHEDULED, args=(names,), expires=SWEEP_EVERY)])
        if app.ledger.withdrawal_deliveries(only_open=True):
            send_all(task, [Message(task=WITHDRAW, expires=SWEEP_EVERY)])


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
            send_all(task, [Message(task=WITHDRAW)])


def _come_back(task: Any, app: App, wait: float | None) -> None:
    """One message at a time comes back, however many asked for it."""
    from audience_sync.holder import this_process  # noqa: PLC0415 - see above

    if wait is None or wait > LONGEST_WAIT:
        return
    try:
        app.ledger.take_lease(_COMING_BACK, this_process(), wait)
    except BusyError:
        return
    send_all(task, [Message(task=WITHDRAW, countdown=wait + MARGIN)])


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
        celery.task(guard(name, work), name=name, bind=True, shared=False, **limits)


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
        tell(app, run)
    return run
