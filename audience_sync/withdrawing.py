"""Puts together what takes withdrawals in, delivers them and tells how far they are."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audience_sync.errors import AudienceSyncError, BusyError, ConfigurationError
from audience_sync.holder import alive, this_process
from audience_sync.identifiers.countries import has_phones
from audience_sync.ledger.withdrawal_deliveries import WithdrawalState
from audience_sync.runs.clock import aged, overdue_lines
from audience_sync.runs.escalation import escalation_of
from audience_sync.runs.lane import Lane, Worked
from audience_sync.runs.merging import Merger
from audience_sync.runs.resolve import Resolver
from audience_sync.runs.targets import Selection
from audience_sync.runs.traces import Leavers
from audience_sync.runs.watch import Watch
from audience_sync.runs.withdraw import Recorder
from audience_sync.runs.withdrawal_files import read_withdrawals, stream_withdrawals
from audience_sync.runs.withdrawal_requests import Received, Rules, WithdrawalRequest

if TYPE_CHECKING:
    from audience_sync.fanning import Opened
    from audience_sync.ledger.records.runs import Run
    from audience_sync.membership.location import StateLocation
    from audience_sync.project import Project

_RAW = "device/raw"
_OPERATOR = "operator"
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 10.0  # seconds between questions to partners, doubled each time
# What is acknowledged and was never sent waits for removals of others to be confirmed.
_NOT_LOOKED = (WithdrawalState.QUEUED, WithdrawalState.SENT)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Withdrawing:
    """Withdrawals of a project that is open: `reception` takes in, `deliver` sends."""

    recorder: Recorder
    lane: Lane
    watch: Watch | None
    merger: Merger
    deadline: Callable[[], float]  # seconds
    base: Path
    now: Callable[[], datetime] = field(repr=False)

    @property
    def reception(self) -> Recorder:
        """Where withdrawals enter; nothing is sent there."""
        return self.recorder

    def receive(self, requests: Sequence[WithdrawalRequest], *, source: str = "cli") -> Received:
        """See `Recorder.receive`."""
        return self.recorder.receive(requests, source=source)

    def receive_file(self, path: Path, partner: str | None) -> Received:
        """Everybody whom a CSV or Parquet file names, as one withdrawal."""
        frames = read_withdrawals(path, self.base)
        return self.recorder.receive_frames(frames, partner=partner, channel=_OPERATOR)

    def receive_stream(self, content: bytes, partner: str | None) -> Received:
        """The same of a CSV or Parquet that came on stdin."""
        frames = stream_withdrawals(content)
        return self.recorder.receive_frames(frames, partner=partner, channel=_OPERATOR)

    def deliver(
        self,
        patience: float = 0.0,
        *,
        until: Callable[[], bool] | None = None,
        at_once: bool = False,
    ) -> Worked:
        """Bring everything as far as it goes, and come back as often as `patience` allows (s).

        That is until the partners have acknowledged. Somebody may wait for more, `until` it is so:
        partners that answer later are then asked again and again. What failed is tried when it is
        due, or `at_once`.
        """
        worked, pause = self.lane.work(at_once=at_once), _FIRST_PAUSE
        while worked.again is not None and not self._enough(worked, until):
            wait = max(0.05, worked.again)
            if until is not None and patience > 0:
                wait, pause = min(wait, pause, patience), min(2 * pause, _LONGEST_PAUSE)
            elif worked.again > patience:
                break
            time.sleep(wait)
            patience -= wait
            worked = self.lane.work()
            if until is not None and worked.open > worked.waiting:
                worked = self.lane.ask()
        self.warn()
        self._merge()
        return worked

    def _enough(self, worked: Worked, until: Callable[[], bool] | None) -> bool:
        return not worked.waiting if until is None else until()

    def ask(self) -> None:
        """Ask now about removals that partners took and have not confirmed; sends no others."""
        if any(
            row.acknowledged_at for row in self.lane.ledger.withdrawal_deliveries(only_open=True)
        ):
            self.lane.ask()

    def _merge(self) -> None:
        """Keep the files few; nobody's withdrawal depends on it."""
        try:
            self.merger.merge()
        except BusyError:
            pass
        except AudienceSyncError as error:
            _log.warning("The files of withdrawals are merged another time: %s", error)

    def look(self) -> Received | None:
        """Make withdrawals of new refusals in the decisions; None where there is no such source."""
        return None if self.watch is None else self.watch.look()

    def warn(self) -> None:
        """Say in the log what will miss its deadline, or has, before and after."""
        found = aged(self.lane.ledger, self.now(), self.deadline())
        for level, line in overdue_lines(found):
            _log.log(level, "%s", line)

    def progress(self, withdrawals: Sequence[str]) -> Mapping[str, Any]:
        """Counts and states of some withdrawals, by their ids; nothing about anybody.

        `held` destinations had somebody to take off, or may have, as long as nobody could look;
        `missing` customers are not in the source.
        """
        ledger, states, held = self.lane.ledger, dict[str, int](), 0
        found = [ledger.withdrawal(one) for one in withdrawals]
        sequences = {one.sequence for one in found}
        for row in ledger.withdrawal_deliveries(sequences=sequences) if sequences else ():
            states[row.state.value] = states.get(row.state.value, 0) + 1
            held += row.sent_at is not None or row.state in _NOT_LOOKED
        return {
            "withdrawals": list(withdrawals),
            "people": sum(one.people for one in found),
            "missing": sum(one.missing for one in found),
            "destinations": states,
            "held": held,
            "open": sum(count for state, count in states.items() if state != "confirmed"),
        }


def withdrawing_of(
    app: Opened, selection: Selection, location: StateLocation, order_key: bytes
) -> Withdrawing:
    """What handles the withdrawals of a project that is open."""
    project, ledger = app.project, app.ledger
    keyring, fingerprint_key, _ = app.keyring_and_fingerprint_key
    rules = _rules(app, selection)
    common: dict[str, Any] = {
        "ledger": ledger,
        "location": location,
        "keyring": keyring,
        "now": app.now,
    }
    working: dict[str, Any] = {"holder": this_process(), "alive": alive}

    def ask_about(run: Run, seconds: float) -> Run:
        return app.pipeline.ask_about(run, seconds)  # which is made only where it is needed

    recorder = Recorder(fingerprint_key=order_key, rules=rules, **common)
    lane = Lane(
        link=app.link,
        partner_of=lambda name: partner_of(project, name),
        resolve=Resolver(rules=rules, **common).resolve,
        escalation=escalation_of(project, ledger, app.now),
        ask_about=ask_about,
        **working,
        leavers=Leavers(ledger, fingerprint_key, app.now, project.retention.traces),
        **common,
    )
    watch = None
    if selection.decisions is not None:
        watch = Watch(ledger=ledger, decisions=selection.decisions, recorder=recorder, now=app.now)
    return Withdrawing(
        recorder=recorder,
        lane=lane,
        watch=watch,
        merger=Merger(**working, **common),
        deadline=project.withdrawals.deadline.total_seconds,
        base=Path.cwd(),
        now=app.now,
    )


def partner_of(project: Project, destination: str) -> str | None:
    """The connector of a destination; None where the project no longer has it."""
    found = project.destinations.get(destination)
    return None if found is None else found.connector


def _rules(app: Opened, selection: Selection) -> Rules:
    project = app.project

    def places() -> Mapping[str, str | None]:
        lists = {
            remote.destination
            for remote in app.ledger.remote_lists()
            # A first run may be at work on a list whose audience has just left the destination.
            if remote.manifest.get("files")
            or (remote.remote_id is not None and remote.destination in project.destinations)
        }
        named = {use for audience in project.audiences.values() for use in audience.destinations}
        return {name: partner_of(project, name) for name in sorted(named | lists)}

    sent = {form for found in project.destinations.values() for form in found.forms.values()} | {
        form.partition("@")[0]
        for remote in app.ledger.remote_lists()
        for form in remote.forms.values()
    }
    return Rules(
        source=selection.source,
        default_country=selection.rules.default_country,
        hashed=selection.hashed,
        partners=selection.partners,
        places=places,
        raw=_RAW in sent,
    )


def refuse_no_country(country: str | None) -> None:
    """A ConfigurationError for one that nobody knows: a phone would be read as somebody else's."""
    if country and not has_phones(country):
        raise ConfigurationError("--country is no ISO 3166 code such as SE; correct it")


def one_person(
    *,
    customer_id: str | None,
    email: str | None,
    phone: str | None,
    device: str | None,
    partner: str | None,
    country: str | None = None,
) -> WithdrawalRequest:
    """A person's own withdrawal; a ConfigurationError when nobody is named."""
    if not any((customer_id, email, phone, device)):
        raise ConfigurationError(
            "name who withdraws: --customer-id, --email, --phone, --device or --file, "
            "each with - to read it from stdin"
        )
    refuse_no_country(country)
    return WithdrawalRequest(
        customer_id=customer_id,
        email=email,
        phone=phone,
        device=device,
        country=country,
        partner=partner,
        channel=_OPERATOR,
    )
