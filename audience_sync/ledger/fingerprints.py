"""Keyed fingerprints of members that a partner rejected, kept until they expire (law L9)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from audience_sync.ledger.database import Database, upsert
from audience_sync.ledger.tables import fingerprints as table

_WIDTH = 32  # bytes
_CHUNK = 200_000  # stored fingerprints in memory at a time

Digests = NDArray[np.uint8]  # shape (n, 32)


class Fingerprints(Database):
    """Remembering and recognising, whole arrays at a time."""

    def remember(
        self, destination: str, fingerprints: Digests, reason: str, expires_at: datetime
    ) -> None:
        """Keep these until `expires_at`; one that is known already gets the new reason and end."""
        if not len(fingerprints):
            return
        raw = np.ascontiguousarray(fingerprints).tobytes()
        values = {raw[i : i + _WIDTH] for i in range(0, len(raw), _WIDTH)}
        shared = {"destination": destination, "reason": reason, "expires_at": expires_at}
        with self._writing() as connection:
            insert = upsert(connection.dialect.name, table)
            connection.execute(
                insert.on_conflict_do_update(
                    index_elements=["destination", "fingerprint"],
                    set_={
                        "reason": insert.excluded.reason,
                        "expires_at": insert.excluded.expires_at,
                    },
                ),
                [{**shared, "fingerprint": value} for value in sorted(values)],
            )

    def known(self, destination: str, fingerprints: Digests, now: datetime) -> NDArray[np.bool_]:
        """Which of these are remembered for this destination and not expired."""
        found = np.zeros(len(fingerprints), dtype=np.bool_)
        if not len(fingerprints):
            return found
        asked = np.ascontiguousarray(fingerprints)
        keys = _keys(asked)
        for stored in self._stored(destination, now):
            stored_keys = _keys(stored)
            alike = np.flatnonzero(np.isin(keys, stored_keys))
            candidates = stored[np.isin(stored_keys, keys[alike])]
            found[alike] |= np.isin(_whole(asked[alike]), _whole(candidates))
        return found

    def any_fingerprints(self, destination: str, now: datetime) -> bool:
        """Whether any is remembered for this destination; false spares the whole look-up."""
        query = sa.select(table.c.fingerprint).where(*_valid(destination, now)).limit(1)
        with self._reading() as connection:
            return connection.execute(query).first() is not None

    def forget_expired(self, now: datetime) -> int:
        """Destroy what has expired, and say how many."""
        with self._writing() as connection:
            return connection.execute(sa.delete(table).where(table.c.expires_at <= now)).rowcount

    def _stored(self, destination: str, now: datetime) -> Iterator[Digests]:
        query = sa.select(table.c.fingerprint).where(*_valid(destination, now))
        page = query.order_by(table.c.fingerprint).limit(_CHUNK)
        after: bytes | None = None
        while True:
            further = page if after is None else page.where(table.c.fingerprint > after)
            with self._reading() as connection:
                values = connection.execute(further).scalars().all()
            if values:
                yield np.frombuffer(b"".join(values), dtype=np.uint8).reshape(-1, _WIDTH)
            if len(values) < _CHUNK:
                return
            after = values[-1]


def _valid(destination: str, now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    return table.c.destination == destination, table.c.expires_at > now


def _keys(digests: Digests) -> NDArray[np.uint64]:
    """The first eight bytes: enough to leave nearly nothing for the dear comparison."""
    return np.ascontiguousarray(digests[:, :8]).view(np.uint64)[:, 0]


def _whole(digests: Digests) -> NDArray[np.void]:
    return np.ascontiguousarray(digests).view(f"V{_WIDTH}")[:, 0]
