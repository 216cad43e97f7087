"""A world whose people may withdraw: where they enter, the lane, and a partner that keeps watch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
from pipeline_world import World, digest

from audience_sync.connector import Members, Receipt, Upload
from audience_sync.ledger.withdrawals import WithdrawalDelivery, WithdrawalState
from audience_sync.runs.escalation import Escalation, OnRefusedRemoval
from audience_sync.runs.lane import Lane, Worked
from audience_sync.runs.resolve import Resolver
from audience_sync.runs.withdraw import Received, Recorder, Rules, WithdrawalRequest


class WithdrawnWorld(World):
    """`withdraw` takes in, `lane_works` delivers; an addition of who withdrew is noted at once."""

    def __init__(self, folder: Path, **options: Any) -> None:
        super().__init__(folder, **options)
        self.policy = OnRefusedRemoval.ALERT
        self.forbidden: set[str] = set()  # identifiers that nobody may be sent by now
        self.wrongs: list[str] = []
        self.on_add: Callable[[], None] = lambda: None
        usual = self.partner.add

        def add(upload: Upload, members: Members) -> Receipt:
            cells = {c for row in members.rows(members.kinds) for c in row if c}
            self.wrongs += sorted(cells & self.forbidden)
            self.on_add()
            return usual(upload, members)

        self.partner.add = add  # type: ignore[method-assign]

    def withdrawal_rules(self) -> Rules:
        """How withdrawals are read here."""
        selection = self.selection()
        return Rules(
            source=selection.source,
            default_country="SE",
            hashed=self.hashed,
            partners=frozenset({"memory", "other"}),
            places=lambda: {self.target.destination: "memory"},
            raw=False,
        )

    def _common(self) -> dict[str, Any]:
        return {
            "ledger": self.ledger,
            "location": self.location,
            "keyring": self.keyring,
            "now": self.now,
        }

    def recorder(self) -> Recorder:
        """Where withdrawals enter."""
        return Recorder(fingerprint_key=b"f" * 32, rules=self.withdrawal_rules(), **self._common())

    def lane(self, holder: str = "lane:1") -> Lane:
        """What delivers them."""
        resolver = Resolver(rules=self.withdrawal_rules(), **self._common())
        return Lane(
            link=self.link,
            partner_of=lambda _destination: "memory",
            resolve=resolver.resolve,
            escalation=Escalation(ledger=self.ledger, policy=lambda _n: self.policy, now=self.now),
            holder=holder,
            alive=self.alive,
            **self._common(),
        )

    def withdraw(self, **person: Any) -> Received:
        """One person withdraws now, or when `decided_at` says."""
        person.setdefault("decided_at", self.time)
        received = self.recorder().receive([WithdrawalRequest(**person)])
        if person.get("partner") in (None, "memory"):
            self.forbidden |= written(person.get("email"), person.get("phone"))
        return received

    def frame(self, emails: Sequence[str]) -> pl.DataFrame:
        """A file of people."""
        return pl.DataFrame({"email": emails})

    def lane_works(self) -> Worked:
        """The lane once, whatever its pauses."""
        rows = self.ledger.withdrawal_deliveries(only_open=True)
        self.ledger.save_withdrawal_deliveries([due(row) for row in rows])
        return self.lane().work()

    def states(self) -> list[WithdrawalState]:
        """How far each withdrawal is."""
        return [row.state for row in self.ledger.withdrawal_deliveries()]


def due(row: WithdrawalDelivery) -> WithdrawalDelivery:
    """The same, to be looked at now."""
    return replace(row, next_attempt_at=None)


def written(email: str | None, phone: str | None) -> set[str]:
    """What the partner knows somebody by."""
    found = set()
    if email is not None:
        found.add(digest(email))
    if phone is not None:
        found.add(digest(phone.removeprefix("+")))
    return found
