"""Who was taken off a list, when and by which run: keyed fingerprints in columns, never people.

A run's fingerprints are sorted and cut into rows of some thousand, so that a look-up reads one row
of each run that could hold the answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from audience_sync.ledger.database import Database
from audience_sync.ledger.tables import Moment, metadata

WIDTH = 16  # bytes of a fingerprint; enough to tell all people apart
_ROWS = 4_096  # fingerprints in a row of the table

Prints = NDArray[np.uint8]  # shape (n, WIDTH)
Seconds = NDArray[np.uint32]  # since 1970

table = sa.Table(
    "traces",
    metadata,
    sa.Column("run", sa.Text, primary_key=True),
    sa.Column("part", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("audience", sa.Text, nullable=False),
    sa.Column("destination", sa.Text, nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("expires_at", Moment, nullable=False),
    sa.Column("first", sa.LargeBinary(WIDTH), nullable=False),
    sa.Column("last", sa.LargeBinary(WIDTH), nullable=False),
    sa.Column("fingerprints", sa.LargeBinary, nullable=False),  # sorted, HMAC with our own key
    sa.Column("since", sa.LargeBinary, nullable=False),  # four bytes each, little-endian
    sa.Index("traces_by_range", "destination", "first", "last"),
    sa.Index("traces_by_expiry", "expires_at"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Identifiers of one person were taken off a list."""

    run: str
    audience: str
    destination: str
    held_since: datetime
    removed_at: datetime


class Traces(Database):
    """Writing whole runs, looking single people up, and forgetting."""

    def remember_traces(
        self,
        run: str,
        audience: str,
        destination: str,
        fingerprints: Prints,
        since: Seconds,
        at: datetime,
        expires_at: datetime,
    ) -> None:
        """Keep what a run took off; a run that is told again is told once."""
        opaque = np.ascontiguousarray(fingerprints).view(f"V{WIDTH}").ravel()
        _, places = np.unique(opaque, return_index=True)
        ordered, times = fingerprints[places], since[places].astype("<u4")
        shared = {
            "run": run, "audience": audience, "destination": destination,
            "at": at, "expires_at": expires_at,
        }  # fmt: skip
        rows = [
            {"part": part, **shared, **_columns(ordered[i : i + _ROWS], times[i : i + _ROWS])}
            for part, i in enumerate(range(0, len(ordered), _ROWS))
        ]
        with self._writing() as connection:
            connection.execute(sa.delete(table).where(table.c.run == run))
            if rows:
                connection.execute(sa.insert(table), rows)

    def traces(self, destination: str, fingerprints: Prints, now: datetime) -> list[Trace]:
        """What is remembered under any of these, oldest first, each run once."""
        found: dict[str, Trace] = {}
        with self._reading() as connection:
            for row, _ in _matching(connection, destination, fingerprints, now):
                prints, since = _arrays(row)
                at = np.flatnonzero(_among(prints, fingerprints))
                started = datetime.fromtimestamp(int(since[at].min()), UTC)
                known = found.get(row.run)
                found[row.run] = Trace(
                    run=row.run,
                    audience=row.audience,
                    destination=row.destination,
                    held_since=started if known is None else min(known.held_since, started),
                    removed_at=row.at,
                )
        return sorted(found.values(), key=lambda trace: trace.removed_at)

    def erase_traces(self, destination: str, fingerprints: Prints) -> int:
        """Forget these for good; how many were known."""
        erased = 0
        with self._writing() as connection:
            for row, key in list(_matching(connection, destination, fingerprints, None)):
                prints, since = _arrays(row)
                stays = ~_among(prints, fingerprints)
                erased += int((~stays).sum())
                if stays.any():
                    values = _columns(prints[stays], since[stays])
                    connection.execute(sa.update(table).where(key).values(values))
                else:
                    connection.execute(sa.delete(table).where(key))
        return erased

    def forget_traces(
        self, now: datetime, before: datetime | None = None, *, dry: bool = False
    ) -> int:
        """Destroy what has expired, or was written before a moment; how many rows."""
        over = table.c.expires_at <= now
        if before is not None:
            over = sa.or_(over, table.c.at < before)
        if dry:
            with self._reading() as connection:
                query = sa.select(sa.func.count()).select_from(table).where(over)
                return int(connection.execute(query).scalar_one())
        with self._writing() as connection:
            return connection.execute(sa.delete(table).where(over)).rowcount


def _matching(
    connection: sa.Connection, destination: str, fingerprints: Prints, now: datetime | None
) -> Iterator[tuple[sa.Row[Any], sa.ColumnElement[bool]]]:
    """The rows that hold any of these, each once, and how to name it."""
    seen = set()
    for one in fingerprints:
        wanted = one.tobytes()
        query = sa.select(table).where(
            table.c.destination == destination, table.c.first <= wanted, table.c.last >= wanted
        )
        if now is not None:
            query = query.where(table.c.expires_at > now)
        for row in connection.execute(query).all():
            known = (row.run, row.part) in seen
            if not known and _among(_arrays(row)[0], fingerprints).any():
                seen.add((row.run, row.part))
                yield row, sa.and_(table.c.run == row.run, table.c.part == row.part)


def _among(prints: Prints, wanted: Prints) -> NDArray[np.bool_]:
    hit = np.zeros(len(prints), dtype=np.bool_)
    for one in wanted:
        hit |= (prints == one).all(axis=1)
    return hit


def _columns(prints: Prints, since: NDArray[Any]) -> dict[str, bytes]:
    return {
        "first": prints[0].tobytes(),
        "last": prints[-1].tobytes(),
        "fingerprints": np.ascontiguousarray(prints).tobytes(),
        "since": since.astype("<u4").tobytes(),
    }


def _arrays(row: sa.Row[Any]) -> tuple[Prints, NDArray[Any]]:
    prints = np.frombuffer(row.fingerprints, dtype=np.uint8).reshape(-1, WIDTH)
    return prints, np.frombuffer(row.since, dtype="<u4")
