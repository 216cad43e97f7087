"""Work in threads, in such a way that a person can stop it at any time.

The main thread waits in short looks: a library that listens to signals too, as polars does once it
was used, lets them be handled only when a wait has ended, however long that takes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")

WORKERS = max(1, min(8, os.cpu_count() or 1))
LOOK = 0.5  # seconds that a signal waits at most


class Threads:
    """So many threads; at the end of its block all that was begun is waited for, as in a pool.

    Whoever stops the process while it waits there leaves what is under way behind.
    """

    def __init__(self, count: int) -> None:
        self._pool = ThreadPoolExecutor(count)
        self._under_way: set[Future[Any]] = set()

    def submit(self, work: Callable[P, R], /, *arguments: P.args, **named: P.kwargs) -> Future[R]:
        """Have this done once a thread is free."""
        future = self._pool.submit(work, *arguments, **named)
        self._under_way.add(future)
        future.add_done_callback(self._under_way.discard)
        return future

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            while under_way := set(self._under_way):
                wait(under_way, timeout=LOOK)
        except BaseException:
            self._pool.shutdown(wait=False, cancel_futures=True)
            raise
        self._pool.shutdown()


def result(future: Future[R]) -> R:
    """What it comes to, or the error that it ends in."""
    while not future.done():
        wait([future], timeout=LOOK)
    return future.result()


def in_order(work: Callable[[T], R], items: Iterable[T], done: Callable[[R], None]) -> None:
    """Call `work` in threads and `done` in this one; the first error ends it all.

    Few items are in flight, and their results come in the order of the items.
    """
    waiting: list[Future[R]] = []
    with Threads(WORKERS) as threads:
        try:
            for item in items:
                waiting.append(threads.submit(work, item))
                if len(waiting) > WORKERS:
                    done(result(waiting.pop(0)))
            while waiting:
                done(result(waiting.pop(0)))
        finally:
            for future in waiting:
                future.cancel()
