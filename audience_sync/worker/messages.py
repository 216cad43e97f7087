"""The messages between beat and workers: a task's name, and names and ids for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from celery import Celery

from audience_sync.worker.celery_app import DELIVER, PLAN, POLL, URGENT, VISIBILITY_TIMEOUT

SYNC = "audience_sync.sync"
DELIVER_RUN = "audience_sync.deliver"
POLL_RUN = "audience_sync.poll"
SWEEP = "audience_sync.sweep"
PURGE = "audience_sync.purge"
SCHEDULED = "audience_sync.scheduled"
PLAN_PIECE = "audience_sync.plan_piece"
DELIVER_PIECE = "audience_sync.deliver_piece"
WITHDRAW = "audience_sync.withdraw"
WATCH = "audience_sync.watch"
QUEUE_OF = {
    WITHDRAW: URGENT,
    WATCH: URGENT,
    SYNC: PLAN,
    SCHEDULED: PLAN,
    PLAN_PIECE: PLAN,
    DELIVER_RUN: DELIVER,
    DELIVER_PIECE: DELIVER,
    POLL_RUN: POLL,
    SWEEP: POLL,
    PURGE: POLL,
}

# Seconds. Redis doubles a message that waits longer than the visibility timeout; what is to wait
# longer than this is left to the sweep.
LONGEST_WAIT = VISIBILITY_TIMEOUT * 0.75

_UNTOLD = {"argsrepr": "-", "kwargsrepr": "-"}  # else Celery writes the arguments into log records


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A wake-up: lost or doubled it does no harm, because the ledger knows what is due."""

    task: str
    args: tuple[str | int | Sequence[str] | None, ...] = ()
    countdown: float | None = None  # seconds
    expires: float | None = None  # seconds

    def options(self) -> dict[str, Any]:
        """How Celery is to send it."""
        timed = {"countdown": self.countdown, "expires": self.expires}
        given = {name: value for name, value in timed.items() if value is not None}
        return {"queue": QUEUE_OF[self.task], **_UNTOLD, **given}

    def send(self, celery: Celery) -> None:
        """Put it into its queue."""
        celery.send_task(self.task, args=list(self.args), **self.options())
