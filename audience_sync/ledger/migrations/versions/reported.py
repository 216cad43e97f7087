"""What was reported of each order line, by keyed fingerprint."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_NUMBERS = ("quantity", "amount", "tried_quantity", "tried_amount")


def upgrade() -> None:
    """Nothing was reported before."""
    op.create_table(
        "reported_lines",
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("line", sa.LargeBinary(32), nullable=False),
        sa.Column("of_order", sa.LargeBinary(32), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _NUMBERS),
        sa.Column("revision", sa.LargeBinary(32), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("destination", "line"),
    )
    op.create_index("reported_lines_by_order", "reported_lines", ["destination", "of_order"])
    op.create_index("reported_lines_by_run", "reported_lines", ["run", "state"])
    op.create_index("reported_lines_by_expiry", "reported_lines", ["expires_at"])
