"""What came in by HTTP: which requests were seen, what they were answered, how many were refused.

All web processes share it, so a request that is sent again, or by somebody else, is known to each.
Only keyed fingerprints rest here, of keys, signatures and bodies; never a body, never a person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from audience_sync.ledger.database import Database, storable, upsert
from audience_sync.ledger.tables.intake import intake_counts, intake_marks, intake_receipts

STALE = timedelta(seconds=120)  # a request that nobody answered for so long was lost in a crash

_SEEN = intake_marks.c
_COUNTED = ("day", "source", "outcome")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A mark of a request that was seen before; `answered` is False while somebody works on it."""

    mark: bytes
    body: bytes
    receipt: str
    answered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeReceipt:
    """What a request was answered: counts and references, never an identifier."""

    id: str
    source: str
    received_at: datetime
    answer: Mapping[str, Any]


class Intake(Database):
    """Claiming, answering and remembering requests from outside."""

    def begin_intake(
        self, source: str, marks: Sequence[bytes], body: bytes, receipt: str, until: datetime
    ) -> list[Seen]:
        """Claim a request by its marks; what was seen of them before, and then nothing is claimed.

        A claim that a crash left behind, and a mark whose time is over, are no hindrance.
        """
        now = self._clock()
        shared = {"source": source, "body": body, "receipt": receipt, "answered": False}
        rows = [
            {**shared, "mark": mark, "begun_at": now, "expires_at": until}
            for mark in sorted(set(marks))
        ]
        gone = sa.or_(
            _SEEN.expires_at <= now, sa.and_(~_SEEN.answered, _SEEN.begun_at <= now - STALE)
        )
        of_these = sa.and_(_SEEN.source == source, _SEEN.mark.in_([row["mark"] for row in rows]))
        with self._writing() as connection:
            connection.execute(sa.delete(intake_marks).where(of_these, gone))
            insert = upsert(connection.dialect.name, intake_marks).on_conflict_do_nothing()
            claim = insert.returning(_SEEN.mark)
            added = [connection.execute(claim, row).first() is not None for row in rows]
            if all(added):
                return []
            connection.execute(sa.delete(intake_marks).where(_SEEN.receipt == receipt))
            return [
                _seen(row) for row in connection.execute(sa.select(intake_marks).where(of_these))
            ]

    def join_intake(
        self, source: str, marks: Sequence[bytes], body: bytes, receipt: str, until: datetime
    ) -> None:
        """Know a request by further marks, as one that was answered by this receipt."""
        shared = {"source": source, "body": body, "receipt": receipt, "answered": True}
        now = self._clock()
        with self._writing() as connection:
            insert = upsert(connection.dialect.name, intake_marks).on_conflict_do_nothing()
            for mark in marks:
                row = {**shared, "mark": mark, "begun_at": now, "expires_at": until}
                connection.execute(insert, row)

    def end_intake(
        self, receipt: str, source: str, answer: Mapping[str, Any], until: datetime
    ) -> None:
        """Keep what a claimed request was answered; who sends it again is answered the same."""
        row = {
            "id": receipt,
            "source": source,
            "received_at": self._clock(),
            "answer": storable(answer),
            "expires_at": until,
        }
        done = sa.update(intake_marks).where(_SEEN.receipt == receipt).values(answered=True)
        with self._writing() as connection:
            connection.execute(sa.insert(intake_receipts).values(row))
            connection.execute(done)

    def drop_intake(self, receipt: str) -> None:
        """Give a claim back: nothing came of it, and it may be sent again."""
        with self._writing() as connection:
            connection.execute(
                sa.delete(intake_marks).where(_SEEN.receipt == receipt, ~_SEEN.answered)
            )

    def intake_receipt(self, receipt: str) -> IntakeReceipt | None:
        """What a request was answered; None when there was none, or it was long ago."""
        query = sa.select(intake_receipts).where(
            intake_receipts.c.id == receipt, intake_receipts.c.expires_at > self._clock()
        )
        with self._reading() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        found = row._mapping  # noqa: SLF001 - the public way to read a row by names
        names = ("id", "source", "received_at", "answer")
        return IntakeReceipt(**{name: found[name] for name in names})

    def count_intake(self, source: str, outcome: str, count: int = 1) -> None:
        """Count something that came in today, by a word of our own for what became of it."""
        day = self._clock().date().isoformat()
        with self._writing() as connection:
            insert = upsert(connection.dialect.name, intake_counts).values(
                day=day, source=source, outcome=outcome, count=count
            )
            more = {"count": intake_counts.c.count + insert.excluded.count}
            connection.execute(insert.on_conflict_do_update(index_elements=_COUNTED, set_=more))

    def intake_totals(self, since: datetime) -> dict[tuple[str, str], int]:
        """How often each outcome was counted for each source, from a day on."""
        table = intake_counts.c
        query = (
            sa.select(table.source, table.outcome, sa.func.sum(table.count))
            .where(table.day >= since.date().isoformat())
            .group_by(table.source, table.outcome)
        )
        with self._reading() as connection:
            rows = connection.execute(query).all()
        return {(source, outcome): int(count) for source, outcome, count in rows}

    def forget_intake(self, now: datetime) -> int:
        """Destroy marks and receipts whose time is over, and say how many."""
        with self._writing() as connection:
            return sum(
                connection.execute(sa.delete(table).where(table.c.expires_at <= now)).rowcount
                for table in (intake_marks, intake_receipts)
            )


def _seen(row: sa.Row[Any]) -> Seen:
    found = row._mapping  # noqa: SLF001 - the public way to read a row by names
    return Seen(**{name: found[name] for name in ("mark", "body", "receipt", "answered")})
