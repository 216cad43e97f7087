"""What Celery says while Redis is away, and of a worker that runs as root, in one sentence each."""

from __future__ import annotations

import logging
import os
import warnings

from celery.exceptions import CPendingDeprecationWarning, SecurityWarning

_SPEAKERS = ("celery.worker.consumer.consumer", "celery.beat")
_OURS = "audience_sync.worker"
_AWAY = (  # how its sentences begin in Celery 5.7
    "consumer: Cannot connect to",
    "beat: Connection error:",
)
_LOST = "consumer: Connection to broker lost."

_log = logging.getLogger(_OURS)


def speak_plainly() -> None:
    """From now on, in this process and those that it forks; however often told."""
    for name in _SPEAKERS:
        logging.getLogger(name).addFilter(_PLAIN)
    # What the setting does for tasks under way was decided; Celery tells at each loss that its
    # default will change.
    warnings.filterwarnings(
        "ignore", r"\s*In Celery 5\.1 we introduced", category=CPendingDeprecationWarning
    )
    # It advises an option that our command does not have, in six lines.
    warnings.filterwarnings("ignore", "You're running the worker", category=SecurityWarning)
    warnings.filterwarnings("ignore", "An entry for the specified gid", category=SecurityWarning)


def warn_of_root() -> None:
    """What Celery would say of it in six lines."""
    if os.geteuid() == 0:
        _log.warning("The worker runs as root; start it as a user who may do less")


class _Plain(logging.Filter):
    """Lets every record pass; those of a Redis that is away say so in our words."""

    def filter(self, record: logging.LogRecord) -> bool:
        told = str(record.msg) % record.args if record.args else str(record.msg)
        if told.startswith(_LOST):
            record.msg = "The connection to Redis was lost; it is made anew"
        elif told.startswith(_AWAY):
            found = record.args if isinstance(record.args, tuple) else ()
            why = next((type(arg).__name__ for arg in found if isinstance(arg, Exception)), None)
            record.msg = "Redis cannot be reached" + (f" ({why})" if why else "")
            record.msg += "; it is asked again every few seconds until it answers"
        else:
            return True
        record.name, record.args = _OURS, ()
        return True


_PLAIN = _Plain()
