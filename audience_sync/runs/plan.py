"""Plan: select, judge, hash, merge, diff, guard, and write the outbox. Nothing is sent here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from audience_sync.customers.policy import check_rules
from audience_sync.customers.source import open_source
from audience_sync.errors import AudienceSyncError
from audience_sync.ledger.records.runs import Run
from audience_sync.membership.digests import partitions_for
from audience_sync.membership.held import Manifest, Membership
from audience_sync.runs.compare import Comparison, sizes_of
from audience_sync.runs.conclude import Concluding
from audience_sync.runs.leases import Held
from audience_sync.runs.listplan import ListPlan, Stored, files_for
from audience_sync.runs.progress import Progress
from audience_sync.runs.reading import survey_customers
from audience_sync.runs.refusals import Refusals
from audience_sync.runs.standing import Standing
from audience_sync.runs.suppression import Suppression
from audience_sync.runs.surveyed import Surveyed
from audience_sync.runs.sweep import SCRATCH
from audience_sync.runs.targets import Selection, Target, Workspace
from audience_sync.runs.threads import in_order
from audience_sync.runs.verdicts import Verdicts
from audience_sync.runs.waiting import WaitingLines

T = TypeVar("T")

_UNKNOWN_SIZE = 1_000_000  # rows assumed where a source cannot tell
_AT_ONCE = 64  # lists whose outboxes are open at a time; systems allow some hundred files
_DAY = 24 * 3600.0  # seconds


@dataclass(frozen=True, kw_only=True)
class Planner(Concluding):
    """Plans lists together, in one pass over the source."""

    fingerprint_key: bytes = field(repr=False)
    holder: str
    progress: Progress

    @property
    def standing(self) -> Standing:
        """The withdrawals that every plan takes as refusals."""
        return Standing(self.ledger, self.location, self.keyring)

    def plan(
        self, selection: Selection, targets: Sequence[Target], held: Held, *, keep: bool = True
    ) -> dict[str, Run | AudienceSyncError]:
        """By the target's name its run: planned, held, or confirmed where nothing differs.

        What stops one list is its own answer, and the others go on. With `keep` false nothing
        remains of the plans but the answers.
        """
        source = open_source(selection.source)
        mapped = selection.source.columns
        check_rules(selection.rules, mapped, decisions=selection.decisions is not None)
        # Known before the customers are read: what is withdrawn later is withheld at delivery.
        refusals = Refusals(self.standing, self.ledger.newest_withdrawal())
        with self._workspace(partitions_for(source.count() or _UNKNOWN_SIZE)) as space:
            survey = survey_customers(
                source, selection, list(targets), space, held, self.now(), self.progress, refusals
            )
            verdicts = Verdicts(survey, space)
            verdicts.cross()
            waiting = WaitingLines(space)
            plans = self._open(targets, survey, space, waiting)
            try:
                self._compare(survey, verdicts, plans, held)
                waiting.finish()
                return {
                    plan.target.name: _alone(
                        plan, held, lambda plan: self._conclude(plan, survey, held, keep=keep)
                    )
                    for plan in plans
                }
            finally:
                waiting.close()
                for plan in plans:
                    if not plan.kept:
                        plan.abandon()

    @contextmanager
    def _workspace(self, partitions: int) -> Iterator[Workspace]:
        folder = f"{SCRATCH}/{self.ledger.new_run_id()}"
        lease = self.ledger.take_lease(folder, self.holder, _DAY)
        space = Workspace(
            location=self.location, keyring=self.keyring, folder=folder, partitions=partitions
        )
        try:
            yield space
        finally:
            space.clear()
            self.ledger.release_lease(lease, for_good=True)

    def _open(
        self, targets: Sequence[Target], survey: Surveyed, space: Workspace, waiting: WaitingLines
    ) -> list[ListPlan]:
        plans, sizes = [], sizes_of(survey)
        for number, target in enumerate(targets):
            remote = self.ledger.remote_list(target.audience, target.destination)
            before = Membership(
                self.location,
                self.keyring,
                Manifest.of(remote.manifest),
                stale=target.is_due(remote.refreshed_at),
            )
            plans.append(
                ListPlan(
                    self.ledger.new_run_id(),
                    target,
                    before,
                    remote.generation,
                    space,
                    waiting,
                    at_once=number < _AT_ONCE,
                    files=files_for(
                        sizes[target.audience], space.partitions, before.manifest.partitions
                    ),
                )
            )
        return plans

    def _compare(
        self, survey: Surveyed, verdicts: Verdicts, plans: Sequence[ListPlan], held: Held
    ) -> None:
        suppression = Suppression(self.ledger, self.fingerprint_key, self.now)
        comparison = Comparison(survey, verdicts, suppression.suppressed, self.now())
        partitions = survey.rows.partitions
        advance = self.progress.stage("Comparing with what partners hold", partitions)

        def compare(partition: int) -> list[tuple[ListPlan, Stored | AudienceSyncError]]:
            rows = comparison.read(partition)

            def one(plan: ListPlan) -> Stored:
                return plan.store(comparison.compare(rows, plan.target, plan.before))

            return [(plan, _alone(plan, held, one)) for plan in plans]

        def done(results: list[tuple[ListPlan, Stored | AudienceSyncError]]) -> None:
            for plan, stored in results:
                if isinstance(stored, Stored):
                    _alone(plan, held, partial(ListPlan.take, stored=stored))
            advance(1)
            held.proceed()

        in_order(compare, range(partitions), done)

    def _conclude(self, plan: ListPlan, survey: Surveyed, held: Held, *, keep: bool) -> Run:
        return self.conclude(plan, survey, held[plan.target.name], keep=keep)


def _alone(plan: ListPlan, held: Held, work: Callable[[ListPlan], T]) -> T | AudienceSyncError:
    """What goes wrong with one list, now or before, is its answer and stops no other list."""
    if plan.error is None:
        try:
            held.renew(plan.target.name)
            return work(plan)
        except AudienceSyncError as error:
            plan.error = error
    return plan.error
