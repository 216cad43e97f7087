"""A world whose people may withdraw: where they enter, the lane, and a partner that keeps watch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
from pipeline_world import World, digest, granted

from audience_sync.connector import Members, Receipt, RefusedError, Upload
from audience_sync.ledger.withdrawal_deliveries import WithdrawalDelivery, WithdrawalState
from audience_sync.runs.escalation import Escalation, OnRefusedRemoval
from audience_sync.runs.lane import Lane, Worked
from audience_sync.runs.resolve import Resolver
from audience_sync.runs.withdraw import Recorder
from audience_sync.runs.withdrawal_requests import Received, Rules, WithdrawalRequest


class Forbidden:
    """Identifiers that nobody may send any more, each from a withdrawal on.

    An addition is judged by what its intent knew: one that was on record before the withdrawal is
    not called back (L11). Before anybody recorded one, all of them are wrong.
    """

    def __init__(self, newest: Callable[[], int], known: threading.local) -> None:
        self._newest, self._known = newest, known
        self._since: dict[str, int] = {}

    @property
    def cells(self) -> set[str]:
        """All of them."""
        return set(self._since)

    def forbid(self, cells: Iterable[str]) -> None:
        """From the newest withdrawal on, unless they were before."""
        newest = self._newest()
        for cell in cells:
            self._since.setdefault(cell, newest)

    def release(self, cells: Iterable[str]) -> None:
        """They may be sent again."""
        for cell in cells:
            self._since.pop(cell, None)

    def clear(self) -> None:
        """Everything may."""
        self._since.clear()

    def among(self, cells: Iterable[str]) -> list[str]:
        """Those that this thread should not send, by the intent that it recorded last."""
        known = getattr(self._known, "withdrawals", None)
        there = {cell: self._since[cell] for cell in cells if cell in self._since}
        return sorted(cell for cell, since in there.items() if known is None or since <= known)


class WithdrawnWorld(World):
    """`withdraw` takes in, `lane_works` delivers; an addition of who withdrew is noted at once."""

    def __init__(self, folder: Path, **options: Any) -> None:
        super().__init__(folder, **options)
        self.policy = OnRefusedRemoval.ALERT
        self.known = threading.local()  # what the intent that a thread recorded last knew
        self.forbidden = self.nothing_forbidden()
        self._listen()
        self.wrongs: list[str] = []
        self.on_add: Callable[[], None] = lambda: None
        usual = self.partner.add

        def add(upload: Upload, members: Members) -> Receipt:
            cells = {c for row in members.rows(members.kinds) for c in row if c}
            self.wrongs += self.forbidden.among(cells)
            self.on_add()
            return usual(upload, members)

        self.partner.add = add  # type: ignore[method-assign]

    def nothing_forbidden(self) -> Forbidden:
        """For a partner of this world."""
        return Forbidden(self._newest, self.known)

    def _newest(self) -> int:
        return self.ledger.newest_withdrawal()

    def _listen(self) -> None:
        """Hear which withdrawals each intent of an addition knew."""
        usual = self.ledger.record

        def record(*words: Any, withdrawals: int | None = None, **more: Any) -> list[int]:
            if withdrawals is not None:
                self.known.withdrawals = withdrawals
            return usual(*words, withdrawals=withdrawals, **more)

        self.ledger.record = record  # type: ignore[method-assign]

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
            ask_about=lambda run, seconds: self.pipeline().ask_about(run, seconds),
            holder=holder,
            alive=self.alive,
            **self._common(),
        )

    def withdraw(self, **person: Any) -> Received:
        """One person withdraws now, or when `decided_at` says."""
        person.setdefault("decided_at", self.time)
        received = self.recorder().receive([WithdrawalRequest(**person)])
        if person.get("partner") in (None, "memory"):
            self.forbidden.forbid(written(person.get("email"), person.get("phone")))
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


PEOPLE = [granted(f"c{n}", email=f"p{n}@example.com", phone=f"+4670000000{n}") for n in range(8)]
EVERYBODY = {cell for n in range(8) for cell in written(f"p{n}@example.com", f"+4670000000{n}")}


def eight_people(folder: Path) -> WithdrawnWorld:
    """A world whose customers these are, and nobody held yet."""
    world = WithdrawnWorld(folder)
    world.write(PEOPLE)
    return world


def takes_nobody_alone(world: WithdrawnWorld) -> None:
    """From now on the partner refuses a removal that leaves too few on its list."""
    usual = world.partner.remove

    def remove(upload: Any, members: Members) -> Receipt:
        if len(world.partner.holds) > len(members) * 2:
            raise RefusedError("the audience would be too small", 400, "40002")
        return usual(upload, members)

    world.partner.remove = remove  # type: ignore[method-assign]


def answer(world: WithdrawnWorld, references: Iterable[str], **said: Any) -> None:
    """The partner's last word on these comes, and it is time to ask."""
    word = Receipt(**{"accepted": 1} | said)
    world.partner.answers.update(dict.fromkeys(references, word))
    world.time += timedelta(hours=1)
