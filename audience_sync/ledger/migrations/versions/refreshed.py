"""When everybody on a list was last sent; partners forget members by their own clocks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nobody on a list was sent before the list was to be made."""
    op.add_column(
        "remote_lists", sa.Column("refreshed_at", sa.DateTime(timezone=True), nullable=True)
    )
    op.execute("UPDATE remote_lists SET refreshed_at = creation_intended_at")
