"""A world of two partners with a list each, whose people may withdraw from one or from both."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from fanned_world import FannedWorld
from pipeline_world import FORMS, MemoryPartner, digest
from withdrawn_world import Forbidden, WithdrawnWorld

from audience_sync.connector import Members, Receipt, Upload
from audience_sync.delivery.exchange import Exchange
from audience_sync.errors import BusyError, RefusedError
from audience_sync.identifiers.kinds import Kind
from audience_sync.ledger.records.runs import Run, RunState
from audience_sync.ledger.records.work import JobState
from audience_sync.membership.held import Manifest, Membership
from audience_sync.membership.lines import HELD
from audience_sync.runs.escalation import Escalation
from audience_sync.runs.lane import Lane
from audience_sync.runs.link import Link
from audience_sync.runs.outcome import Outcome
from audience_sync.runs.resolve import Resolver
from audience_sync.runs.targets import Target
from audience_sync.runs.withdrawal_requests import Rules, WithdrawalRequest

PARTNERS = ("memory", "other")
_LATER = timedelta(minutes=15)  # until whatever waits is looked at again


class PatientPartner(MemoryPartner):
    """Where it is `pending` it has the last word only once it is `answering`, on `some` or all.

    What it has no word on it calls `lost`, where it is told to. Where it is `keeping` it refuses
    every removal after which anybody is left. An addition is done when it has its last word: until
    then nobody can say whether it comes before or after a removal.
    """

    def __init__(self, forbidden: Forbidden) -> None:
        super().__init__()
        self.answering = False
        self.some = 0b111  # of three references in turn those that it has a word on
        self.lost = False
        self.keeping = False
        self.asked: dict[str, int] = {}
        self.coming: dict[str, set[str]] = {}  # who is put on with the last word on an addition
        self.forbidden = forbidden
        self.wrongs: list[str] = []
        self.on_add: Callable[[], None] = lambda: None

    def add(self, upload: Upload, members: Members) -> Receipt:
        cells = {c for row in members.rows(members.kinds) for c in row if c}
        self.wrongs += self.forbidden.among(cells)
        self.on_add()
        receipt = self._noted(super().add(upload, members))
        if receipt.reference is not None:
            self.coming[receipt.reference] = cells
        return receipt

    def remove(self, upload: Upload, members: Members) -> Receipt:
        gone = {c for row in members.rows(members.kinds) for c in row if c}
        if self.keeping and self.holds - gone:
            raise RefusedError("the list would be too small")
        return self._noted(super().remove(upload, members))

    def delete_audience(self, remote_id: str) -> None:
        self.fault("before", "delete")
        self.holds.clear()
        self.coming.clear()
        self.fault("after", "delete")

    def _noted(self, receipt: Receipt) -> Receipt:
        if receipt.reference is not None:
            self.asked[receipt.reference] = receipt.accepted
        return receipt

    def poll(self, reference: str) -> Receipt:
        if self.answering and self.some >> int(reference.rpartition("-")[2]) % 3 & 1:
            self.holds |= self.coming.pop(reference, set())
            return Receipt(accepted=self.asked[reference])
        if self.answering and self.lost:
            return Receipt(accepted=0, unattributed=self.asked[reference], lost=True)
        return Receipt(accepted=0, pending=True)


class OtherPartner(PatientPartner):
    """The same by another name, that wants phones with a plus."""

    name = "other"
    forms: ClassVar[Mapping[Kind, str]] = {Kind.EMAIL: "email/plain", Kind.PHONE: "phone/e164"}


class TwoPartnersWorld(WithdrawnWorld):
    """`memory-1` and `other-1`; what a partner is sent of who withdrew is noted by itself."""

    def __init__(self, folder: Path, **options: Any) -> None:
        super().__init__(folder, **options)
        self.memory = PatientPartner(self.nothing_forbidden())
        self.other = OtherPartner(self.nothing_forbidden())
        self.partner = self.memory
        self.partners = frozenset(PARTNERS)
        there = dataclasses.replace(
            self.target, destination="other-1", partner="other", forms=OtherPartner.forms
        )
        self.lists: list[Target] = [self.target, there]

    def at(self, partner: str) -> PatientPartner:
        """A partner by its name."""
        return self.memory if partner == "memory" else self.other

    def link(self, destination: str) -> Link:
        return Link(
            destination=destination,
            connector=self.at(destination.removesuffix("-1")),
            recording=lambda: nullcontext(Exchange()),
            project="test",
            purpose="advertising",
        )

    def withdrawal_rules(self) -> Rules:
        rules = super().withdrawal_rules()
        places = {f"{name}-1": name for name in PARTNERS}
        return dataclasses.replace(rules, places=lambda: places)

    def lane(self, holder: str = "lane:1") -> Lane:
        resolver = Resolver(rules=self.withdrawal_rules(), **self._common())
        return Lane(
            link=self.link,
            partner_of=lambda destination: destination.removesuffix("-1"),
            resolve=resolver.resolve,
            escalation=Escalation(ledger=self.ledger, policy=lambda _n: self.policy, now=self.now),
            ask_about=lambda run, seconds: self.pipeline().ask_about(run, seconds),
            holder=holder,
            alive=self.alive,
            **self._common(),
        )

    def withdraw_from(self, partner: str | None, at: datetime, **person: Any) -> None:
        """One person withdraws from a partner, or from both."""
        request = WithdrawalRequest(**person, partner=partner, decided_at=at)
        self.recorder().receive([request])

    def sync_both(self, **options: Any) -> list[Outcome]:
        """Sync both lists in one pass."""
        return self.sync_all(self.lists, **options)

    def approve(self, run: Run) -> None:
        """Deliver what was planned."""
        self.pipeline().approve(run, "anna")

    def recover(self) -> None:
        """Go on with deliveries that were interrupted."""
        for run in self.ledger.runs(states=[RunState.DELIVERING]):
            self.pipeline().resume(run)

    def held_by(self, partner: str, *, surely: bool = False) -> set[str]:
        """The identifiers that the membership at a partner counts as held, in hex.

        Those in doubt, too, unless they are to be `surely` held.
        """
        remote = self.ledger.remote_list(self.target.audience, f"{partner}-1")
        membership = Membership(self.location, self.keyring, Manifest.of(remote.manifest))
        lines = membership.read(0, 1)
        alive = lines.take((lines.state == HELD) if surely else lines.alive)
        return {v.tobytes().hex() for c in alive.columns.values() for v in c if v.any()}


class SharedWorld(FannedWorld, TwoPartnersWorld):
    """The same, planned and delivered by many workers, piece by piece."""

    def sync_all(self, targets: Sequence[Target], **options: Any) -> list[Outcome]:
        """What others began is gone on with first; what then still waits is left out."""
        self.recover()
        if self.ledger.runs(states=[RunState.DELIVERING]) or self.ledger.jobs((JobState.OPEN,)):
            error = BusyError("it waits for its partner")
            return [
                Outcome(audience=one.audience, destination=one.destination, error=error)
                for one in targets
            ]
        return super().sync_all(targets, **options)

    def approve(self, run: Run) -> None:
        """As a worker does it."""
        self.work_off(self.begin_delivery(run.id))

    def recover(self) -> None:
        """As the sweep does it, once the pauses are over."""
        self.time += _LATER
        stalled, _ = self.coordinator().stalled()
        self.work_off(list(stalled))
        if not self.ledger.jobs((JobState.OPEN,)):
            super().recover()


def written_for(partner: str, email: str | None, phone: str | None) -> set[str]:
    """What a partner knows somebody by."""
    known = FORMS if partner == "memory" else OtherPartner.forms
    plus = known[Kind.PHONE] == "phone/e164"
    found = {digest(email)} if email is not None else set()
    if phone is not None:
        found.add(digest(phone if plus else phone.removeprefix("+")))
    return found
