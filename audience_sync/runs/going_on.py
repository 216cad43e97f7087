"""A run on its own: approved, resumed, gone on with, asked about, cancelled."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
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
from audience_sync.runs.leases import LEASE_SECONDS, Held, take_after_lane
from audience_sync.runs.link import Link
from audience_sync.runs.orders.deliver import OrderDeliverer
from audience_sync.runs.orders.plan import OrderPlanner
from audience_sync.runs.outcome import Outcome
from audience_sync.runs.permits import refuse_additions, refuse_alone, refuse_old, refuse_small
from audience_sync.runs.plan import Planner

_log = logging.getLogger(__name__)

WAITING = (RunState.PLANNED, RunState.HELD)


@dataclass(frozen=True, kw_only=True)
class GoingOn:
    """Brings runs that are planned to their end; every change is made under a lease.

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

    def approve(self, run: Run, actor: str) -> Run:
        """Deliver the very outbox that was shown."""
        with self._holding_run(run) as held:
            run = self.ledger.run(run.id)  # as it is now that nobody else works on it
            if run.state not in WAITING:
                raise ConfigurationError(
                    f"run {run.id} is {run.state}; there is nothing to approve"
                )
            if self.two_people and run.state is RunState.HELD:
                refuse_alone(run, actor)
            self.deliverer.refuse_outdated(run)
            self._refuse_unwanted(run)
            refuse_old(run, self.now())
            run = self.note(run, Event.APPROVED, actor, held)
            return self.deliver(run, held)

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
            return self.deliver(run, held)

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
            return self.deliver(run, held)

    def cancel(self, run: Run, reason: str = "it was cancelled") -> Run:
        """End a run that did not end; what a partner has accepted stays in the membership."""
        with self._holding_run(run) as held:
            run = self.ledger.run(run.id)  # as it is now that nobody else works on it
            if run.state is RunState.DELIVERED:
                return self.confirmer.give_up(run, reason, held)
            if run.state not in (*WAITING, RunState.DELIVERING):
                raise ConfigurationError(f"run {run.id} is {run.state}; it cannot be cancelled")
            return self.deliverer.give_up(run, RunState.CANCELLED, reason, held)

    def poll_due(self, *, within: float = math.inf) -> list[Outcome]:
        """Ask about delivered runs whose partner should know more by now, for so many seconds."""
        now, end = self.now(), time.monotonic() + within
        return self._poll(
            lambda run: run.next_attempt_at is None or run.next_attempt_at <= now, end
        )

    def poll_delivered(self) -> list[Outcome]:
        """Ask about every delivered run, since a person wants to know now."""
        return self._poll(lambda _run: True, math.inf)

    def _poll(self, wanted: Callable[[Run], bool], end: float) -> list[Outcome]:
        outcomes = []
        for run in filter(wanted, self.ledger.runs(states=[RunState.DELIVERED])):
            seconds = end - time.monotonic()
            if seconds <= 0:
                break
            try:
                outcomes.append(outcome_of(self._asked(run, seconds)))
            except AudienceSyncError as error:
                outcomes.append(outcome_of(run, error))
        return outcomes

    def _asked(self, run: Run, within: float, *, waits: bool = True) -> Run:
        with self._holding_run(run, waits=waits) as held:
            run = self.ledger.run(run.id)  # as it is now that nobody else works on it
            if run.state is RunState.DELIVERED:
                return self._ask(run, held, within=within)
            return run

    def ask_about(self, run: Run, within: float) -> Run:
        """Ask about a delivered run for so many seconds; the run as it stands then.

        Nothing is raised, and nobody waited for: whoever asks has other things to do beside it.
        """
        try:
            return self._asked(run, within, waits=False)
        except BusyError:
            return run
        except AudienceSyncError as error:
            words = run.audience, run.destination, error
            _log.warning("What became of %s at %s cannot be asked yet: %s", *words)
            return self.ledger.run(run.id)

    def _ask(self, run: Run, held: Held, *, within: float = math.inf) -> Run:
        try:
            return self.confirmer.poll(run, self.link, held, within=within)
        except AudienceSyncError as error:
            wait = max(ASK_AGAIN, getattr(error, "retry_after", None) or 0.0)
            later = self.now() + timedelta(seconds=wait)
            self.ledger.change_run(run.id, next_attempt_at=later)
            raise

    def refuse(self, run: Run) -> None:
        """A ConfigurationError when a run may not be delivered any more, as things stand now."""
        if run.state is RunState.PLANNED:
            refuse_old(run, self.now())
        self._refuse_unwanted(run)

    def _refuse_unwanted(self, run: Run) -> None:
        """Removals may always travel."""
        if not self.named(run.audience, run.destination):
            refuse_additions(run, self.ledger.batches(run.id))

    def deliver(self, run: Run, held: Held) -> Run:
        """Deliver a run under a lease that is held, unless it is not wanted any more."""
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

    def note(self, run: Run, event: Event, actor: str, held: Held) -> Run:
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
    def _holding_run(self, run: Run, *, waits: bool = True) -> Iterator[Held]:
        name = run.lease_name
        with _about(run):
            lease = self.take(name) if waits else self._take_free(name)
            with Held(self.ledger, {name: lease}) as held:
                yield held

    def _take_free(self, name: str) -> Lease:
        """The lease of a list that nobody works on; a BusyError at once where somebody does."""
        return self.ledger.take_lease(name, self.holder, LEASE_SECONDS, alive=self.alive)

    def take(self, name: str) -> Lease:
        """The lease of a list; see `take_after_lane`."""
        return take_after_lane(self.ledger, name, self.holder, self.alive)


def outcome_of(run: Run, error: AudienceSyncError | None = None) -> Outcome:
    """What became of the list of a run."""
    return Outcome(audience=run.audience, destination=run.destination, run=run, error=error)


def _decided(run: Run) -> str | None:
    """Who planned what a person decides about, and why it was held."""
    planned = f"planned by {run.planned_by}" if run.planned_by else None
    return "; ".join(filter(None, (planned, run.reason))) or None


def _about(run: Run) -> AbstractContextManager[None]:
    """Let every line of the log that concerns the run name it."""
    return about(run=run.id, audience=run.audience, destination=run.destination)
