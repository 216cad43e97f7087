"""Which account at a partner a list belongs to; unknown of those that were made before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing is guessed: the project file may already name another account."""
    op.add_column("remote_lists", sa.Column("account", sa.Text, nullable=True))
