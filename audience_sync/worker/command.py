"""`audience-sync worker` and `audience-sync beat`: run until they are told to stop."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from billiard import active_children  # type: ignore[import-untyped]  # no types; is celery's own
from celery import Celery, signals

from audience_sync import journal, stopping
from audience_sync.settings import Settings, load_settings
from audience_sync.worker import tasks
from audience_sync.worker.celery_app import QUEUES, broker_url, make_celery
from audience_sync.worker.plain import speak_plainly, warn_of_root
from audience_sync.worker.pool import SteadyTaskPool
from audience_sync.worker.schedule import beat_entries

_PREFIX = QUEUES[0].partition(".")[0] + "."
_LIBRARIES = ("celery", "kombu")
_HAND_BACK = signal.SIGUSR2  # from the worker's parent to its children; Celery has no use for it

_log = logging.getLogger(__name__)

Start = Callable[[str, list[str], Mapping[str, str]], Any]


def worker(argv: Sequence[str], start: Start = os.execve) -> int:
    """Check the project and the broker's URL, then become a worker; SIGTERM ends it in order.

    This process is replaced by one that has loaded nothing but Celery. A worker forks, and the
    pipeline's libraries start threads as soon as they are imported, which do not survive a fork.
    """
    options = _worker_options(argv)
    settings = load_settings()
    broker_url(settings)
    _check_project()
    threads = str(max(1, cores() // options.concurrency))
    environ = {"POLARS_MAX_THREADS": threads, **os.environ}
    start(sys.executable, [sys.executable, "-P", "-m", "audience_sync.worker", *argv], environ)
    return 0


def beat(argv: Sequence[str]) -> int:
    """Send what the project's schedules ask for, until SIGTERM; one beat is enough."""
    _parser("beat").parse_args(argv)
    celery = _celery(load_settings())
    celery.conf.beat_schedule = _entries()
    # Nothing is due for nobody while the broker is away; what is due waits for it.
    celery.conf.task_publish_retry_policy = {**celery.conf.task_publish_retry_policy} | {
        "max_retries": None
    }
    signals.beat_init.connect(_end_when_told)
    _log.info("Beat sends for %d schedules", len(celery.conf.beat_schedule) - 1)
    celery.Beat(quiet=True, loglevel="WARNING").run()
    _log.info("Beat has stopped")
    return 0


def run_worker(argv: Sequence[str]) -> int:
    """Be the worker, in a process that has loaded nothing that a fork would break."""
    options = _worker_options(argv)
    celery = _celery(load_settings())
    warn_of_root()
    signal.signal(_HAND_BACK, signal.SIG_IGN)  # until a child listens; it would end it
    signals.worker_process_init.connect(_listen)
    signals.worker_shutting_down.connect(_tell_children)
    found = celery.Worker(
        hostname=f"audience-sync-{os.getpid()}@{socket.gethostname()}",
        concurrency=options.concurrency,
        pool=SteadyTaskPool,
        optimization="fair",
        queues=[_PREFIX + name for name in options.queues],
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
        loglevel="WARNING",
    )
    found.start()
    _log.info("The worker has stopped")
    return int(found.exitcode or 0)


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))


def _worker_options(argv: Sequence[str]) -> argparse.Namespace:
    known = [name.removeprefix(_PREFIX) for name in QUEUES]
    parser = _parser("worker")
    parser.add_argument(
        "--concurrency",
        type=_positive,
        default=cores(),
        help="tasks at a time, each in a process of its own; default: one for each processor",
    )
    parser.add_argument(
        "--queues",
        nargs="+",
        choices=known,
        default=known,
        help="what this worker does; default: everything",
    )
    return parser.parse_args(argv)


def _parser(name: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(prog=f"audience-sync {name}", allow_abbrev=False)


def _positive(text: str) -> int:
    found = int(text)
    if found < 1:
        raise ValueError
    return found


def _check_project() -> None:
    """Fail now and in one sentence, not with every task."""
    from audience_sync.app import App  # noqa: PLC0415 - never in the process that forks

    with App.open() as app:
        app.ledger.check_clock()
        _ = app.keyring_and_fingerprint_key


def _entries() -> dict[str, dict[str, Any]]:
    from audience_sync.app import App  # noqa: PLC0415 - never in the process that forks

    with App.open() as app:
        app.ledger.check_clock()
        app.calendar.meet(app.project.scheduled.values())
        return beat_entries(app.project)


def _celery(settings: Settings) -> Celery:
    """The app with its tasks, and our own way to log instead of Celery's."""
    celery = make_celery(settings)
    tasks.register(celery)
    celery.finalize()
    journal.set_up(settings.log_format, settings.log_level)
    speak_plainly()
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
    signals.setup_logging.connect(_leave_logging)
    signals.worker_ready.connect(_tell_ready)
    return celery


def _end_when_told(sender: Any, **_details: object) -> None:
    """Tell beat's loop, too: Python drops what a signal's handler raises inside of a destructor.

    Celery's own handler only raises, and beat went on as if nobody had said anything.
    """

    def stop(_number: int, _frame: object) -> None:
        sender.stop()
        raise SystemExit

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def _leave_logging(**_details: object) -> None:
    """Celery sets up logging only where nobody listens to this signal."""


def _tell_children(**_details: object) -> None:
    """The parent takes nothing new from now on; what its children do is handed back soon."""
    for child in active_children():
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, _HAND_BACK)


def _listen(**_details: object) -> None:
    """In a child: end the work in order when the parent says so."""
    signal.signal(_HAND_BACK, lambda _number, _frame: stopping.stop())


def _tell_ready(**_details: object) -> None:
    speak_plainly()  # Celery has asked for all of its own warnings meanwhile
    _log.info("The worker is ready")
