"""Runs our command with a stopwatch around each stage; `bench/sync.py --stages` prints it.

Each stage is timed on the threads that work at it, without the stages inside it. Threads share
the processors, so the sum may exceed the time on the clock.
"""

from __future__ import annotations

import functools
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

STARTED = time.perf_counter()

from audience_sync import app  # noqa: E402 - to import it is the first stage
from audience_sync.customers.source import Source  # noqa: E402 - the same
from audience_sync.membership.outbox import OutboxWriter  # noqa: E402 - the same
from audience_sync.membership.sealed import SealedReader, SealedWriter  # noqa: E402 - the same
from audience_sync.membership.spill import Spill  # noqa: E402 - the same
from audience_sync.runs import deliver, plan, reading  # noqa: E402 - the same
from audience_sync.runs.compare import Comparison  # noqa: E402 - the same
from audience_sync.runs.listplan import ListPlan  # noqa: E402 - the same
from audience_sync.runs.settle import Settlement  # noqa: E402 - the same
from audience_sync.runs.survey import Survey  # noqa: E402 - the same
from audience_sync.runs.transfer import Transfer  # noqa: E402 - the same

STAGES: tuple[tuple[str, tuple[tuple[Any, str], ...]], ...] = (
    ("judge", ((Survey, "judge"), (Survey, "_reasons"), (Survey, "_count"))),
    ("write forms + hash", ((Survey, "write"), (reading, "_profile"))),
    ("sort into partitions", ((Survey, "take"), (Spill, "put_at"), (Spill, "finish"))),
    ("encrypt + write", ((SealedWriter, "write"),)),
    ("read + decrypt", ((SealedReader, "read"),)),
    ("compare", ((Comparison, "compare"),)),
    ("membership + outbox", ((ListPlan, "store"), (ListPlan, "take"), (OutboxWriter, "finish"))),
    ("deliver", ((Transfer, "_call"),)),
    ("log each transfer", ((Transfer, "record"),)),
    ("settle", ((Settlement, "settle"),)),
)
PHASES = (
    ("survey", plan, "survey_customers"),
    ("compare", plan.Planner, "_compare"),
    ("deliver", deliver, "send_batches"),
)


class Stopwatch:
    """Seconds by stage, the stages inside left out."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._here = threading.local()
        self._lock = threading.Lock()

    def inside(self, stage: str, work: Callable[[], Any]) -> Any:
        """Do the work on the stage's account."""
        stack: list[float] = self._here.__dict__.setdefault("stack", [])
        stack.append(0.0)
        started = time.perf_counter()
        try:
            return work()
        finally:
            spent = time.perf_counter() - started
            own = spent - stack.pop()
            if stack:
                stack[-1] += spent
            with self._lock:
                self.seconds[stage] += own

    def hook(self, owner: Any, name: str, stage: str) -> None:
        """Time every call of a function."""
        found = getattr(owner, name)

        @functools.wraps(found)
        def timed(*arguments: Any, **named: Any) -> Any:
            return self.inside(stage, lambda: found(*arguments, **named))

        setattr(owner, name, timed)


def main() -> None:
    """Sync once and write the seconds into the file named."""
    watch, phases = Stopwatch(), Stopwatch()
    for stage, places in STAGES:
        for owner, name in places:
            watch.hook(owner, name, stage)
    for phase, owner, name in PHASES:
        phases.hook(owner, name, phase)
    batches = Source.batches

    def timed(self: Source, *arguments: Any, **named: Any) -> Iterator[Any]:
        frames = batches(self, *arguments, **named)
        while (frame := watch.inside("read", lambda: next(frames, None))) is not None:
            yield frame

    Source.batches = timed  # type: ignore[method-assign,assignment] # only here
    imported = time.perf_counter() - STARTED
    with app.App.open() as opened:
        for outcome in opened.sync():
            if outcome.error is not None:
                raise outcome.error
    whole = time.perf_counter() - STARTED
    told = {"whole": whole, "start": imported, "phases": phases.seconds, "stages": watch.seconds}
    Path(sys.argv[1]).write_text(json.dumps(told))


if __name__ == "__main__":
    main()
