"""The ledger: everything that audience-sync remembers in its database."""

from __future__ import annotations

from typing import Self

from audience_sync.ledger.database import Clock, connect, translated, utc_now
from audience_sync.ledger.fingerprints import Fingerprints
from audience_sync.ledger.jobs import Jobs
from audience_sync.ledger.leases import Leases
from audience_sync.ledger.lists import RemoteLists
from audience_sync.ledger.reported import ReportedLines
from audience_sync.ledger.runs import Runs
from audience_sync.ledger.schedules import Schedules
from audience_sync.ledger.schema import migrate
from audience_sync.ledger.transfer_log import TransferLog


class Ledger(Runs, TransferLog, Leases, RemoteLists, Fingerprints, Jobs, ReportedLines, Schedules):
    """Runs, leases, lists, fingerprints, jobs, order lines and the transfer log in one database.

    It may be used from many threads. It is opened anew in a forked process, not inherited.
    """

    @classmethod
    def open(cls, url: str, *, clock: Clock = utc_now) -> Self:
        """Connect to a SQLite file or a PostgreSQL database, making or upgrading its tables.

        StateError when the database cannot be reached or is newer than this code; the message
        names neither URL nor password.
        """
        ledger = cls(connect(url), clock)
        try:
            with translated():
                migrate(ledger._engine, ledger._writer)
        except BaseException:
            ledger.close()
            raise
        return ledger

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
