"""Plan: select, judge, hash, merge, diff, guard, and write the outbox. Nothing is sent here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TypeVar

from audience_sync.customers.funnel import Funnel
from audience_sync.customers.policy import Reason, check_rules
from audience_sync.customers.source import open_source
from audience_sync.errors import AudienceSyncError, StateError
from audience_sync.identifiers.forms import versioned
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.runs import Batch, Operation, Run, RunState
from audience_sync.ledger.records.work import Lease
from audience_sync.membership.digests import partitions_for
from audience_sync.membership.guard import GuardFacts, findings
from audience_sync.membership.held import Manifest, Membership
from audience_sync.membership.location import StateLocation
from audience_sync.membership.sealed import Keyring
from audience_sync.runs.compare import Comparison, sizes_of
from audience_sync.runs.following import write_following
from audience_sync.runs.leases import Held
from audience_sync.runs.listplan import ListPlan, Stored, files_for
from audience_sync.runs.outcome import NO_ROWS
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
_DONE = (RunState.DELIVERED, RunState.CONFIRMED)


@dataclass(frozen=True, kw_only=True)
class Planner:
    """Plans lists together, in one pass over the source."""

    ledger: Ledger
    location: StateLocation
    keyring: Keyring
    fingerprint_key: bytes = field(repr=False)
    holder: str
    now: Callable[[], datetime]
    progress: Progress
    planned_by: str | None = None  # who gave the command

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

    def conclude(
        self,
        plan: ListPlan,
        survey: Surveyed,
        *leases: Lease,
        keep: bool = True,
        due: bool = False,
    ) -> Run:
        """Close a list's plan: sums, guards, outbox, and the run in the ledger.

        BusyError, and no run, when one of the leases was lost. A run that is `due` needs nobody's
        word, unless a guard holds it.
        """
        target, counts = plan.target, plan.counts
        funnel = funnel_of(plan, survey)
        if counts.members != counts.unchanged + counts.additions:
            raise StateError(
                f"the delta of {target.name} does not add up; nothing was sent, please report it"
            )
        fingerprint, removals, additions = ("", [], []) if plan.silent else plan.finish()
        found = [] if plan.silent else self._guard(target, funnel, plan)
        state = RunState.HELD if found else RunState.PLANNED
        now = self.now()
        run = Run(
            id=plan.run,
            audience=target.audience,
            destination=target.destination,
            state=RunState.CONFIRMED if plan.silent else state,
            planned_at=now,
            finished_at=now if plan.silent else None,
            next_attempt_at=now if due and state is RunState.PLANNED and not plan.silent else None,
            reason="; ".join(found) or (_why_silent(funnel) if plan.silent else None),
            funnel=funnel.as_counts(),
            delta=_delta(plan, len(removals) + len(additions)),
            forms={kind.value: versioned(form) for kind, form in target.forms.items()},
            generation=plan.generation,
            outbox=None if plan.silent else fingerprint,
            planned_by=self.planned_by,
            withdrawals=survey.withdrawals,
        )
        if plan.silent or not keep:
            plan.abandon()
        if keep:
            self._keep(plan, run, leases, removals, additions)
        return run

    def _keep(
        self,
        plan: ListPlan,
        run: Run,
        leases: Sequence[Lease],
        removals: list[int],
        additions: list[int],
    ) -> None:
        if not plan.silent:
            write_following(self.location, self.keyring, run, plan.manifest)
        operations = [Operation.REMOVE] * len(removals) + [Operation.ADD] * len(additions)
        sizes = removals + additions
        self.ledger.create_run(
            run,
            []
            if plan.silent
            else [
                Batch(run=run.id, position=position, operation=operation, members=size)
                for position, (operation, size) in enumerate(zip(operations, sizes, strict=True))
            ],
            *leases,
        )
        plan.kept = True

    def _guard(self, target: Target, funnel: Funnel, plan: ListPlan) -> list[str]:
        before = self.ledger.last_run(target.audience, target.destination, _DONE)
        was = Funnel.from_counts(before.funnel) if before else None
        counts = plan.counts
        facts = GuardFacts(
            rows=funnel.rows,
            consenting=consenting(funnel),
            selected=counts.members
            + counts.merged
            + funnel.drops.get(Reason.NO_USABLE_IDENTIFIER, 0),
            unusable=funnel.drops.get(Reason.NO_USABLE_IDENTIFIER, 0),
            wanted=counts.members,
            held=counts.held,
            additions=counts.additions,
            removals=counts.left - counts.refused - counts.expired,
            barred=counts.barred,
            previous_rows=was.rows if was else None,
            previous_consenting=consenting(was) if was else None,
            previous_members=was.members if was else None,
        )
        return findings(facts, target.guards)


def _alone(plan: ListPlan, held: Held, work: Callable[[ListPlan], T]) -> T | AudienceSyncError:
    """What goes wrong with one list, now or before, is its answer and stops no other list."""
    if plan.error is None:
        try:
            held.renew(plan.target.name)
            return work(plan)
        except AudienceSyncError as error:
            plan.error = error
    return plan.error


def _delta(plan: ListPlan, batches: int) -> Mapping[str, int]:
    counts = plan.counts
    return {
        "held": counts.held,
        "wanted": counts.members,
        "unchanged": counts.unchanged,
        "additions": counts.additions,
        "changed": counts.changed,
        "removals": counts.left,
        "refused": counts.refused,
        "must_leave": counts.must_leave,
        "batches": batches,
        **({"canaries": counts.canaries} if plan.target.canaries else {}),
    }


def _why_silent(funnel: Funnel) -> str:
    return "nothing changed" if funnel.rows else NO_ROWS


def consenting(funnel: Funnel) -> int:
    """Rows that the policy let pass, whatever audience they are in."""
    later = (Reason.SUPPRESSED, Reason.NOT_IN_AUDIENCE, Reason.NO_USABLE_IDENTIFIER)
    return funnel.members + funnel.merged + sum(funnel.drops.get(reason, 0) for reason in later)


def funnel_of(plan: ListPlan, survey: Surveyed) -> Funnel:
    """What became of every row for one list; a StateError when it does not add up (L3)."""
    target, counts, tally = plan.target, plan.counts, survey.tally
    group = survey.group_of[target.partner]
    audience = survey.audiences.index(target.audience)
    drops = tally.drops[group] + counts.drops
    drops[Reason.NOT_IN_AUDIENCE] += tally.blank_left_out[group, audience]
    drops[Reason.NO_USABLE_IDENTIFIER] += tally.blank_selected[group, audience]
    by_reason: Mapping[Reason, int] = {reason: int(drops[reason]) for reason in Reason}
    return Funnel(
        rows=tally.rows,
        drops=by_reason,
        merged=counts.merged,
        members=counts.members,
        unknown_consent_values=tally.unknown_consent_values,
    ).verify()
