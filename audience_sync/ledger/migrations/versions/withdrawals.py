"""Withdrawals, their way to each destination, and what was withheld for them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_COUNTS = ("people", "customers", "identifiers", "missing")
_TIMES = ("sent_at", "acknowledged_at", "confirmed_at", "next_attempt_at")


def upgrade() -> None:
    """Nobody withdrew before, and nothing was withheld."""
    op.create_table(
        "withdrawals",
        sa.Column("sequence", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("id", sa.Text(), nullable=False, unique=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("partner", sa.Text(), nullable=True),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _COUNTS),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("parent", sa.BigInteger(), nullable=True),
        sa.Column("resolved_by", sa.BigInteger(), nullable=True),
    )
    op.create_table(
        "withdrawal_deliveries",
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("queued_at", sa.DateTime(timezone=True), nullable=False),
        *(sa.Column(name, sa.DateTime(timezone=True), nullable=True) for name in _TIMES),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("sequence", "destination"),
    )
    op.create_index(
        "withdrawal_deliveries_by_state", "withdrawal_deliveries", ["state", "destination"]
    )
    op.create_table(
        "withdrawal_removals",
        sa.Column("audience", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("through", sa.BigInteger(), nullable=False),
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("pending", sa.JSON(), nullable=False),
        sa.Column("ask_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("audience", "destination"),
    )
    op.create_table(
        "withdrawal_keys",
        sa.Column("key", sa.LargeBinary(32), primary_key=True),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "withdrawal_watch",
        sa.Column("source", sa.Text(), primary_key=True),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.add_column("runs", sa.Column("withdrawals", sa.BigInteger(), server_default="0"))
    op.add_column("batches", sa.Column("withheld", sa.BigInteger(), server_default="0"))
    op.add_column("batches", sa.Column("withheld_positions", sa.JSON(), server_default="[]"))
