"""Becomes a worker, a beat or the simulated partners, in a hurry: seconds stand for minutes.

`python -m chaos.launch HOST worker …` is `audience-sync worker …` on a machine of that name, and
`unhurried-worker` the same at its own pace. What
takes ten minutes in earnest, such as a lease that nobody renews, takes a few seconds here; the
rules are the product's own, and nothing of this can be set from outside the tests.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any

LEASE = 6.0  # seconds; really ten minutes
VISIBILITY = 20  # seconds until Redis gives a message to another; really an hour
SWEEP = 2.0  # seconds; really three minutes
AGAIN = 1.0  # seconds until something is tried again; really five minutes
ANSWER = 2.0  # seconds that a partner may take; really a minute


def main(argv: Sequence[str]) -> int:
    """Do what is asked, under the name of a host."""
    host, what, *words = argv
    socket.gethostname = lambda: host
    return _KNOWN[what](words)


def _unhurried_worker(words: Sequence[str]) -> int:
    from audience_sync.worker.command import run_worker  # noqa: PLC0415 - as below

    return run_worker(words)


def _unhurried_beat(words: Sequence[str]) -> int:
    from audience_sync.worker.command import beat  # noqa: PLC0415 - as below

    return beat(words)


def _worker(words: Sequence[str]) -> int:
    _hasten_messages()
    from celery import signals  # noqa: PLC0415 - the order of these imports is the point

    from audience_sync.worker.command import run_worker  # noqa: PLC0415 - the same

    signals.task_prerun.connect(_hasten_work)  # in a child, which loads the pipeline only now
    return run_worker(words)


def _beat(words: Sequence[str]) -> int:
    _hasten_messages()
    from audience_sync.worker.command import beat  # noqa: PLC0415 - as above

    return beat(words)


def _partners(words: Sequence[str]) -> int:
    from audience_sync.sandbox import SandboxOptions, run  # noqa: PLC0415 - only here

    options = SandboxOptions(google_processing_seconds=0.3)
    run(port=int(words[0]), options=options)
    return 0


def _hasten_messages() -> None:
    from audience_sync.worker import celery_app, schedule  # noqa: PLC0415 - before who uses them

    celery_app.VISIBILITY_TIMEOUT = VISIBILITY
    celery_app.TURN = VISIBILITY * 0.5
    celery_app.STUCK = VISIBILITY * 0.95
    celery_app.STUCK_PLAN = 60
    celery_app.GRACE = 2
    schedule.SWEEP_EVERY = SWEEP
    from audience_sync.worker import guarding  # noqa: PLC0415 - after them

    guarding._AFTER_CRASH = AGAIN


def _hasten_work(**_details: object) -> None:
    from celery import signals  # noqa: PLC0415 - as above

    signals.task_prerun.disconnect(_hasten_work)
    _default("audience_sync.runs.leases", "Held.__init__", every=LEASE / 6)
    _set("audience_sync.runs.leases", LEASE_SECONDS=LEASE, RENEW_EVERY=LEASE / 6)
    _set("audience_sync.runs.fanout.coordinator", _TRY_AGAIN=AGAIN, IN_FLIGHT=LEASE)
    _set("audience_sync.runs.deliver", _POLL_AFTER=AGAIN)
    _set("audience_sync.runs.ending", _TRY_AGAIN=AGAIN)
    _set("audience_sync.delivery.circuit", COOL=AGAIN, _PROBE=4 * AGAIN)
    os.environ["AUDIENCE_SYNC_LONGEST_REST"] = str(round(4 * AGAIN))
    _default("audience_sync.delivery.slots", "Slots.__init__", every=AGAIN)
    _set("audience_sync.delivery.slots", LEASE=3 * AGAIN)
    _set("audience_sync.delivery.redis_board", AWAY_FOR=AGAIN)
    _default("audience_sync.delivery.client", "HttpPartnerClient.__init__", timeout=(ANSWER,) * 2)
    _set("audience_sync.delivery.retries", _growing=lambda _state: 0.1)


def _set(module: str, **changed: Any) -> None:
    """Change constants of a module that a renamed one would break loudly."""
    found = _module(module)
    for name, other in changed.items():
        if not hasattr(found, name):
            raise AttributeError(f"{module} has no {name} any more")
        setattr(found, name, other)


def _default(module: str, function: str, **changed: Any) -> None:
    """Change defaults of a function, which were read when it was defined."""
    found = _module(module)
    for name in function.split("."):
        found = getattr(found, name)
    if missing := changed.keys() - found.__kwdefaults__.keys():
        raise AttributeError(f"{function} has no {missing} any more")
    found.__kwdefaults__ |= changed


def _module(name: str) -> Any:
    __import__(name)
    return sys.modules[name]


_KNOWN: dict[str, Callable[[Sequence[str]], int]] = {
    "worker": _worker,
    "beat": _beat,
    "unhurried-worker": _unhurried_worker,
    "unhurried-beat": _unhurried_beat,
    "partners": _partners,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
