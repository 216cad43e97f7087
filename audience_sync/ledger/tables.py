"""The ledger's tables: names, sums and times; never an identifier and never a customer's hash."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator

from audience_sync.ledger.records import (
    BatchState,
    Event,
    JobState,
    LineState,
    Operation,
    RunState,
)

REVISION = "0011"  # the newest migration; a database that says the same needs no Alembic

metadata = sa.MetaData()


class Moment(TypeDecorator[datetime]):
    """A time in UTC that comes back with its timezone from every database; naive ones are bugs."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: sa.Dialect) -> datetime | None:
        """Write UTC, since SQLite keeps no timezone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time in the ledger needs a timezone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, _dialect: sa.Dialect) -> datetime | None:
        """Read UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Word(TypeDecorator[StrEnum]):
    """One word of an enumeration, as text that a person can read in the database."""

    impl = sa.String
    cache_ok = True

    def __init__(self, words: type[StrEnum]) -> None:
        super().__init__()
        self.words = words

    def process_bind_param(self, value: StrEnum | None, _dialect: sa.Dialect) -> str | None:
        """Write the word itself; drivers would write the name of the member."""
        return None if value is None else value.value

    def process_result_value(self, value: Any, _dialect: sa.Dialect) -> StrEnum | None:
        """Read the word; an unknown one is a damaged row."""
        return None if value is None else self.words(value)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _maybe(name: str) -> sa.Column[str | None]:
    return sa.Column(name, sa.Text)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean, nullable=False)


def _json(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.JSON, nullable=False)


runs = sa.Table(
    "runs",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    _text("audience"),
    _text("destination"),
    sa.Column("state", Word(RunState), nullable=False),
    sa.Column("planned_at", Moment, nullable=False),
    sa.Column("started_at", Moment),
    sa.Column("finished_at", Moment),
    _maybe("reason"),
    _json("funnel"),
    _json("delta"),
    _json("forms"),
    _count("generation"),
    _maybe("outbox"),
    _flag("forced"),
    _maybe("approved_by"),
    sa.Column("next_attempt_at", Moment),
    _maybe("planned_by"),
    sa.Column("withdrawals", sa.BigInteger, server_default="0"),
    sa.Index("runs_by_list", "audience", "destination", "planned_at"),
    sa.Index("runs_by_state", "state", "planned_at"),
)

batches = sa.Table(
    "batches",
    metadata,
    sa.Column("run", sa.Text, sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("operation", Word(Operation), nullable=False),
    _count("members"),
    sa.Column("state", Word(BatchState), nullable=False),
    _count("accepted"),
    _count("rejected"),
    _count("unattributed"),
    _json("rejected_positions"),
    _maybe("reference"),
    _count("attempts"),
    _maybe("error"),
    sa.Column("withheld", sa.BigInteger, server_default="0"),
    sa.Column("withheld_positions", sa.JSON, server_default="[]"),
)

remote_lists = sa.Table(
    "remote_lists",
    metadata,
    sa.Column("audience", sa.Text, primary_key=True),
    sa.Column("destination", sa.Text, primary_key=True),
    _maybe("remote_id"),
    _maybe("marker"),
    sa.Column("creation_intended_at", Moment),
    _flag("adopted"),
    _maybe("account"),
    _count("generation"),
    _count("members"),
    _json("forms"),
    _json("manifest"),
    _json("statistics"),
    sa.Column("updated_at", Moment),
    sa.Column("refreshed_at", Moment),
)

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    _maybe("holder"),  # none: given back; the row stays, so that tokens never fall
    _count("token"),
    sa.Column("expires_at", Moment, nullable=False),
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    _text("kind"),
    sa.Column("state", Word(JobState), nullable=False),
    _text("stage"),
    _json("spec"),
    _json("leases"),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("changed_at", Moment, nullable=False),
    _maybe("reason"),
    sa.Index("jobs_by_state", "state", "created_at"),
)

pieces = sa.Table(
    "pieces",
    metadata,
    sa.Column("job", sa.Text, sa.ForeignKey("jobs.id"), primary_key=True),
    sa.Column("stage", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    _flag("done"),
    _count("attempts"),
    sa.Column("not_before", Moment),
    _json("result"),
    _maybe("note"),
)

schedules = sa.Table(
    "schedules",
    metadata,
    sa.Column("audience", sa.Text, primary_key=True),
    _text("rule"),
    sa.Column("due_at", Moment, nullable=False),
    sa.Column("served_at", Moment),
    sa.Column("retry_at", Moment),
    _maybe("note"),
)

transfer_log = sa.Table(
    "transfer_log",
    metadata,
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("event", Word(Event), nullable=False),
    _text("run"),
    _text("audience"),
    _text("destination"),
    _text("recipient"),
    _text("recipient_country"),
    _text("purpose"),
    _maybe("operation"),
    sa.Column("batch", sa.BigInteger),
    _count("sent"),
    _count("accepted"),
    _count("rejected"),
    _count("unattributed"),
    _text("forms"),
    _flag("raw_device_ids"),
    _maybe("reference"),
    sa.Column("status", sa.BigInteger),
    _maybe("code"),
    _count("attempts"),
    sa.Column("started_at", Moment),
    sa.Column("finished_at", Moment),
    _maybe("body_sha256"),
    _maybe("actor"),
    _maybe("note"),
    _text("previous_hash"),
    _text("hash"),
    sa.Index("transfer_log_by_run", "run", "sequence"),
    sa.Index("transfer_log_by_time", "at"),
)

transfer_log_head = sa.Table(
    "transfer_log_head",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),  # always 1
    _count("lines"),
    _text("hash"),
)

checkpoints = sa.Table(
    "checkpoints",
    metadata,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    _count("first"),
    _count("sequence"),
    _text("head"),
    _text("merkle_root"),
    _text("salt"),
    sa.Column("at", Moment, nullable=False),
    _count("purged_through"),
    _text("purged_hash"),
    _text("previous"),
    _text("public_key"),
    _text("signature"),
    sa.Index("checkpoints_by_sequence", "sequence"),
    sa.Index("checkpoints_by_purge", "purged_through"),
)

reported_lines = sa.Table(
    "reported_lines",
    metadata,
    sa.Column("destination", sa.Text, primary_key=True),
    sa.Column("line", sa.LargeBinary(32), primary_key=True),  # HMAC with our own key
    sa.Column("of_order", sa.LargeBinary(32), nullable=False),  # the same
    _count("quantity"),
    _count("amount"),
    _count("tried_quantity"),
    _count("tried_amount"),
    sa.Column("revision", sa.LargeBinary(32), nullable=False),
    sa.Column("state", Word(LineState), nullable=False),
    _text("run"),
    sa.Column("expires_at", Moment, nullable=False),
    sa.Index("reported_lines_by_order", "destination", "of_order"),
    sa.Index("reported_lines_by_run", "run", "state"),
    sa.Index("reported_lines_by_expiry", "expires_at"),
)

fingerprints = sa.Table(
    "fingerprints",
    metadata,
    sa.Column("destination", sa.Text, primary_key=True),
    sa.Column("fingerprint", sa.LargeBinary(32), primary_key=True),  # HMAC with our own key
    _text("reason"),
    sa.Column("expires_at", Moment, nullable=False),
    sa.Index("fingerprints_by_expiry", "expires_at"),
)

intake_marks = sa.Table(
    "intake_marks",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("mark", sa.LargeBinary(32), primary_key=True),  # HMAC with our own key
    sa.Column("body", sa.LargeBinary(32), nullable=False),  # the same
    _text("receipt"),
    _flag("answered"),
    sa.Column("begun_at", Moment, nullable=False),
    sa.Column("expires_at", Moment, nullable=False),
    sa.Index("intake_marks_by_receipt", "receipt"),
    sa.Index("intake_marks_by_expiry", "expires_at"),
)

intake_receipts = sa.Table(
    "intake_receipts",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    _text("source"),
    sa.Column("received_at", Moment, nullable=False),
    _json("answer"),
    sa.Column("expires_at", Moment, nullable=False),
    sa.Index("intake_receipts_by_expiry", "expires_at"),
)

intake_counts = sa.Table(
    "intake_counts",
    metadata,
    sa.Column("day", sa.Text, primary_key=True),  # in UTC, as 2026-11-22
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("outcome", sa.Text, primary_key=True),
    _count("count"),
)
