"""Work in threads, with few items in flight and results in the order of the items."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

WORKERS = max(1, min(8, os.cpu_count() or 1))


def in_order(work: Callable[[T], R], items: Iterable[T], done: Callable[[R], None]) -> None:
    """Call `work` in threads and `done` in this one; the first error ends it all."""
    waiting: list[Future[R]] = []
    with ThreadPoolExecutor(WORKERS) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > WORKERS:
                    done(waiting.pop(0).result())
            while waiting:
                done(waiting.pop(0).result())
        finally:
            for future in waiting:
                future.cancel()
