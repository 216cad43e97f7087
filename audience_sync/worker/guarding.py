"""How a task ends well, whatever happens in it or to its process."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded

from audience_sync.errors import AudienceSyncError, BusyError, places
from audience_sync.journal import about
from audience_sync.stopping import StoppedError
from audience_sync.worker.messages import DELIVER_RUN, POLL_RUN, Message

CRASHES = 3  # times that a message is tried again after its process died
_AFTER_CRASH = 10.0  # seconds, doubled each time

_log = logging.getLogger(__name__)

Work = Callable[..., None]


def guard(name: str, work: Work) -> Work:
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
