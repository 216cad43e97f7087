"""Up to when the consent log was watched."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from audience_sync.ledger.database import Database, upsert
from audience_sync.ledger.tables import Moment, metadata

watch = sa.Table(
    "withdrawal_watch",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("seen_at", Moment, nullable=False),
)


class Watched(Database):
    """One row for each source that is watched."""

    def watched_until(self, source: str) -> datetime | None:
        """The time of the newest decision that was looked at; None when nobody looked."""
        query = sa.select(watch.c.seen_at).where(watch.c.source == source)
        with self._reading() as connection:
            return connection.execute(query).scalar()

    def note_watched(self, source: str, until: datetime) -> None:
        """Everything decided up to then was looked at."""
        with self._writing() as connection:
            insert = upsert(connection.dialect.name, watch).values(source=source, seen_at=until)
            connection.execute(
                insert.on_conflict_do_update(
                    index_elements=["source"], set_={"seen_at": insert.excluded.seen_at}
                )
            )
