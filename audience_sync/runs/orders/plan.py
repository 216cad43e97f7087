"""Plan a report of orders: select, judge, reference, diff, guard, and write the outbox."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import polars as pl

from audience_sync.customers.orders import OrdersDescription, open_orders
from audience_sync.customers.source import open_source
from audience_sync.errors import AudienceSyncError
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.runs import Batch, Operation, Run, RunState
from audience_sync.membership.digests import partitions_for
from audience_sync.membership.location import StateLocation
from audience_sync.membership.outbox import destroy_outbox
from audience_sync.membership.sealed import Keyring
from audience_sync.runs.leases import Held
from audience_sync.runs.orders.compare import Counts, Rules, compare, lines_of
from audience_sync.runs.orders.gather import Gathered, gather_lines
from audience_sync.runs.orders.guard import OrderFacts, findings
from audience_sync.runs.orders.keys import OrderKeys
from audience_sync.runs.orders.outbox import OrderOutboxWriter
from audience_sync.runs.orders.shareable import Shareable, judge_customers
from audience_sync.runs.progress import Progress
from audience_sync.runs.refusals import Refusals
from audience_sync.runs.standing import Standing, customer_keys
from audience_sync.runs.sweep import SCRATCH
from audience_sync.runs.targets import Selection, Target, Workspace

ORDERS = "orders"  # stands for the audience in runs, leases and the transfer log
VANISHED = (
    "{:,} reported lines are no longer in the source; keep them there with the state that takes "
    "them back"
)
REFERENCE = {"customer": "keyed-reference@1"}  # what stands for the form of an identifier

_UNKNOWN_SIZE = 1_000_000  # rows assumed where a source cannot tell
_DAY = 24 * 3600.0  # seconds
_DONE = (RunState.CONFIRMED, RunState.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporting:
    """What the project says of orders: where they are, how long they may change, what each needs.

    `needs` holds by destination the columns without which its partner can count nothing.
    """

    source: OrdersDescription
    window: timedelta
    needs: Mapping[str, tuple[str, ...]]


@dataclass
class _Plan:
    """One destination's plan as it grows."""

    run: str
    target: Target
    rules: Rules
    outbox: OrderOutboxWriter
    counts: Counts = field(default_factory=Counts)
    error: AudienceSyncError | None = None
    kept: bool = False


@dataclass(frozen=True, kw_only=True)
class OrderPlanner:
    """Plans reports to several destinations together, in one pass over customers and orders."""

    ledger: Ledger
    location: StateLocation
    keyring: Keyring
    fingerprint_key: bytes = field(repr=False)
    reporting: Reporting
    holder: str
    now: Callable[[], datetime]
    progress: Progress
    planned_by: str | None = None  # who gave the command

    def plan(
        self, selection: Selection, targets: Sequence[Target], held: Held, *, keep: bool = True
    ) -> dict[str, Run | AudienceSyncError]:
        """By the target's name its run: planned, held, or confirmed where nothing changed."""
        source = open_orders(self.reporting.source)
        sizes = source.count(), open_source(selection.source).count()
        rows = max(size if size is not None else _UNKNOWN_SIZE for size in sizes)
        with self._workspace(partitions_for(rows)) as space:
            window, now = self.reporting.window, self.now()
            lines = gather_lines(source, window, space, held, now, self.progress)
            standing = Standing(self.ledger, self.location, self.keyring)
            refusals = Refusals(standing, self.ledger.newest_withdrawal())
            aims, progress = list(targets), self.progress
            customers = judge_customers(selection, aims, space, held, now, progress, refusals)
            plans = [self._begun(target, lines) for target in targets]
            try:
                self._compare(plans, lines, customers, held)
                return {
                    plan.target.name: self._concluded(plan, customers, held, keep=keep)
                    for plan in plans
                }
            finally:
                for plan in plans:
                    if not plan.kept:
                        plan.outbox.abandon()
                        destroy_outbox(self.location, plan.run)

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

    def _begun(self, target: Target, lines: Gathered) -> _Plan:
        run = self.ledger.new_run_id()
        rules = Rules(
            destination=target.destination,
            keys=OrderKeys.derive(self.fingerprint_key, target.destination),
            needs=self.reporting.needs[target.destination],
            window=self.reporting.window,
        )
        outbox = OrderOutboxWriter(self.location, self.keyring, run, target.batch_size)
        plan = _Plan(run, target, rules, outbox)
        plan.counts.rows = lines.drops.total()
        plan.counts.drops += lines.drops
        return plan

    def _compare(
        self, plans: Sequence[_Plan], lines: Gathered, customers: Shareable, held: Held
    ) -> None:
        partitions = lines.lines.partitions
        advance = self.progress.stage("Comparing with what was reported", partitions)
        for partition in range(partitions):
            frame = lines.lines.read(partition)
            if frame is not None:
                may = customers.may(partition, customer_keys(frame["customer_id"]))
                for plan in plans:
                    group = customers.group_of[plan.target.partner]
                    judged = frame.with_columns(may=pl.Series(may[:, group]))
                    self._alone(plan, held, judged)
            advance(1)
            held.proceed()

    def _alone(self, plan: _Plan, held: Held, frame: pl.DataFrame) -> None:
        """What goes wrong with one destination is its answer and stops no other."""
        if plan.error is not None:
            return
        try:
            held.renew(plan.target.name)
            lines = lines_of(frame, plan.rules, plan.counts)
            orders = lines["of_order"].unique().to_list()
            reported = self.ledger.reported(plan.target.destination, orders)
            plan.outbox.add(compare(lines, reported, plan.rules, plan.counts))
        except AudienceSyncError as error:
            plan.error = error

    def _concluded(
        self, plan: _Plan, customers: Shareable, held: Held, *, keep: bool
    ) -> Run | AudienceSyncError:
        if plan.error is not None:
            return plan.error
        try:
            held.renew(plan.target.name)
            run = self._run(plan, customers)
            if keep:
                self._keep(plan, run)
        except AudienceSyncError as error:
            return error
        return run

    def _run(self, plan: _Plan, customers: Shareable) -> Run:
        counts, destination = plan.counts.verify(), plan.target.destination
        held = self.ledger.reported_orders(destination)
        silent = not counts.lines
        found = [] if silent else self._findings(plan, customers, held)
        fingerprint = None if silent else plan.outbox.finish()
        if silent:
            found = [VANISHED.format(counts.vanished)] if counts.vanished else ["nothing changed"]
        now = self.now()
        state = RunState.HELD if found else RunState.PLANNED
        return Run(
            id=plan.run,
            audience=ORDERS,
            destination=destination,
            state=RunState.CONFIRMED if silent else state,
            planned_at=now,
            finished_at=now if silent else None,
            reason="; ".join(found) or None,
            funnel=counts.as_funnel(),
            delta=_delta(plan, customers, held),
            forms=REFERENCE,
            outbox=fingerprint,
            planned_by=self.planned_by,
        )

    def _findings(self, plan: _Plan, customers: Shareable, held: int) -> list[str]:
        counts = plan.counts
        before = self.ledger.last_run(ORDERS, plan.target.destination, _DONE)
        facts = OrderFacts(
            rows=counts.rows,
            unreadable=counts.drops["unreadable"],
            held=held,
            taken_back=counts.orders["correction"] + counts.orders["cancellation"],
            fresh=counts.orders["order"],
            customers=customers.rows,
            granted=customers.granted,
            previous_rows=before.funnel.get("rows_read") if before else None,
            previous_customers=before.delta.get("customers") if before else None,
            previous_granted=before.delta.get("granted") if before else None,
        )
        return findings(facts, plan.target.guards)

    def _keep(self, plan: _Plan, run: Run) -> None:
        batches = [
            Batch(run=run.id, position=position, operation=Operation.REPORT, members=orders)
            for position, orders in enumerate(plan.outbox.orders)
        ]
        self.ledger.create_run(run, batches)
        plan.kept = run.outbox is not None


def _delta(plan: _Plan, customers: Shareable, held: int) -> dict[str, int]:
    """Orders, in the words that a list's members have; corrections are changes."""
    orders = plan.counts.orders
    added, changed, removed = (orders[word] for word in ("order", "correction", "cancellation"))
    return {
        "held": held,
        "wanted": held + added - removed,
        "unchanged": max(0, held - changed - removed),
        "additions": added,
        "changed": changed,
        "removals": removed,
        "vanished": plan.counts.vanished,
        "customers": customers.rows,
        "granted": customers.granted,
        "batches": len(plan.outbox.orders),
    }
