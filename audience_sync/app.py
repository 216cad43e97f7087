"""Puts the parts together: settings and project in, a pipeline that plans and delivers out."""

from __future__ import annotations

import logging
import os
import pwd
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Self

from audience_sync.errors import AudienceSyncError, ConfigurationError, StateError
from audience_sync.holder import alive, this_process
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records import Operation, Run, RunState
from audience_sync.plugins import Installed, installed_connectors
from audience_sync.project import ORDERS, Project, load_project
from audience_sync.runs.forget import forget_list
from audience_sync.runs.leases import LEASE_SECONDS
from audience_sync.runs.progress import Progress, Silent
from audience_sync.runs.reported import read_statistics
from audience_sync.settings import Settings, environment, load_settings
from audience_sync.signing import Signer
from audience_sync.stopping import StoppedError

if TYPE_CHECKING:
    from audience_sync.connector import Connector
    from audience_sync.delivery.board import Board
    from audience_sync.delivery.limits import Gate
    from audience_sync.discretion import Discretion
    from audience_sync.fanning import Fanout
    from audience_sync.membership.location import StateLocation
    from audience_sync.membership.sealed import Keyring
    from audience_sync.purging import Purged
    from audience_sync.runs.calendar import Calendar
    from audience_sync.runs.flight import Flight
    from audience_sync.runs.link import Link
    from audience_sync.runs.outcome import Outcome
    from audience_sync.runs.sync import Pipeline
    from audience_sync.runs.targets import Selection, Target
    from audience_sync.withdrawing import Withdrawing

_log = logging.getLogger(__name__)

SCHEDULE = "schedule"  # planned a run when no person did
_ASK_AGAIN = timedelta(days=1)  # a person, to approve that a list is emptied


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that `check` looked at: `error` is None when it is in order, or only `warns`."""

    subject: str
    detail: str
    error: AudienceSyncError | None = None
    warns: bool = False


@dataclass(frozen=True)
class App:
    """A project, ready to run. Parts are made when they are first needed."""

    settings: Settings
    installed: Installed
    project: Project
    progress: Progress = field(default_factory=Silent)
    sharing: bool = False  # whether other workers are there to do parts of a sync
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _links: dict[str, Link] = field(default_factory=dict, repr=False)
    _lock: Any = field(default_factory=Lock, repr=False)

    @classmethod
    def open(
        cls,
        project: Path | None = None,
        progress: Progress | None = None,
        *,
        sharing: bool = False,
    ) -> Self:
        """The project named, or the one that the settings name."""
        settings = load_settings(project=project)
        installed = installed_connectors()
        folder = settings.project.parent
        found = installed.connectors
        loaded = load_project(settings.project, found, environment(folder), found.why)
        return cls(settings, installed, loaded, progress or Silent(), sharing)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        for link in self._links.values():
            link.close()
        if "ledger" in vars(self):
            self.ledger.close()

    @cached_property
    def keyring_and_fingerprint_key(self) -> tuple[Keyring, bytes, bool]:
        """The state keys, the fingerprint key, and whether they were just made."""
        from audience_sync.membership.sealed import Keyring  # noqa: PLC0415 - keeps status light

        keys, made = self.settings.keys()
        watched = self.settings.watched_keys()

        def renewed() -> Keyring:
            state = watched.now().state
            return Keyring(state.current, state.keys)

        return Keyring(keys.state.current, keys.state.keys, renewed), keys.fingerprint, made

    @cached_property
    def fingerprint_keys(self) -> tuple[bytes, ...]:
        """The fingerprint key, and the older ones, whose fingerprints are still recognised."""
        return self.keyring_and_fingerprint_key[1], *self.settings.keys()[0].older

    @property
    def order_key(self) -> bytes:
        """The fingerprint key that reported orders are known by."""
        from audience_sync.checking import order_key  # noqa: PLC0415 - keeps status light

        return order_key(self.ledger, self.location, self.fingerprint_keys, keep=False)

    @cached_property
    def signer_and_made(self) -> tuple[Signer | None, bool]:
        """What signs the transfer log, and whether its key was just made; none was given: None."""
        keys, made = self.settings.signing_keys()
        return (Signer(keys[0], keys[1:]) if keys else None), made

    @property
    def signer(self) -> Signer:
        """What signs the transfer log; a ConfigurationError where no key was given."""
        found = self.signer_and_made[0]
        if found is None:
            raise ConfigurationError(
                "the transfer log cannot be signed: set AUDIENCE_SYNC_SIGNING_KEY, "
                "base64 of 32 bytes, since the state rests in object storage"
            )
        return found

    def sign_log(self) -> None:
        """Sign what the transfer log holds by now; where that fails our own log says so.

        What was sent stays sent, so nothing ends for it.
        """
        if not self.ledger.unsigned():
            return
        try:
            self.ledger.make_checkpoints(self.signer)
        except AudienceSyncError as error:
            _log.error("%s", error)

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger, created where there is none."""
        folder = self.settings.state_folder
        if folder is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            except OSError as error:
                reason = error.strerror or "it is not a folder"
                raise StateError(
                    f"the state folder {folder} cannot be made: {reason}; "
                    "set AUDIENCE_SYNC_STATE_URL to a folder that can"
                ) from None
        return Ledger.open(self.settings.database_url.get_secret_value())

    @cached_property
    def location(self) -> StateLocation:
        """Where memberships and outboxes rest."""
        from audience_sync.membership.location import open_location  # noqa: PLC0415 - the same

        return open_location(self.settings.state_url)

    @cached_property
    def pipeline(self) -> Pipeline:
        """Plans and delivers. The forms have been tested on their vectors before (L14)."""
        from audience_sync.assembly import assembled  # noqa: PLC0415 - the same

        keyring, fingerprint_key, _ = self.keyring_and_fingerprint_key
        return assembled(
            self.project,
            ledger=self.ledger,
            location=self.location,
            keyring=keyring,
            fingerprint_key=fingerprint_key,
            progress=self.progress,
            link=self.link,
            now=self.now,
            older_keys=self.fingerprint_keys[1:],
            planned_by=self.planner,
            least=self._least,
        )

    @cached_property
    def order_pipeline(self) -> Pipeline:
        """Plans and delivers reports of orders."""
        from audience_sync.assembly import assembled_orders  # noqa: PLC0415 - the same

        keyring, fingerprint_key, _ = self.keyring_and_fingerprint_key
        return assembled_orders(
            self.project,
            self.installed.connectors,
            ledger=self.ledger,
            location=self.location,
            keyring=keyring,
            fingerprint_key=fingerprint_key,
            progress=self.progress,
            link=self.link,
            now=self.now,
            older_keys=self.fingerprint_keys[1:],
            planned_by=self.planner,
        )

    @property
    def planner(self) -> str:
        """Who plans: the person who gave a command, or the schedule that a worker follows."""
        return SCHEDULE if self.sharing else operator()

    def _least(self, audience: str, destination: str) -> int:
        from audience_sync.targeting import least_of  # noqa: PLC0415 - the same

        connectors: Mapping[str, type[Connector[Any]]] = self.installed.connectors
        return least_of(self.project, connectors, audience, destination)

    @cached_property
    def fanout(self) -> Fanout:
        """What lets many workers share a sync."""
        from audience_sync.fanning import fanout_of  # noqa: PLC0415 - the same

        return fanout_of(self)

    @cached_property
    def withdrawals(self) -> Withdrawing:
        """What takes withdrawals in, delivers them and tells how far they are."""
        from audience_sync.withdrawing import withdrawing_of  # noqa: PLC0415 - the same

        _ = self.pipeline  # which proves forms and keys
        key = self.keyring_and_fingerprint_key[1]
        return withdrawing_of(self, self.selection(), self.location, key)

    def deliver_withdrawals(self) -> None:
        """Bring what is open as far as it goes now, where anything is."""
        if self.ledger.withdrawal_deliveries(only_open=True):
            self.withdrawals.deliver()

    def pipeline_of(self, run: Run) -> Pipeline:
        """What plans and delivers runs of this sort."""
        reports = any(b.operation is Operation.REPORT for b in self.ledger.batches(run.id)[:1])
        return self.order_pipeline if reports else self.pipeline

    def link(self, destination: str) -> Link:
        """The destination's connector, ready to use; one for all threads."""
        from audience_sync.delivery.client import HttpPartnerClient  # noqa: PLC0415 - the same
        from audience_sync.runs.link import Link  # noqa: PLC0415 - the same

        with self._lock:
            if destination not in self._links:
                if destination not in self.project.destinations:
                    raise ConfigurationError(
                        f"the destination {destination} is no longer in {self.project.path.name}; "
                        "put it back"
                    )
                found = self.project.destinations[destination]
                kept = self._kept(destination)
                client = HttpPartnerClient(found.settings.base_url, kept=kept)
                connector = self.installed.connectors[found.connector](found.settings, client)
                client.bind(connector, gate := self._gate(found.name, connector))
                self._links[destination] = Link(
                    destination=destination,
                    connector=connector,
                    recording=client.recording,
                    close=client.close,
                    slots=gate.slots,
                    project=self.project.name,
                    purpose=self.project.purpose,
                )
            return self._links[destination]

    def _gate(self, destination: str, connector: Connector[Any]) -> Gate:
        """What all who send to the destination's account pass through, in any process."""
        from audience_sync.delivery.limits import Gate  # noqa: PLC0415 - keeps status light

        counted = connector.account() or f"destination {destination}"
        words = f"{connector.name} {connector.settings.base_url} {counted}"
        return Gate(words, self._board)

    @cached_property
    def _board(self) -> Board:
        """Where workers share the partners' limits."""
        from audience_sync.delivery.redis_board import board_at  # noqa: PLC0415 - keeps status light

        url = self.settings.broker_url
        return board_at(url.get_secret_value() if url else None)

    def _kept(self, destination: str) -> Callable[[str], Any]:
        """Where a destination's own credentials rest; nothing is opened before one is asked for."""

        def kept(name: str) -> Any:
            from audience_sync.runs.vault import Vault  # noqa: PLC0415 - few partners need it

            keyring, _, _ = self.keyring_and_fingerprint_key
            vault = Vault(
                destination=destination,
                ledger=self.ledger,
                location=self.location,
                keyring=keyring,
                holder=this_process(),
                alive=alive,
            )
            return vault.kept(name)

        return kept

    def targets(
        self, audiences: Sequence[str], destination: str | None, *, alone: bool = True
    ) -> list[Target]:
        """The lists that a command names, and those that the project named before."""
        from audience_sync.targeting import targets_of  # noqa: PLC0415 - the same

        connectors: Mapping[str, type[Connector[Any]]] = self.installed.connectors
        retired = self.retired()
        project, now = self.project, self.now()
        return targets_of(project, connectors, audiences, destination, now, retired, alone=alone)

    def _aims(
        self, audiences: Sequence[str], destination: str | None
    ) -> tuple[list[Target], list[Target]]:
        """The lists that a command names, and the destinations that are told of orders."""
        if self.project.orders is None or (audiences and ORDERS not in audiences):
            return self.targets(audiences, destination), []
        from audience_sync.ordering import order_targets  # noqa: PLC0415 - the same

        connectors: Mapping[str, type[Connector[Any]]] = self.installed.connectors
        reports = order_targets(self.project, connectors, destination)
        named = [audience for audience in audiences if audience != ORDERS]
        if named or not audiences or not reports:
            return self.targets(named, destination, alone=not reports), reports
        return [], reports

    def sync(
        self,
        audiences: Sequence[str] = (),
        destination: str | None = None,
        *,
        deliver: bool = True,
        keep: bool = True,
        force: bool = False,
    ) -> list[Outcome]:
        """Plan and deliver; see `Pipeline.sync`."""
        from audience_sync.runs.sweep import sweep  # noqa: PLC0415 - the same
        from audience_sync.runs.sync import late_failures  # noqa: PLC0415 - the same

        if force and self.project.approval.two_people:
            raise ConfigurationError(
                "the project asks two people (approval.two_people), so nobody sends held runs "
                "alone: sync without --force, and another person approves what is held"
            )
        lists, reports = self._aims(audiences, destination)
        sweep(self.ledger, self.location, alive, self.now())
        if deliver and keep:
            self.deliver_withdrawals()
        how: dict[str, Any] = {"deliver": deliver, "keep": keep}
        how["forced_by"] = operator() if force else None
        outcomes = self.pipeline.sync(self.selection(), lists, **how) if lists else []
        if reports:
            outcomes += self.order_pipeline.sync(self.selection(), reports, **how)
        if deliver and keep:
            late = late_failures(self.pipeline.poll_due(), outcomes)
            outcomes = [self._as_it_is_now(outcome) for outcome in outcomes]
            for outcome in outcomes:
                if outcome.run is not None:
                    self.read_statistics(outcome.run)
            outcomes += late
            self.deliver_withdrawals()
            self.sign_log()
            self.warn_of_canaries()
        return outcomes

    def _as_it_is_now(self, outcome: Outcome) -> Outcome:
        """A partner may have given its final answer since the delivery."""
        if outcome.run is None or outcome.run.state is not RunState.DELIVERED:
            return outcome
        return replace(outcome, run=self.ledger.run(outcome.run.id))

    def read_statistics(self, run: Run) -> None:
        """Remember what the partner tells of a list that a run has just changed; never fails.

        A run that sent nothing asks nothing either (L8).
        """
        if run.outbox is not None and run.state in (RunState.DELIVERED, RunState.CONFIRMED):
            remote = self.ledger.remote_list(run.audience, run.destination)
            read_statistics(self.ledger, self.link, remote, self.now())

    def canaries(self) -> list[Flight]:
        """Where the project's canaries are on every list, and which did not move."""
        if not self.project.canaries or not self.project.audiences:
            return []
        from audience_sync.runs.flight import Watch  # noqa: PLC0415 - keeps status light

        selection = self.selection()
        watch = Watch(
            ledger=self.ledger,
            location=self.location,
            keyring=self.keyring_and_fingerprint_key[0],
            identity={kind: selection.identity_form(kind) for kind in selection.mapped},
        )
        return watch.flights(self.targets((), None, alone=False), self.now())

    def warn_of_canaries(self) -> None:
        """Tell the log of this program which canaries did not move."""
        for flight in self.canaries():
            if flight.alert is not None:
                where = f"{flight.audience} at {flight.destination}"
                _log.warning("The canary %s on %s: %s", flight.canary, where, flight.alert)

    def forget(self, audience: str, destination: str) -> None:
        """Take a list that its partner no longer has for gone; the next sync makes a new one."""
        name = f"{audience}/{destination}"
        lease = self.ledger.take_lease(name, this_process(), LEASE_SECONDS, alive=alive)
        try:
            link, actor = self.link(destination), operator()
            forget_list(self.ledger, link, audience, lease, actor=actor, now=self.now())
        finally:
            self.ledger.release_lease(lease)

    def settle_orders(self, run: Run, *, arrived: bool) -> int:
        """Take orders whose answer was never seen for arrived or lost, as a person found out."""
        from audience_sync.runs.orders.settle import settle_orders  # noqa: PLC0415 - the same

        lease = self.ledger.take_lease(run.lease_name, this_process(), LEASE_SECONDS, alive=alive)
        try:
            link, now = self.link(run.destination), self.now()
            run = self.ledger.run(run.id)
            return settle_orders(
                self.ledger, run, link, lease, arrived=arrived, actor=operator(), now=now
            )
        finally:
            self.ledger.release_lease(lease)

    def ask_partners(self) -> list[Outcome]:
        """Ask about every delivery that has no final answer yet, and about every list."""
        outcomes = self.pipeline.poll_delivered()
        for remote in self.ledger.remote_lists():
            if remote.destination in self.project.destinations:
                read_statistics(self.ledger, self.link, remote, self.now())
        return outcomes

    def plan_for_later(
        self, audiences: Sequence[str] = (), destination: str | None = None
    ) -> list[Outcome]:
        """Plan only; the runs to deliver, interrupted ones too, become due to be gone on with."""
        targets, reports = self._aims(audiences, destination)
        # No schedule names an audience that is gone, so its lists come with any other's.
        targets += [
            target
            for target in self.retired()
            if target.audience not in {*audiences, *self.project.audiences}
            and destination in (None, target.destination)
            and audiences
        ]
        targets = [target for target in targets if not (target.retired and self._waits(target))]
        found = self._planned(targets) if targets else []
        if reports:
            found += self.order_pipeline.sync(self.selection(), reports, deliver=False)
        return [
            outcome if outcome.run is None else replace(outcome, run=self.made_due(outcome.run))
            for outcome in found
        ]

    def _planned(self, targets: Sequence[Target]) -> list[Outcome]:
        if self.sharing:
            return self.fanout.plan(self.selection(), targets)
        return self.pipeline.sync(self.selection(), targets, deliver=False)

    def selection(self) -> Selection:
        """Which customers the project reads, and how it judges them."""
        from audience_sync.targeting import selection_of  # noqa: PLC0415 - the same

        return selection_of(self.project, self.installed.names)

    @property
    def discretion(self) -> Discretion:
        """What of counts is shown to people."""
        from audience_sync.discretion import Discretion  # noqa: PLC0415 - keeps other uses light

        return Discretion(self.project.report_threshold)

    @cached_property
    def calendar(self) -> Calendar:
        """What is due by the schedules, and was it served."""
        from audience_sync.runs.calendar import Calendar  # noqa: PLC0415 - keeps status light

        return Calendar(ledger=self.ledger, holder=this_process(), alive=alive, now=self.now)

    def plan_scheduled(self, audiences: Sequence[str]) -> list[Outcome]:
        """Plan the audiences whose due time nobody served yet; the others are left alone."""
        known = self.project.scheduled
        found = [known[name] for name in audiences if name in known]
        with self.calendar.serving(found) as serving:
            outcomes = self.plan_for_later(list(serving.due)) if serving.due else []
            for outcome in outcomes:
                note = _left_out(outcome)
                if note is not None:
                    before = serving.notes.get(outcome.audience)
                    serving.notes[outcome.audience] = f"{before}; {note}" if before else note
        return outcomes

    def overdue(self) -> list[list[str]]:
        """Audiences whose due time nobody serves, those of one schedule together."""
        self.calendar.meet(self.project.scheduled.values())
        together: dict[tuple[str | None, str], list[str]] = {}
        for audience in self.calendar.unserved(self.project.scheduled.values()):
            rule = audience.schedule, str(audience.timezone)
            together.setdefault(rule, []).append(audience.name)
        return list(together.values())

    def retired(self) -> list[Target]:
        """The lists that the project no longer names, but that hold members."""
        from audience_sync.targeting import retired_of  # noqa: PLC0415 - the same

        connectors: Mapping[str, type[Connector[Any]]] = self.installed.connectors
        return retired_of(self.project, connectors, self.ledger.remote_lists())

    def _waits(self, target: Target) -> bool:
        """Whether a person was asked to approve a list's end not long ago."""
        last = self.ledger.last_run(target.audience, target.destination)
        if last is None or last.state is not RunState.HELD:
            return False
        return self.now() - last.planned_at < _ASK_AGAIN

    def made_due(self, run: Run) -> Run:
        """A run that is to be delivered without a person's word, now or when its partner said."""
        if run.state not in (RunState.PLANNED, RunState.DELIVERING):
            return run
        if run.next_attempt_at is not None:  # the partner asked us to wait
            return run
        return self.ledger.change_run(run.id, next_attempt_at=self.now())

    def cancel(self, run: Run) -> Run:
        """End a run that did not end; workers that share its delivery stop."""
        return self.fanout.cancel(run) or self.pipeline_of(run).cancel(run)

    def resume(self, run: Run) -> Run:
        """Go on with a delivery that was interrupted, or ask again about one that is pending."""
        return self.fanout.resume(run) or self.pipeline_of(run).resume(run)

    def go_on(self, run_id: str) -> Run | None:
        """Deliver or ask about a run that is due, however often told to; None when it is not."""
        known = self.ledger.run(run_id)
        shares = self.sharing and known.state in (RunState.PLANNED, RunState.DELIVERING)
        if shares and self.fanout.deliver(run_id):
            return None
        run = self.pipeline_of(known).go_on(run_id)
        if run is not None:
            self.read_statistics(run)
            self.warn_of_canaries()
        return run

    def sweep(self) -> list[Run]:
        """Delete what dead processes left behind; the runs that are due."""
        from audience_sync.runs.due import due_runs  # noqa: PLC0415 - the same
        from audience_sync.runs.sweep import note_sweep, sweep  # noqa: PLC0415 - the same

        sweep(self.ledger, self.location, alive, self.now())
        note_sweep(self.ledger, this_process())
        self.sign_log()
        return due_runs(self.ledger, self.now(), alive)

    def purge(self, *, dry: bool = False) -> list[Purged]:
        """Delete everything whose time is over, by the project's `retention:`."""
        from audience_sync.purging import Purge, note_purge  # noqa: PLC0415 - the same
        from audience_sync.runs.sweep import sweep  # noqa: PLC0415 - the same

        if not dry:
            sweep(self.ledger, self.location, alive, self.now())
            note_purge(self.ledger, this_process())
        return Purge(
            project=self.project,
            ledger=self.ledger,
            location=self.location,
            signer=self.signer_and_made[0],
            cancel=lambda run, reason: self.pipeline_of(run).cancel(run, reason),
            now=self.now(),
            dry=dry,
        ).all()

    def purge_if_due(self) -> list[Purged]:
        """The same, once a day however often it is asked for."""
        from audience_sync.purging import is_due  # noqa: PLC0415 - the same

        return self.purge() if is_due(self.ledger, self.now()) else []

    def check(self, destination: str | None = None) -> list[Finding]:
        """Look at everything that a sync needs, without changing anything at a partner."""
        from audience_sync import checking  # noqa: PLC0415 - keeps status light

        if destination is not None and destination not in self.project.destinations:
            raise ConfigurationError(
                f"no destination {destination} in {self.project.path.name}; there are "
                f"{', '.join(self.project.destinations)}"
            )
        steps: list[tuple[str, Callable[[], str]]] = [
            ("project", lambda: f"{(n := len(self.project.audiences))} audience{'s' * (n != 1)}"),
            ("connectors", self._check_connectors),
            ("forms", self._check_forms),
            ("keys", self._check_keys),
            ("signing", self._check_signing),
            ("ledger", lambda: f"{len(self.ledger.remote_lists())} lists known"),
            ("state", self._check_state),
            ("source", lambda: checking.look_at_source(self.project)),
            ("decisions", lambda: checking.look_at_decisions(self.project, self.installed.names)),
        ]
        if self.project.orders is not None:
            steps.append(("orders", self._check_orders))
        chosen = [destination] if destination else list(self.project.destinations)
        steps += [(f"destination {name}", lambda name=name: self._check(name)) for name in chosen]  # type: ignore[misc]
        findings = []
        for subject, step in steps:
            try:
                findings.append(Finding(subject=subject, detail=step()))
            except AudienceSyncError as error:
                detail = self.project.located(str(error))
                findings.append(Finding(subject=subject, detail=detail, error=error))
        hints = [Finding(subject="name", detail=hint, warns=True) for hint in self.warnings()]
        return findings + hints

    def warnings(self, audience: str | None = None) -> list[str]:
        """What audiences' names, titles and conditions may reveal of the people in them."""
        from audience_sync.project.sensitive import hints  # noqa: PLC0415 - as above

        return [str(hint) for hint in hints(self.project, audience)]

    def _check_connectors(self) -> str:
        broken = "; ".join(f"{name}: {why}" for name, why in self.installed.broken.items())
        works = f"{len(self.installed.connectors)} installed"
        return f"{works}; left out is {broken}" if broken else works

    def _check_orders(self) -> str:
        from audience_sync.ordering import look_at_orders  # noqa: PLC0415 - as above

        return look_at_orders(self.project, self.installed.connectors)

    def _check_forms(self) -> str:
        from audience_sync.identifiers.selftest import self_test  # noqa: PLC0415 - as above

        self_test()
        return "every form writes its vectors"

    def _check_signing(self) -> str:
        if self.signer_and_made[0] is None:
            return "the transfer log is not signed: set AUDIENCE_SYNC_SIGNING_KEY"
        return f"key {self.signer.public_key}"

    def _check_keys(self) -> str:
        from audience_sync.checking import know_fingerprint_key  # noqa: PLC0415 - as above

        keyring = self.keyring_and_fingerprint_key[0]
        know_fingerprint_key(self.location, self.fingerprint_keys, keep=False)
        return f"state key {keyring.current}"

    def _check_state(self) -> str:
        from audience_sync import checking  # noqa: PLC0415 - as above

        keyring = self.keyring_and_fingerprint_key[0]
        checking.know_state_keys(self.ledger, self.location, keyring, keep=False)
        return checking.look_at_state(self.ledger, self.location, keyring)

    def _check(self, destination: str) -> str:
        from audience_sync.checking import look_at_lists  # noqa: PLC0415 - as above
        from audience_sync.connector import OrderConnector  # noqa: PLC0415 - as above

        link = self.link(destination)
        link.connector.check()
        if isinstance(link.connector, OrderConnector):
            reported = self.ledger.reported_orders(destination)
            return f"{link.connector.title} is told of orders, {reported:,} so far"
        lists = look_at_lists(self.project, self.ledger, link)
        return f"{link.connector.title} takes the credentials, {lists}"


def _left_out(outcome: Outcome) -> str | None:
    """Why a scheduled list was not planned, for `status`; None when it was."""
    if isinstance(outcome.error, StoppedError):
        raise outcome.error
    if outcome.run is not None and outcome.run.state is RunState.DELIVERING:
        return f"{outcome.destination} was skipped: run {outcome.run.id} is still being delivered"
    if outcome.error is not None:
        return f"{outcome.destination} was skipped: {outcome.error}"
    return None


def operator() -> str:
    """Who gave the command, for the transfer log: the login, whatever the environment says."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"
