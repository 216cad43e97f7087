"""What consent platforms sent: marks of messages, receipts, counts."""

from __future__ import annotations

import sqlalchemy as sa

from audience_sync.ledger.tables import Moment, count, flag, metadata, structure, text

intake_marks = sa.Table(
    "intake_marks",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("mark", sa.LargeBinary(32), primary_key=True),  # HMAC with our own key
    sa.Column("body", sa.LargeBinary(32), nullable=False),  # the same
    text("receipt"),
    flag("answered"),
    sa.Column("begun_at", Moment, nullable=False),
    sa.Column("expires_at", Moment, nullable=False),
    sa.Index("intake_marks_by_receipt", "receipt"),
    sa.Index("intake_marks_by_expiry", "expires_at"),
)

intake_receipts = sa.Table(
    "intake_receipts",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    text("source"),
    sa.Column("received_at", Moment, nullable=False),
    structure("answer"),
    sa.Column("expires_at", Moment, nullable=False),
    sa.Index("intake_receipts_by_expiry", "expires_at"),
)

intake_counts = sa.Table(
    "intake_counts",
    metadata,
    sa.Column("day", sa.Text, primary_key=True),  # in UTC, as 2026-11-22
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("outcome", sa.Text, primary_key=True),
    count("count"),
)
