"""What a person does about one run or one list that did not go as it should."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from audience_sync.app.parts import Parts, operator
from audience_sync.holder import alive, this_process
from audience_sync.ledger.records.runs import Run
from audience_sync.ledger.records.work import Job, Lease
from audience_sync.runs.forget import forget_list
from audience_sync.runs.leases import LEASE_SECONDS


@dataclass(frozen=True)
class Remedies:
    """Cancels, resumes, forgets and settles, each under the list's lease."""

    parts: Parts

    def cancel(self, run: Run, reason: str | None = None) -> Run:
        """End a run that did not end; workers that share its delivery stop.

        Without a `reason` it is that whoever gave the command wanted it so.
        """
        why = reason or f"cancelled by {operator()}"
        ended = self.parts.fanout.cancel(run, why)
        return ended or self.parts.pipeline_of(run).cancel(run, why)

    def cancel_plan(self, job: Job) -> None:
        """End the job that makes a plan; nothing of it is kept."""
        self.parts.fanout.cancel_plan(job, f"cancelled by {operator()}")

    def resume(self, run: Run) -> Run:
        """Go on with a delivery that was interrupted, or ask again about one that is pending."""
        return self.parts.fanout.resume(run) or self.parts.pipeline_of(run).resume(run)

    def forget(self, audience: str, destination: str) -> None:
        """Take a list that its partner no longer has for gone; the next sync makes a new one."""
        parts = self.parts
        with self._holding(f"{audience}/{destination}") as lease:
            link = parts.link(destination)
            forget_list(parts.ledger, link, audience, lease, actor=operator(), now=parts.now())

    def settle_orders(self, run: Run, *, arrived: bool) -> int:
        """Take orders whose answer was never seen for arrived or lost, as a person found out."""
        from audience_sync.runs.orders.settle import settle_orders  # noqa: PLC0415 - few need it

        parts = self.parts
        with self._holding(run.lease_name) as lease:
            link, now = parts.link(run.destination), parts.now()
            run = parts.ledger.run(run.id)  # as it is now that nobody else works on it
            return settle_orders(
                parts.ledger, run, link, lease, arrived=arrived, actor=operator(), now=now
            )

    @contextmanager
    def _holding(self, name: str) -> Iterator[Lease]:
        ledger = self.parts.ledger
        lease = ledger.take_lease(name, this_process(), LEASE_SECONDS, alive=alive)
        try:
            yield lease
        finally:
            ledger.release_lease(lease)
