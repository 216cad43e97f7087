"""The ledger: everything that audience-sync remembers in its database."""

from __future__ import annotations

from typing import Self

from audience_sync.ledger.checkpoints import Checkpoints
from audience_sync.ledger.database import Clock
from audience_sync.ledger.engines import connect
from audience_sync.ledger.failures import translated
from audience_sync.ledger.fingerprints import Fingerprints
from audience_sync.ledger.intake import Intake
from audience_sync.ledger.jobs import Jobs
from audience_sync.ledger.leases import Leases
from audience_sync.ledger.list_removals import ListRemovals
from audience_sync.ledger.lists import RemoteLists
from audience_sync.ledger.receiving import Receiving
from audience_sync.ledger.reported import ReportedLines
from audience_sync.ledger.retained import Retained
from audience_sync.ledger.runs import Runs
from audience_sync.ledger.schedules import Schedules
from audience_sync.ledger.schema import migrate, prepare, version
from audience_sync.ledger.traces import Traces
from audience_sync.ledger.transfer_log import TransferLog
from audience_sync.ledger.watched import Watched
from audience_sync.ledger.withdrawal_deliveries import WithdrawalDeliveries
from audience_sync.ledger.withdrawal_files import WithdrawalFiles
from audience_sync.ledger.withdrawals import Withdrawals


class Ledger(
    Runs,
    TransferLog,
    Checkpoints,
    Retained,
    Leases,
    RemoteLists,
    Fingerprints,
    Jobs,
    ReportedLines,
    Schedules,
    Intake,
    Traces,
    Withdrawals,
    Receiving,
    WithdrawalDeliveries,
    WithdrawalFiles,
    Watched,
    ListRemovals,
):
    """Runs, leases, lists, fingerprints, jobs, order lines, the transfer log and what came in.

    It may be used from many threads. It is opened anew in a forked process, not inherited.
    """

    @classmethod
    def open(cls, url: str, *, clock: Clock | None = None) -> Self:
        """Connect to a SQLite file, made or upgraded where needed, or to a PostgreSQL database.

        Leases go by PostgreSQL's clock, unless another `clock` is given for everything.

        StateError when the database cannot be reached, is newer than this code, or is a
        PostgreSQL that was not migrated; the message names neither URL nor password.
        """
        ledger = cls(connect(url), clock)
        try:
            with translated():
                prepare(ledger._engine, ledger._writer)
        except BaseException:
            ledger.close()
            raise
        return ledger

    @classmethod
    def migrate(cls, url: str) -> str | None:
        """Make or upgrade the tables; the schema that was found, None when there were none."""
        with cls(connect(url)) as ledger, translated():
            return migrate(ledger._writer)

    @classmethod
    def schema(cls, url: str) -> str | None:
        """The schema of a database as it is; nothing is changed."""
        with cls(connect(url)) as ledger, translated():
            return version(ledger._engine)

    @classmethod
    def clock(cls, url: str) -> str:
        """See `check_clock`; of a database as it is, migrated or not."""
        with cls(connect(url)) as ledger:
            return ledger.check_clock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
