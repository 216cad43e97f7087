"""Closes the plan of a list: sums, guards, outbox, and the run in the ledger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from audience_sync.customers.funnel import Funnel
from audience_sync.errors import StateError
from audience_sync.identifiers.forms import versioned
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.runs import Batch, Operation, Run, RunState
from audience_sync.ledger.records.work import Lease
from audience_sync.membership.guard import findings
from audience_sync.membership.location import StateLocation
from audience_sync.membership.sealed import Keyring
from audience_sync.runs.following import write_following
from audience_sync.runs.listplan import ListPlan
from audience_sync.runs.sums import delta_of, facts_of, funnel_of, why_silent
from audience_sync.runs.surveyed import Surveyed
from audience_sync.runs.targets import Target

_DONE = (RunState.DELIVERED, RunState.CONFIRMED)


@dataclass(frozen=True, kw_only=True)
class Concluding:
    """Makes a run of what was planned, whoever planned it."""

    ledger: Ledger
    location: StateLocation
    keyring: Keyring
    now: Callable[[], datetime]
    planned_by: str | None = None  # who gave the command

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
        run = replace(
            self._planned(plan, found, due=due),
            reason="; ".join(found) or (why_silent(funnel) if plan.silent else None),
            funnel=funnel.as_counts(),
            delta=delta_of(plan, len(removals) + len(additions)),
            outbox=None if plan.silent else fingerprint,
            withdrawals=survey.withdrawals,
        )
        if plan.silent or not keep:
            plan.abandon()
        if keep:
            self._keep(plan, run, leases, removals, additions)
        return run

    def _planned(self, plan: ListPlan, found: Sequence[str], *, due: bool) -> Run:
        """The run as it stands from now on: to be delivered, held, or done where it is silent."""
        target, now = plan.target, self.now()
        state = RunState.HELD if found else RunState.PLANNED
        return Run(
            id=plan.run,
            audience=target.audience,
            destination=target.destination,
            state=RunState.CONFIRMED if plan.silent else state,
            planned_at=now,
            finished_at=now if plan.silent else None,
            next_attempt_at=now if due and state is RunState.PLANNED and not plan.silent else None,
            forms={kind.value: versioned(form) for kind, form in target.forms.items()},
            generation=plan.generation,
            planned_by=self.planned_by,
        )

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
        return findings(facts_of(plan, funnel, was), target.guards)
