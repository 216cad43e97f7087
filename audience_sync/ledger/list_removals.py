"""What each list was told of withdrawals, and which of it the partner has not answered yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any, Self

import sqlalchemy as sa

from audience_sync.ledger.database import Database, storable, upsert
from audience_sync.ledger.leases import fence
from audience_sync.ledger.records.work import Lease
from audience_sync.ledger.tables import Moment, metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class Unanswered:
    """A removal whose partner answers later: whoever withdrew after one, up to another, is in it.

    `references` are those that the partner has not answered; there are none left where it took
    everybody off and an older removal of the list still waits. `settled` is the last run that our
    books knew of then. It came too `early` where the partner still worked on additions of theirs,
    which it may finish later: then it `waits` for these, answered or not.
    """

    after: int
    through: int
    run: str
    settled: str
    sent_at: datetime
    ask_at: datetime
    references: tuple[str, ...]
    early: bool = False

    def __contains__(self, sequence: int) -> bool:
        return self.after < sequence <= self.through

    @property
    def waits(self) -> bool:
        """Whether it is not known that everybody is off."""
        return bool(self.references) or self.early

    def as_json(self) -> dict[str, Any]:
        """As it is stored."""
        times = {"sent_at": self.sent_at.isoformat(), "ask_at": self.ask_at.isoformat()}
        counts = {"after": self.after, "through": self.through}
        runs = {"run": self.run, "settled": self.settled}
        rest = {"references": list(self.references), "early": self.early}
        return counts | runs | times | rest

    @classmethod
    def of(cls, stored: dict[str, Any]) -> Self:
        """As it was stored."""
        times = {name: datetime.fromisoformat(stored[name]) for name in ("sent_at", "ask_at")}
        return cls(**stored | times | {"references": tuple(stored["references"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRemoval:
    """What a list was told: all withdrawals up to `through`, and when.

    `run` is the newest removal that was begun, as the transfer log names it. `unanswered` are the
    removals of which it is not known that they are done, oldest first. The partner has `refused`
    so many in a row that it had taken, the last one for this `reason`.
    """

    audience: str
    destination: str
    through: int = 0
    run: str = ""
    sent_at: datetime
    refused: int = 0
    reason: str | None = None
    unanswered: Sequence[Unanswered] = field(default_factory=tuple)

    def sure(self, known: int) -> int:
        """Up to which withdrawal the partner took everybody off, where the books know of some.

        Whoever is told nowhere, since the removal failed, is not behind us.
        """
        waiting = [one.after for one in self.unanswered if one.waits]
        answered = [one for one in self.unanswered if not one.waits]
        return min([_unbroken(answered, known), *waiting])

    def told_from(self, known: int) -> int:
        """Up to which withdrawal all were told, answered or not, where the books know of some."""
        return _unbroken(self.unanswered, known)

    def last_before(self, sequence: int, known: int) -> int:
        """The newest one before a withdrawal that the books know, or that was told."""
        told = (one.through for one in self.unanswered if one.through < sequence)
        return max([min(known, sequence - 1), *told])

    def told(self, sequence: int) -> bool:
        """Whether whoever withdrew then is in a removal that waits for its books or its answer."""
        return any(sequence in one for one in self.unanswered)

    def with_nobody(self, after: int, through: int) -> Self:
        """The same when nobody who withdrew in between was on the list: nothing was sent."""
        *older, last = self.unanswered
        if last.waits:
            older, last = [*older, last], replace(last, after=after, references=(), early=False)
        last = replace(last, after=min(after, last.after), through=through)
        return replace(self, through=through, unanswered=(*older, last))

    def once_known(self, sequence: int) -> Self:
        """The same when our books know of a withdrawal: removals that are done are forgotten."""
        left = (one for one in self.unanswered if one.waits or one.through > sequence)
        return replace(self, unanswered=tuple(left))


def _unbroken(told: Sequence[Unanswered], known: int) -> int:
    for one in sorted(told, key=lambda one: one.after):
        if one.after <= known:
            known = max(known, one.through)
    return known


removals = sa.Table(
    "withdrawal_removals",
    metadata,
    sa.Column("audience", sa.Text, primary_key=True),
    sa.Column("destination", sa.Text, primary_key=True),
    sa.Column("through", sa.BigInteger, nullable=False),
    sa.Column("run", sa.Text, nullable=False),
    sa.Column("sent_at", Moment, nullable=False),
    sa.Column("refused", sa.BigInteger, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("unanswered", sa.JSON, nullable=False),
)

_FIELDS = tuple(one.name for one in fields(ListRemoval))


class ListRemovals(Database):
    """One row for each list that was told of a withdrawal."""

    def list_removal(self, audience: str, destination: str) -> ListRemoval | None:
        """What a list was told."""
        query = sa.select(removals).where(
            removals.c.audience == audience, removals.c.destination == destination
        )
        with self._reading() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        columns = dict(row._mapping)  # noqa: SLF001 - the public way to read a row by names
        unanswered = tuple(Unanswered.of(one) for one in columns["unanswered"])
        return ListRemoval(**columns | {"unanswered": unanswered})

    def save_list_removal(self, removal: ListRemoval, lease: Lease) -> None:
        """Remember it, in the place of what was remembered of the list."""
        columns = {name: storable(getattr(removal, name)) for name in _FIELDS[:-1]}
        columns["unanswered"] = [one.as_json() for one in removal.unanswered]
        with self._writing() as connection:
            fence(connection, lease)
            insert = upsert(connection.dialect.name, removals).values(columns)
            connection.execute(
                insert.on_conflict_do_update(
                    index_elements=["audience", "destination"],
                    set_={name: insert.excluded[name] for name in _FIELDS[2:]},
                )
            )
