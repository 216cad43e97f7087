"""Pieces of a plan that make lists of what was surveyed: `compare` and `conclude`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audience_sync.errors import AudienceSyncError, AwayError, BusyError, StateError
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.work import Job
from audience_sync.membership.held import Manifest, Membership
from audience_sync.runs.compare import Comparison
from audience_sync.runs.fanout.parts import StoredReader, StoredWriter, gathered
from audience_sync.runs.fanout.stages import COMPARE, CROSS, Wanted, is_concluded, partitions_of
from audience_sync.runs.fanout.surveying import Surveying
from audience_sync.runs.leases import Held
from audience_sync.runs.listplan import ListPlan
from audience_sync.runs.plan import Planner
from audience_sync.runs.suppression import Suppression
from audience_sync.runs.targets import Workspace
from audience_sync.runs.verdicts import Verdicts
from audience_sync.runs.waiting import WaitingLines


class Work(Surveying):
    """One piece of a plan; a method for each stage."""

    def __init__(
        self,
        job: Job,
        wanted: Wanted,
        ledger: Ledger,
        planner: Planner,
        fingerprint_key: bytes,
        space: Workspace,
        held: Held,
        lease: str,
    ) -> None:
        super().__init__(job, wanted, ledger, planner.standing, space, held, lease)
        self.planner, self.fingerprint_key = planner, fingerprint_key

    def compare(self, number: int) -> Mapping[str, Any]:
        """Compare some partitions with what every list holds."""
        surveyed = self.surveyed()
        (crossed,) = [one.result for one in self.ledger.pieces(self.job.id, CROSS)]
        reached = gathered(self.space, "reached", [crossed], "reached")
        verdicts = Verdicts(surveyed, self.space, reached)
        suppression = Suppression(self.ledger, self.fingerprint_key, self.planner.now)
        comparison = Comparison(surveyed, verdicts, suppression.suppressed, self.now)
        waiting = WaitingLines(self.space)
        plans = [self._plan(at, waiting) for at in range(len(self.targets))]
        failed: set[int] = set()
        with StoredWriter(self.space) as writer:
            for partition in partitions_of(number, self.space.partitions):
                rows = comparison.read(partition)
                for at, plan in enumerate(plans):
                    if at in failed:
                        continue
                    try:
                        compared = comparison.compare(rows, plan.target, plan.before)
                        writer.put(at, plan.store(compared))
                    except AwayError:
                        raise  # that stops all lists, for a while
                    except AudienceSyncError as error:
                        failed.add(at)
                        writer.failed(at, str(error))
                self.proceed()
            writer.finish()
        return {}

    def conclude(self, number: int) -> Mapping[str, Any]:
        """Close one list: outbox, guards, and the run in the ledger; a list's error is its own."""
        run = self.job.spec["runs"][number]
        if is_concluded(self.ledger, self.job, number):
            return {"run": run}  # who did this piece before died after the run was written
        waiting = WaitingLines(self.space)
        plan = self._plan(number, waiting)
        try:
            for one in self.ledger.pieces(self.job.id, COMPARE):
                reader = StoredReader(self.space.at(one.result["folder"]))
                error = reader.error(number)
                if error is not None:
                    raise StateError(error)
                for stored in reader.of(number):
                    plan.take(stored)
                self.proceed()
            waiting.finish()
            leases = self.held[self.lease], self.held[self.targets[number].name]
            surveyed = self.surveyed()
            return {"run": self.planner.conclude(plan, surveyed, *leases, due=True).id}
        except (AwayError, BusyError):
            raise
        except AudienceSyncError as error:
            return {"error": str(error)}
        finally:
            waiting.close()
            if not plan.kept:
                plan.abandon()

    def _plan(self, number: int, waiting: WaitingLines) -> ListPlan:
        target = self.targets[number]
        remote = self.remote(target)
        before = Membership(
            self.space.location,
            self.space.keyring,
            Manifest.of(remote.manifest),
            stale=target.is_due(remote.refreshed_at),
        )
        return ListPlan(
            self.job.spec["runs"][number],
            target,
            before,
            remote.generation,
            self.space,
            waiting,
            at_once=True,
            files=self.job.spec["files"][number],
            attempt=self.space.folder.rpartition("/")[2],
        )
