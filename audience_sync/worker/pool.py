"""The worker's child processes, mended: one that died while Redis did ends nobody else."""

from __future__ import annotations

from typing import Any

from celery.concurrency.asynpool import AsynPool
from celery.concurrency.prefork import TaskPool


class SteadyPool(AsynPool):  # type: ignore[misc]  # Celery has no types
    """Watches its children, each as long as it lives.

    Whenever Redis was lost Celery 5.7 watches all children anew, and those too that have just ended
    and wait to be replaced. Kombu 5.7 has no name for these, and the whole worker ended with a
    ValueError.
    """

    def _track_child_process(self, proc: Any, hub: Any) -> None:
        if getattr(proc, "_sentinel_poll", proc) is not None:
            super()._track_child_process(proc, hub)


class SteadyTaskPool(TaskPool):  # type: ignore[misc]  # Celery has no types
    """Celery's prefork pool, with such children."""

    Pool = SteadyPool
