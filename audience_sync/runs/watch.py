"""New refusals in the source of decisions become withdrawals, minutes after they were given."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import polars as pl

from audience_sync.customers.decisions import read_decisions
from audience_sync.customers.description import DecisionsDescription
from audience_sync.customers.policy import Word, microseconds, words
from audience_sync.errors import ConfigurationError
from audience_sync.ledger.ledger import Ledger
from audience_sync.runs.withdraw import DECISIONS as _SOURCE
from audience_sync.runs.withdraw import Recorder
from audience_sync.runs.withdrawal_requests import Received

_OVERLAP = timedelta(minutes=10)  # that a row may come later than the time it bears
_FIRST = timedelta(days=1)  # of the past that the first look takes; the next plan knows the rest
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Looks at the decisions that are newer than those it saw last.

    Only rows with a time can be told from older ones. A customer's latest word counts, so that who
    refused and granted again meanwhile is left alone. What a look sees twice, since clocks differ,
    is taken in once.
    """

    ledger: Ledger
    decisions: DecisionsDescription
    recorder: Recorder
    now: Callable[[], datetime] = field(repr=False)

    def look(self) -> Received:
        """Take in the refusals that are new."""
        now = self.now()
        seen = self.ledger.watched_until(_SOURCE) or now - _FIRST
        since = seen - _OVERLAP
        fresh, newest = self._read(microseconds(since), microseconds(now))
        received = [self._take(partner, frame, since) for partner, frame in _refusals(fresh)]
        if newest is not None:
            self.ledger.note_watched(_SOURCE, max(seen, _EPOCH + timedelta(microseconds=newest)))
        elif self.ledger.watched_until(_SOURCE) is None:
            self.ledger.note_watched(_SOURCE, seen)
        return Received(
            withdrawals=tuple(id_ for one in received for id_ in one.withdrawals),
            people=sum(one.people for one in received),
            repeated=sum(one.repeated for one in received),
        )

    def _read(self, since: int, until: int) -> tuple[pl.DataFrame, int | None]:
        parts, newest = [], None
        with closing(read_decisions(self.decisions)) as frames:
            for frame in frames:
                new = frame.filter(pl.col("decided_at") >= since)
                if new.height:
                    word, _ = words(new["decision"])
                    parts.append(new.with_columns(pl.Series("word", word)))
                    last = min(int(new["decided_at"].max() or 0), until)  # type: ignore[arg-type] # microseconds
                    newest = last if newest is None else max(newest, last)
        columns = ("customer_id", "decided_at", "partner", "word")
        if not parts:
            return pl.DataFrame(schema=dict.fromkeys(columns, pl.String)), newest
        return pl.concat(part.select(columns) for part in parts), newest

    def _take(self, partner: str | None, frame: pl.DataFrame, since: datetime) -> Received:
        try:
            return self.recorder.receive_decisions(frame, partner, since)
        except ConfigurationError:  # a partner that nobody knows: then it is for all of them (L1)
            return self.recorder.receive_decisions(frame, None, since)


def _refusals(fresh: pl.DataFrame) -> list[tuple[str | None, pl.DataFrame]]:
    """Customers whose latest new word is a refusal, by the partner that it was limited to."""
    if not fresh.height:
        return []
    said = fresh.filter(pl.col("word") != int(Word.NONE)).with_columns(
        pl.col("partner").cast(pl.String).str.strip_chars().str.to_lowercase().fill_null("")
    )
    latest = said.sort("decided_at", "word").group_by("customer_id", "partner").last()
    refused = latest.filter(pl.col("word") >= int(Word.DENIED))
    names = refused["partner"].unique().sort().to_list()
    return [
        (
            name or None,
            refused.filter(pl.col("partner") == name).select("customer_id", "decided_at"),
        )
        for name in names
    ]
