"""What is kept under keyed fingerprints: reported order lines, and members who stay out."""

from __future__ import annotations

import sqlalchemy as sa

from audience_sync.ledger.records.orders import LineState
from audience_sync.ledger.tables import Moment, Word, count, metadata, text

reported_lines = sa.Table(
    "reported_lines",
    metadata,
    sa.Column("destination", sa.Text, primary_key=True),
    sa.Column("line", sa.LargeBinary(32), primary_key=True),  # HMAC with our own key
    sa.Column("of_order", sa.LargeBinary(32), nullable=False),  # the same
    count("quantity"),
    count("amount"),
    count("tried_quantity"),
    count("tried_amount"),
    sa.Column("revision", sa.LargeBinary(32), nullable=False),
    sa.Column("state", Word(LineState), nullable=False),
    text("run"),
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
    text("reason"),
    sa.Column("expires_at", Moment, nullable=False),
    sa.Index("fingerprints_by_expiry", "expires_at"),
)
