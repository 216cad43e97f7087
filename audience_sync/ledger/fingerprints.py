"""Keyed fingerprints of members that a partner rejected, kept until they expire (law L9)."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from audience_sync.ledger.database import Database, upsert
from audience_sync.ledger.tables.fingerprints import fingerprints as table

_WIDTH = 32  # bytes
_CHUNK = 200_000  # fingerprints that a query brings

Digests = NDArray[np.uint8]  # shape (n, 32)


class Fingerprints(Database):
    """Remembering and telling what is remembered, whole arrays at a time."""

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

    def remembered(self, destination: str, now: datetime) -> Digests:
        """All that are remembered for this destination and not expired, sorted, each once."""
        query = sa.select(table.c.fingerprint).where(*_valid(destination, now))
        page = query.order_by(table.c.fingerprint).limit(_CHUNK)
        parts: list[bytes] = []
        after: bytes | None = None
        while True:
            further = page if after is None else page.where(table.c.fingerprint > after)
            with self._reading() as connection:
                values = connection.execute(further).scalars().all()
            parts.append(b"".join(values))
            if len(values) < _CHUNK:
                return np.frombuffer(b"".join(parts), dtype=np.uint8).reshape(-1, _WIDTH)
            after = values[-1]

    def forget_expired(self, now: datetime) -> int:
        """Destroy what has expired, and say how many."""
        with self._writing() as connection:
            return connection.execute(sa.delete(table).where(table.c.expires_at <= now)).rowcount


def _valid(destination: str, now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    return table.c.destination == destination, table.c.expires_at > now
