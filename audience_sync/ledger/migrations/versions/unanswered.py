"""Each removal that a partner answers later on its own; old withdrawals are found by index."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_TABLE = "withdrawal_removals"
_REMOVALS = sa.table(
    _TABLE,
    sa.column("audience", sa.Text),
    sa.column("destination", sa.Text),
    sa.column("through", sa.BigInteger),
    sa.column("run", sa.Text),
    sa.column("sent_at", sa.DateTime(timezone=True)),
    sa.column("pending", sa.JSON),
    sa.column("unanswered", sa.JSON),
)


def upgrade() -> None:
    """What waited for an answer held all withdrawals up to the last; a list is asked at once."""
    op.add_column(_TABLE, sa.Column("unanswered", sa.JSON, nullable=False, server_default="[]"))
    op.add_column(_TABLE, sa.Column("refused", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column(_TABLE, sa.Column("reason", sa.Text, nullable=True))
    here = _REMOVALS.c
    for row in op.get_bind().execute(sa.select(_REMOVALS)).all():
        if row.pending and row.through:
            list_ = (here.audience == row.audience, here.destination == row.destination)
            change = sa.update(_REMOVALS).where(*list_)
            op.execute(change.values(unanswered=[_unanswered(row)]))
    op.drop_column(_TABLE, "pending")
    op.drop_column(_TABLE, "ask_at")
    op.create_index("withdrawals_by_parent", "withdrawals", ["parent"])
    op.create_index("withdrawal_deliveries_by_time", "withdrawal_deliveries", ["received_at"])


def _unanswered(row: sa.Row[Any]) -> dict[str, Any]:
    sent_at = row.sent_at if row.sent_at.tzinfo else row.sent_at.replace(tzinfo=UTC)
    return {
        "after": 0,
        "through": row.through,
        "run": row.run,
        "settled": "",
        "sent_at": sent_at.isoformat(),
        "ask_at": sent_at.isoformat(),
        "references": row.pending,
    }
