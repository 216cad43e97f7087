"""What follows from a task: messages for what is left to do, and words in the log.

Loaded before a worker forks, as the tasks are.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from audience_sync.errors import AudienceSyncError, BusyError
from audience_sync.ledger.records.runs import Run, RunState
from audience_sync.ledger.records.work import Job, JobState
from audience_sync.stopping import StoppedError
from audience_sync.worker.messages import (
    DELIVER_PIECE,
    DELIVER_RUN,
    LONGEST_WAIT,
    PLAN_PIECE,
    POLL_RUN,
    SYNC,
    Message,
)
from audience_sync.worker.schedule import due_since

if TYPE_CHECKING:
    from audience_sync.app import App
    from audience_sync.runs.fanout.kinds import PieceRef

MARGIN = 1.0  # seconds, so that a message never comes just before its time

_log = logging.getLogger(__name__)


def after_planning(app: App, run: Run | None, error: AudienceSyncError | None) -> list[Message]:
    """Deliver what was planned; a StoppedError goes on, so that the task comes again."""
    if run is not None and run.state is RunState.DELIVERING:
        _log.info("Run %s of %s is not at its end yet and goes on first", run.id, run.audience)
        return [waking(run)]
    if isinstance(error, StoppedError):
        raise error
    if isinstance(error, BusyError):
        _log.info("Skipped, since %s", error)
    elif error is not None:
        _log.error("%s", error)
    elif run is not None:
        tell(app, run)
    return [waking(run)] if run is not None and run.state is RunState.PLANNED else []


def after_job(app: App, job: Job) -> list[Message]:
    """Deliver what a job planned, ask about what it delivered; tell how it ended."""
    fields = {"job": job.id}
    if job.state is not JobState.DONE:
        _log.warning("Job %s is %s: %s", job.id, job.state, job.reason, extra=fields)
    for error in filter(None, job.spec.get("errors", ())):
        _log.error("%s", error, extra=fields)
    run = app.fanout.delivered(job)
    if run is not None:
        app.read_statistics(run)
        tell(app, run)
        return after_work(app, run)
    planned = app.fanout.planned(job)
    return [message for one in planned for message in after_planning(app, one, None)]


def wake_pieces(task: Any, app: App) -> None:
    """Send a message for each piece that waits for a worker."""
    if "fanout" in vars(app):
        send_all(task, [waking_piece(ref) for ref in app.fanout.wake])
        app.fanout.wake.clear()


def waking_piece(ref: PieceRef, **timed: float) -> Message:
    """The message that has a piece of a job done."""
    return Message(task=piece_task(ref.job), args=(ref.job, ref.stage, ref.number), **timed)


def piece_task(job: str) -> str:
    """Jobs that deliver have names with a d, those that plan with a j."""
    return DELIVER_PIECE if job.startswith("d") else PLAN_PIECE


def after_work(app: App, run: Run | None) -> list[Message]:
    """Come back when the partner will answer; sync anew when that became due meanwhile."""
    if run is None:
        return []
    now, messages = app.now(), []
    if run.next_attempt_at is not None:
        wait = max(0.0, (run.next_attempt_at - now).total_seconds()) + MARGIN
        if wait <= LONGEST_WAIT:
            messages.append(waking(run, countdown=wait))
    newest = app.ledger.last_run(run.audience, run.destination) or run
    ended = run.state is not RunState.DELIVERING
    if ended and due_since(app.project, run.audience, newest.planned_at, now):
        messages.append(Message(task=SYNC, args=([run.audience], run.destination)))
    return messages


def waking(run: Run, **timed: float) -> Message:
    """The message that has a run go on, or its partner asked."""
    asks = run.state is RunState.DELIVERED
    return Message(task=POLL_RUN if asks else DELIVER_RUN, args=(run.id,), **timed)


def send_all(task: Any, messages: list[Message]) -> None:
    """Send messages by the app that a task belongs to."""
    for message in messages:
        message.send(task.app)


def tell(app: App, run: Run) -> None:
    """Say in the log how a run stands."""
    level = logging.WARNING if run.state in (RunState.HELD, RunState.FAILED) else logging.INFO
    reason = f": {app.discretion.text(run.reason)}" if run.reason else ""
    words = run.id, run.audience, run.destination, run.state, reason
    fields = {"run": run.id, "audience": run.audience, "destination": run.destination}
    _log.log(level, "Run %s of %s to %s is %s%s", *words, extra=fields)
