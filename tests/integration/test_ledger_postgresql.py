"""The ledger's contract on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
import sqlalchemy as sa
from ledger_contract.checkpoints import CheckpointsContract
from ledger_contract.fingerprints import FingerprintsContract
from ledger_contract.intake import IntakeContract
from ledger_contract.jobs import JobsContract
from ledger_contract.log import TamperContract, TransferLogContract
from ledger_contract.reported import ReportedContract
from ledger_contract.runs import LeasesContract, ListsContract, RunsContract
from ledger_contract.schedules import SchedulesContract
from ledger_contract.traces import TracesContract
from ledger_contract.withdrawals import WithdrawalsContract

from audience_sync.ledger.ledger import Ledger

_TIDY = """
    SET session_replication_role = replica;
    DELETE FROM pieces; DELETE FROM jobs; DELETE FROM batches; DELETE FROM runs;
    DELETE FROM remote_lists; DELETE FROM leases; DELETE FROM schedules;
    DELETE FROM fingerprints; DELETE FROM reported_lines;
    DELETE FROM withdrawals; DELETE FROM withdrawal_deliveries; DELETE FROM withdrawal_removals;
    DELETE FROM withdrawal_keys; DELETE FROM withdrawal_watch;
    DELETE FROM intake_marks; DELETE FROM intake_receipts; DELETE FROM intake_counts;
    DELETE FROM transfer_log; DELETE FROM transfer_log_head; DELETE FROM checkpoints;
    INSERT INTO transfer_log_head VALUES (1, 0, repeat('0', 64));
    ALTER TABLE transfer_log ENABLE TRIGGER USER; ALTER TABLE checkpoints ENABLE TRIGGER USER;
"""


@pytest.fixture(scope="module")
def migrated(postgresql_module_url: str) -> str:
    """A ledger just made: making one for each test would take a minute."""
    Ledger.migrate(postgresql_module_url)
    return postgresql_module_url


@pytest.fixture(scope="module")
def beside(migrated: str) -> Iterator[psycopg.Connection]:
    """A connection that stays: the server starts a process for each."""
    address = sa.make_url(migrated).set(drivername="postgresql")
    words = address.render_as_string(hide_password=False)
    with psycopg.connect(words, autocommit=True) as connection:
        yield connection


class OnPostgresql:
    """The same database for all tests, empty for each."""

    @pytest.fixture
    def url(self, migrated: str, beside: psycopg.Connection) -> str:
        beside.execute(_TIDY)
        return migrated


class TestRuns(OnPostgresql, RunsContract): ...


class TestLeases(OnPostgresql, LeasesContract): ...


class TestSchedules(OnPostgresql, SchedulesContract): ...


class TestLists(OnPostgresql, ListsContract): ...


class TestTransferLog(OnPostgresql, TransferLogContract): ...


class TestTamper(OnPostgresql, TamperContract): ...


class TestCheckpoints(OnPostgresql, CheckpointsContract): ...


class TestFingerprints(OnPostgresql, FingerprintsContract): ...


class TestTraces(OnPostgresql, TracesContract): ...


class TestReported(OnPostgresql, ReportedContract): ...


class TestIntake(OnPostgresql, IntakeContract): ...


class TestJobs(OnPostgresql, JobsContract): ...


class TestWithdrawals(OnPostgresql, WithdrawalsContract): ...
