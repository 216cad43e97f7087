"""The whole line for many lists: plan them together, deliver each, go on when one fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from audience_sync.errors import (
    AudienceSyncError,
    BusyError,
    ConfigurationError,
    GuardError,
    places,
)
from audience_sync.journal import about
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.log import Event, TransferLine
from audience_sync.ledger.records.runs import Run, RunState
from audience_sync.ledger.records.work import Lease
from audience_sync.runs.confirm import ASK_AGAIN, Confirmer
from audience_sync.runs.deliver import Deliverer
from audience_sync.runs.due import is_due
from audience_sync.runs.leases import Held, take_after_lane
from audience_sync.runs.link import Link
from audience_sync.runs.orders.deliver import OrderDeliverer
from audience_sync.runs.orders.plan import OrderPlanner
from audience_sync.runs.outcome import Outcome
from audience_sync.runs.permits import refuse_additions, refuse_alone, refuse_old, refuse_small
from audience_sync.runs.plan import Planner
from audience_sync.runs.targets import Selection, Target

_log = logging.getLogger(__name__)

_WAITING = (RunState.PLANNED, RunState.HELD)


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """Plans, delivers, approves, resumes and cancels; every change is made under a lease.

    `link` opens a destination by name; `adopted` tells the remote list that an audience adopts;
    `named` tells whether an audience goes to a destination, as the project stands now; `least`,
    the smallest audience that the destination's partner takes.
    """

    ledger: Ledger
    planner: Planner | OrderPlanner
    deliverer: Deliverer | OrderDeliverer
    confirmer: Confirmer
    link: Callable[[str], Link]
    adopted: Callable[[str, str], str | None]
    holder: str
    alive: Callable[[str], bool]
    named: Callable[[str, str], bool] = lambda _audience, _destination: True
    least: Callable[[str, str], int] = lambda _audience, _destination: 0
    two_people: bool = False  # whoever planned a held run may not approve it
    now: Callable[[], datetime] = field(repr=False)

    def sync(
        self,
        selection: Selection,
        targets: Sequence[Target],
        *,
        deliver: bool = True,
        keep: bool = True,
        forced_by: str | None = None,
    ) -> list[Outcome]:
        """One outcome a target. Lists that another run works on are left out, with a BusyError.

        With `deliver` false runs are only planned; with `keep` false not even that. `forced_by`
        names the person who sends what a guard would hold.
        """
        outcomes: dict[str, Outcome] = {}
        with self._holding(targets, outcomes) as held:
            free = [target for target in targets if target.name not in outcomes]
            older = self._waiting(free) if keep else {}
            if keep:
                free = [
                    target for target in free if self.clear(target, held, outcomes, deliver=deliver)
                ]
            if free:
                planned = self.planner.plan(selection, free, held, keep=keep)
                outcomes |= {target.name: _planned(target, planned[target.name]) for target in free}
            if deliver and keep:
                self._deliver_all(outcomes, held, forced_by)
        return [
            replace(outcomes[target.name], replaced=self._cancelled(older.get(target.name, ())))
            for target in targets
        ]

    def _waiting(self, targets: Sequence[Target]) -> dict[str, list[str]]:
        """The plans that nobody has sent yet, by list."""
        return {
            target.name: [
                run.id
                for run in self.ledger.runs(
                    audience=target.audience, destination=target.destination, states=_WAITING
                )
            ]
            for target in targets
        }

    def _cancelled(self, runs: Sequence[str]) -> tuple[str, ...]:
        return tuple(run for run in runs if self.ledger.run(run).state is RunState.CANCELLED)

    def approve(self, run: Run, actor: str) -> Run:
        """Deliver the very outbox that was shown."""
        with self._holding_run(run) as held:
            run = self.ledger.run(run.id)  # as it is now that nobody else works on it
            if run.state not in _WAITING:
                raise ConfigurationError(
                    f"run {run.id} is {run.state}; there is nothing to approve"
                )
            if self.two_people and run.state is RunState.HELD:
                refuse_alone(run, actor)
            self.deliverer.refuse_outdated(run)
            self._refuse_unwanted(run)
            refuse_old(run, self.now())
            run = self._note(run, Event.APPROVED, actor, held)
            return self._deliver(run, held)

    def resume(self, run: Run) -> Run:
        """Go on with a delivery that was interrupted, or ask again about one that is pending."""
        with self._holding_run(run) as held:
            run = self.ledger.run(run.id)  # as it is now that nobody else works on it
            if run.state is RunState.HELD:
                raise GuardError(
                    f"run {run.id} is held: {run.reason}; `audience-sync approve {run.id}` sends it"
                )
            if run.state not in (RunState.PLANNED, RunState.DELIVERING, RunState.DELIVERED):
                raise ConfigurationError(
                    f"run {run.id} is {run.state}; "
                    f"`audience-sync sync {run.audience}` plans a new one"
                )
            if run.state is RunState.DELIVERED:
                return self._ask(run, held)
            if run.state is RunState.PLANNED:
                refuse_old(run, self.now())
            return self._deliver(run, held)

    def go_on(self, run_id: str) -> Run | None:
        """Deliver or ask about a run that is due, however often told to; None when it is not."""
        with self._holding_run(self.ledger.run(run_id)) as held:
            run = self.ledger.run(run_id)  # as it is now that nobody else works on it
            if not is_due(run, self.now()):
                return None
            if run.state is RunState.DELIVERED:
                return self._ask(run, held)
            if run.state is RunState.DELIVERING:
                run = self.ledger.change_run(run.id, reason=None)
            elif run.state is RunState.PLANNED:
                refuse_old(run, self.now())
            return self._deliver(run, held)

    def cancel(self, run: Run, reason: str = "it was cancelled") -> Run:
        """End a run that did not end; what a partner has accepted stays in the membership."""
        with self._holding_run(run) as held:
            run = self.ledger.run(run.id)  # as it is now that nobody else works on it
            if run.state is RunState.DELIVERED:
                return self.confirmer.give_up(run, reason, held)
            if run.state not in (*_WAITING, RunState.DELIVERING):
                raise ConfigurationError(f"run {run.id} is {run.state}; it cannot be cancelled")
            return self.deliverer.give_up(run, RunState.CANCELLED, reason, held)

    def poll_due(self) -> list[Outcome]:
        """Ask about every delivered run whose partner should know more by now."""
        now = self.now()
        return self._poll(lambda run: run.next_attempt_at is None or run.next_attempt_at <= now)

    def poll_delivered(self) -> list[Outcome]:
        """Ask about every delivered run, since a person wants to know now."""
        return self._poll(lambda _run: True)

    def _poll(self, wanted: Callable[[Run], bool]) -> list[Outcome]:
        outcomes = []
        for run in filter(wanted, self.ledger.runs(states=[RunState.DELIVERED])):
            try:
                outcomes.append(_of(self.resume(run)))
            except AudienceSyncError as error:
                outcomes.append(_of(run, error))
        return outcomes

    def _ask(self, run: Run, held: Held) -> Run:
        try:
            return self.confirmer.poll(run, self.link, held)
        except AudienceSyncError as error:
            wait = max(ASK_AGAIN, getattr(error, "retry_after", None) or 0.0)
            later = self.now() + timedelta(seconds=wait)
            self.ledger.change_run(run.id, next_attempt_at=later)
            raise

    def clear(
        self, target: Target, held: Held, outcomes: dict[str, Outcome], *, deliver: bool
    ) -> bool:
        """Finish what was interrupted and drop older plans; whether the list can be planned."""
        states = [*_WAITING, RunState.DELIVERING]
        found = self.ledger.runs(
            audience=target.audience, destination=target.destination, states=states
        )
        for run in found:
            if run.state is RunState.DELIVERING:
                try:
                    self._finish(run, held, deliver=deliver)
                except AudienceSyncError as error:
                    outcomes[target.name] = _of(self.ledger.run(run.id), error)
                    return False
            else:
                reason = "a newer plan took its place"
                self.deliverer.give_up(run, RunState.CANCELLED, reason, held)
        return True

    def _finish(self, run: Run, held: Held, *, deliver: bool) -> None:
        if not deliver:  # planning sends nothing, not even what was begun
            raise ConfigurationError(
                f"the delivery of run {run.id} was interrupted; finish it with "
                f"`audience-sync resume {run.id}` before you plan anew"
            )
        self._deliver(run, held)

    def _deliver_all(self, outcomes: dict[str, Outcome], held: Held, forced_by: str | None) -> None:
        """Destinations in parallel, so that a slow partner keeps nobody waiting."""
        by_destination: dict[str, list[Run]] = {}
        for outcome in outcomes.values():
            run = outcome.run
            if run is None or outcome.error is not None:
                continue
            if run.state is RunState.HELD and forced_by is not None:
                run = self._note(run, Event.FORCED, forced_by, held)
            if run.state is RunState.PLANNED or (run.state is RunState.HELD and forced_by):
                by_destination.setdefault(run.destination, []).append(run)

        def deliver(runs: list[Run]) -> list[Outcome]:
            return [self._try(run, held) for run in runs]

        if by_destination:
            with ThreadPoolExecutor(len(by_destination)) as pool:
                try:
                    for delivered in pool.map(deliver, by_destination.values()):
                        for outcome in delivered:
                            outcomes[f"{outcome.audience}/{outcome.destination}"] = outcome
                except BaseException:
                    held.stop()  # the pool waits for requests under way, no more are sent
                    raise

    def _try(self, run: Run, held: Held) -> Outcome:
        try:
            held.renew(run.lease_name)
            return _of(self._deliver(run, held))
        except AudienceSyncError as error:
            return _of(self.ledger.run(run.id), error)

    def refuse(self, run: Run) -> None:
        """A ConfigurationError when a run may not be delivered any more, as things stand now."""
        if run.state is RunState.PLANNED:
            refuse_old(run, self.now())
        self._refuse_unwanted(run)

    def _refuse_unwanted(self, run: Run) -> None:
        """Removals may always travel."""
        if not self.named(run.audience, run.destination):
            refuse_additions(run, self.ledger.batches(run.id))

    def _deliver(self, run: Run, held: Held) -> Run:
        with _about(run):
            return self._delivered(run, held)

    def _delivered(self, run: Run, held: Held) -> Run:
        self._refuse_unwanted(run)
        refuse_small(run, self.least(run.audience, run.destination))
        adopted = self.adopted(run.audience, run.destination)
        try:
            return self.deliverer.deliver(run, self.link(run.destination), adopted, held)
        except AudienceSyncError:
            raise
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything; others go on
            found = type(error).__name__
            words = run.audience, run.destination, found, places(error)
            _log.error("The delivery of %s to %s stopped with %s in %s", *words)
            raise AudienceSyncError(
                f"something unexpected stopped the delivery ({found}); "
                "the log tells where, please report it"
            ) from None

    def _note(self, run: Run, event: Event, actor: str, held: Held) -> Run:
        """A person took the decision: that stands in the log before anything is sent."""
        link = self.link(run.destination)
        recipient = link.connector.recipient
        line = TransferLine(
            event=event,
            run=run.id,
            audience=run.audience,
            destination=run.destination,
            recipient=recipient.name,
            recipient_country=recipient.country,
            purpose=link.purpose,
            finished_at=self.now(),
            actor=actor,
            note=_decided(run),
        )
        self.ledger.record([line], (), held[run.lease_name])
        forced = event is Event.FORCED
        return self.ledger.change_run(run.id, approved_by=actor, forced=forced)

    @contextmanager
    def _holding(self, targets: Sequence[Target], outcomes: dict[str, Outcome]) -> Iterator[Held]:
        leases = {}
        for target in targets:
            try:
                leases[target.name] = self._take(target.name)
            except BusyError as error:
                outcomes[target.name] = Outcome(
                    audience=target.audience, destination=target.destination, error=error
                )
        with Held(self.ledger, leases) as held:
            yield held

    @contextmanager
    def _holding_run(self, run: Run) -> Iterator[Held]:
        name = run.lease_name
        with _about(run), Held(self.ledger, {name: self._take(name)}) as held:
            yield held

    def _take(self, name: str) -> Lease:
        return take_after_lane(self.ledger, name, self.holder, self.alive)


def _decided(run: Run) -> str | None:
    """Who planned what a person decides about, and why it was held."""
    planned = f"planned by {run.planned_by}" if run.planned_by else None
    return "; ".join(filter(None, (planned, run.reason))) or None


def _about(run: Run) -> AbstractContextManager[None]:
    """Let every line of the log that concerns the run name it."""
    return about(run=run.id, audience=run.audience, destination=run.destination)


def _of(run: Run, error: AudienceSyncError | None = None) -> Outcome:
    return Outcome(audience=run.audience, destination=run.destination, run=run, error=error)


def _planned(target: Target, found: Run | AudienceSyncError) -> Outcome:
    run, error = (None, found) if isinstance(found, AudienceSyncError) else (found, None)
    return Outcome(audience=target.audience, destination=target.destination, run=run, error=error)
