"""The ledger's contract on SQLite."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
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


@pytest.fixture(scope="session")
def new_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger just made, to copy: making one takes longer than most of these tests."""
    path = tmp_path_factory.mktemp("ledger") / "new.db"
    Ledger.open(f"sqlite:///{path}").close()
    return path


class OnSqlite:
    """A file of its own for each test."""

    @pytest.fixture
    def url(self, new_ledger: Path, tmp_path: Path) -> str:
        return f"sqlite:///{shutil.copy(new_ledger, tmp_path / 'ledger.db')}"


class TestRuns(OnSqlite, RunsContract): ...


class TestLeases(OnSqlite, LeasesContract): ...


class TestSchedules(OnSqlite, SchedulesContract): ...


class TestLists(OnSqlite, ListsContract): ...


class TestTransferLog(OnSqlite, TransferLogContract): ...


class TestTamper(OnSqlite, TamperContract): ...


class TestCheckpoints(OnSqlite, CheckpointsContract): ...


class TestFingerprints(OnSqlite, FingerprintsContract): ...


class TestTraces(OnSqlite, TracesContract): ...


class TestReported(OnSqlite, ReportedContract): ...


class TestIntake(OnSqlite, IntakeContract): ...


class TestJobs(OnSqlite, JobsContract): ...


class TestWithdrawals(OnSqlite, WithdrawalsContract): ...
