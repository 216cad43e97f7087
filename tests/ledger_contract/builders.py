"""Made-up runs, batches and lines, a clock that stands still, and a way past the triggers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.log import Event, TransferLine
from audience_sync.ledger.records.runs import Batch, BatchState, Operation, Run, RunState

NOON = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)


class Clock:
    """A clock that moves only when it is told to."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class LedgerContract:
    """Subclasses say which database: `url` is that of an empty one."""

    @pytest.fixture
    def url(self) -> str:
        raise NotImplementedError

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def ledger(self, url: str, clock: Clock) -> Iterator[Ledger]:
        with Ledger.open(url, clock=clock) as ledger:
            yield ledger


def run(id: str = "r1", **changes: Any) -> Run:  # noqa: A002 - as in the record
    shown: dict[str, Any] = {
        "id": id,
        "audience": "lapsed-vip",
        "destination": "meta-se",
        "state": RunState.PLANNED,
        "planned_at": NOON,
    }
    return Run(**(shown | changes))


def batch(run: str = "r1", position: int = 0, **changes: Any) -> Batch:
    shown: dict[str, Any] = {
        "run": run,
        "position": position,
        "operation": Operation.ADD,
        "members": 10_000,
    }
    return Batch(**(shown | changes))


def line(event: Event = Event.INTENT, **changes: Any) -> TransferLine:
    shown: dict[str, Any] = {
        "event": event,
        "run": "r1",
        "audience": "lapsed-vip",
        "destination": "meta-se",
        "recipient": "Meta Platforms Ireland Limited",
        "recipient_country": "IE",
        "purpose": "advertising",
        "operation": "add",
        "batch": 0,
        "sent": 10_000,
    }
    return TransferLine(**(shown | changes))


def full_line(**changes: Any) -> TransferLine:
    """A line in which every column says something."""
    shown: dict[str, Any] = {
        "accepted": 9_990,
        "rejected": 7,
        "unattributed": 3,
        "forms": "email=email/plain@1 phone=phone/digits@1",
        "raw_device_ids": True,
        "reference": "ingest-77",
        "status": 200,
        "code": "80003",
        "attempts": 2,
        "started_at": NOON,
        "finished_at": NOON + timedelta(seconds=1),
        "body_sha256": "ab" * 32,
        "actor": "anna",
        "note": "sent again: we stopped before the answer, 10 000 é members",
    }
    return line(Event.OUTCOME, **(shown | changes))


def full_batch(**changes: Any) -> Batch:
    """A batch in which every column says something."""
    shown: dict[str, Any] = {
        "operation": Operation.REMOVE,
        "state": BatchState.PENDING,
        "accepted": 9_990,
        "rejected": 7,
        "unattributed": 3,
        "rejected_positions": (3, 5, 9_999),
        "reference": "ingest-77",
        "attempts": 2,
        "error": "the partner asked us to wait",
    }
    return batch(**(shown | changes))


def tamper(ledger: Ledger, *statements: sa.Executable | str) -> None:
    """Do what somebody with the database's password can do."""
    with ledger._engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("DROP TRIGGER IF EXISTS transfer_log_no_update")
            connection.exec_driver_sql("DROP TRIGGER IF EXISTS transfer_log_no_delete")
        else:
            connection.exec_driver_sql("ALTER TABLE transfer_log DISABLE TRIGGER USER")
        for statement in statements:
            connection.execute(sa.text(statement) if isinstance(statement, str) else statement)
