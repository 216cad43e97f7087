"""A person's rights: what is held of them, and its erasure everywhere, with a proof."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from audience_sync.connector import Recipient
from audience_sync.customers.look_up import customer_row
from audience_sync.errors import AudienceSyncError
from audience_sync.fanning import Opened
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.log import Event, TransferLine
from audience_sync.ledger.records.runs import Run, RunState
from audience_sync.ledger.withdrawal_deliveries import WithdrawalState
from audience_sync.ledger.withdrawals import Withdrawal
from audience_sync.runs.subject import Findings, Person, Subjects
from audience_sync.runs.traces import prints_of
from audience_sync.runs.withdrawal_requests import WithdrawalRequest
from audience_sync.withdrawing import Withdrawing, partner_of, withdrawing_of

if TYPE_CHECKING:
    from audience_sync.membership.location import StateLocation
    from audience_sync.runs.link import Link

CHANNEL = "erasure"
_NOT_SENT = (RunState.PLANNED, RunState.HELD)


class Home(Opened, Protocol):
    """What is asked of a project that is open; see `App`."""

    @property
    def location(self) -> StateLocation:
        """Where the state rests."""
        ...

    @property
    def fingerprint_keys(self) -> tuple[bytes, ...]:
        """The current fingerprint key, and the older ones."""
        ...

    @property
    def order_key(self) -> bytes:
        """See `App.order_key`."""
        ...

    def cancel(self, run: Run, reason: str | None = None) -> Run:
        """See `App.cancel`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """How far an erasure is; it names nobody."""

    id: str
    destinations: int  # that were asked
    lists: int  # that still held the person when it was asked for
    traces: int
    plans: int  # that named the person and were cancelled
    missing: bool  # asked for by a customer id that the source does not have
    waiting_for: tuple[str, ...]  # destinations where it is not over, for one of three reasons
    unacknowledged: tuple[str, ...]
    unconfirmed: tuple[str, ...]  # acknowledged, and not done yet
    left_over: tuple[str, ...]  # done, and a list or a delivery still has the person


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An erasure that is recorded, and what was held when it was asked for or gone on with."""

    withdrawal: Withdrawal
    found: Findings


@dataclass(frozen=True, kw_only=True)
class Access:
    """Finds and erases single people."""

    ledger: Ledger
    subjects: Subjects
    withdrawing: Withdrawing
    fingerprint_keys: Sequence[bytes] = field(repr=False)
    cancel: Callable[[Run, str], Run]
    link: Callable[[str], Link]
    purpose: str
    now: Callable[[], datetime] = field(repr=False)

    def ask(self, person: Person) -> Asked:
        """Record a withdrawal from everybody, which blocks additions from that moment.

        Called again, it is another erasure, which finds less to do.
        """
        found = self.subjects.find(person)
        received = self.withdrawing.receive([_request(person)])
        return Asked(withdrawal=self.ledger.withdrawal(received.withdrawals[0]), found=found)

    def asked(self, withdrawal: str) -> Asked:
        """One that was recorded earlier, by the identifiers that its withdrawal holds."""
        known = self.ledger.withdrawal(withdrawal)
        return Asked(withdrawal=known, found=self.subjects.find_again(known))

    def erase(self, asked: Asked, patience: float, actor: str) -> Erased:
        """Deliver it, and delete what is left here."""
        withdrawal, found = asked.withdrawal, asked.found
        self._cancel(found, withdrawal)
        self.withdrawing.deliver(patience, until=lambda: self._confirmed(withdrawal))
        rows = self.ledger.withdrawal_deliveries(sequences=self._family(withdrawal))
        unheard = {row.destination for row in rows if row.state not in _ACKNOWLEDGED}
        unconfirmed = {r.destination for r in rows if r.state is WithdrawalState.ACKNOWLEDGED}
        left = self.subjects.find_again(withdrawal)
        over = {place.destination for place in left.held}
        over |= {run.destination for run in left.waiting}
        waiting = unheard | over
        done = Erased(
            id=withdrawal.id,
            destinations=len({row.destination for row in rows}),
            lists=len(_lists(found, withdrawal)),
            traces=0 if waiting else self._forgotten(found, left),
            plans=self._plans(withdrawal),
            missing=self.ledger.withdrawal(withdrawal.id).missing > 0,
            waiting_for=tuple(sorted(waiting)),
            unacknowledged=tuple(sorted(unheard)),
            unconfirmed=tuple(sorted((over & unconfirmed) - unheard)),
            left_over=tuple(sorted(over - unconfirmed - unheard)),
        )
        if not waiting:
            self._prove(done, found, sorted({row.destination for row in rows}), actor)
        return done

    def _family(self, withdrawal: Withdrawal) -> list[int]:
        """A withdrawal by customer id goes on as the one that it was resolved by."""
        again = self.ledger.withdrawal(withdrawal.id)
        return [again.sequence, *([again.resolved_by] if again.resolved_by is not None else [])]

    def _confirmed(self, withdrawal: Withdrawal) -> bool:
        rows = self.ledger.withdrawal_deliveries(sequences=self._family(withdrawal))
        return all(row.state is WithdrawalState.CONFIRMED for row in rows)

    def _cancel(self, found: Findings, withdrawal: Withdrawal) -> None:
        """Plans that nobody sent yet are dropped with their outboxes; the next sync plans anew."""
        for run in found.waiting:
            if run.state in _NOT_SENT:
                # One that was sent meanwhile goes on without the person; its outbox ends with it.
                with suppress(AudienceSyncError):
                    self.cancel(run, _cancelled_for(withdrawal))

    def _plans(self, withdrawal: Withdrawal) -> int:
        """How many were dropped for it, when it was asked for or since."""
        cancelled = self.ledger.runs(states=[RunState.CANCELLED])
        return sum(run.reason == _cancelled_for(withdrawal) for run in cancelled)

    def _forgotten(self, *findings: Findings) -> int:
        destinations = {one.destination for one in self.ledger.remote_lists()}
        erased = 0
        for found in findings:
            for destination in sorted(destinations):
                prints = prints_of(found.digests, self.fingerprint_keys, destination)
                erased += self.ledger.erase_traces(destination, prints)
        return erased

    def _prove(
        self, done: Erased, found: Findings, destinations: Sequence[str], actor: str
    ) -> None:
        """One line for each destination: what was done, by whom, for which withdrawal."""
        lines, there_then = [], _lists(found, self.ledger.withdrawal(done.id))
        for destination in destinations:
            held = [audience for audience, there in there_then if there == destination]
            recipient = self._recipient(destination)
            lines.append(
                TransferLine(
                    event=Event.ERASED,
                    run="",
                    audience=", ".join(sorted(held)) or "-",
                    destination=destination,
                    recipient=recipient.name,
                    recipient_country=recipient.country,
                    purpose=self.purpose,
                    reference=done.id,
                    finished_at=self.now(),
                    actor=actor,
                    note=f"a person was erased, who was on {len(held)} lists here",
                )
            )
        if lines:
            self.ledger.record(lines, ())

    def _recipient(self, destination: str) -> Recipient:
        """Who received; a destination that the project dropped is told by its own name."""
        try:
            return self.link(destination).connector.recipient
        except AudienceSyncError:
            return Recipient(name=destination, country="")


_ACKNOWLEDGED = (WithdrawalState.ACKNOWLEDGED, WithdrawalState.CONFIRMED)


def _lists(found: Findings, withdrawal: Withdrawal) -> set[tuple[str, str]]:
    """The lists that held the person when it was received: an erasure may go on days later."""
    since = [one for one in found.before if one.removed_at >= withdrawal.received_at]
    held = {(one.audience, one.destination) for one in found.held}
    return held | {(one.audience, one.destination) for one in since}


def _cancelled_for(withdrawal: Withdrawal) -> str:
    return f"it names a person who is erased ({withdrawal.id}); the next sync plans anew"


def _request(person: Person) -> WithdrawalRequest:
    return WithdrawalRequest(
        customer_id=person.customer_id,
        email=person.email,
        phone=person.phone,
        device=person.device,
        country=person.country,
        channel=CHANNEL,
    )


def access_of(app: Home) -> Access:
    """The rights of people, in a project that is open."""
    selection = app.selection()
    columns = selection.source.columns
    common: dict[str, Any] = {"ledger": app.ledger, "now": app.now}
    subjects = Subjects(
        location=app.location,
        keyring=app.keyring_and_fingerprint_key[0],
        fingerprint_keys=app.fingerprint_keys,
        identity={kind: selection.identity_form(kind) for kind in selection.mapped},
        hashed=selection.hashed,
        partner_of=lambda name: partner_of(app.project, name),
        known_by_id=columns.get("external_id") == columns["customer_id"],
        default_country=selection.rules.default_country,
        look_up=lambda customer: customer_row(selection.source, customer),
        **common,
    )
    return Access(
        subjects=subjects,
        withdrawing=withdrawing_of(app, selection, app.location, app.order_key),
        fingerprint_keys=app.fingerprint_keys,
        cancel=app.cancel,
        link=app.link,
        purpose=app.project.purpose,
        **common,
    )
