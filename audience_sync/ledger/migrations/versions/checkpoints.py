"""Signed checkpoints of the transfer log, and who planned a run.

Lines may be deleted from now on, but only those that a checkpoint stands in for.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_REFUSAL = "the transfer log is append-only"
_PURGED = "(SELECT coalesce(max(purged_through), 0) FROM checkpoints)"
_LAST = "(SELECT coalesce(max(number), 0) FROM checkpoints)"
_COVERED = "(SELECT coalesce(max(sequence), 0) FROM checkpoints)"
_KEPT_LINE = f"OLD.sequence > {_PURGED}"
_KEPT_CHECKPOINT = f"OLD.sequence > {_PURGED} OR OLD.purged_through = {_PURGED}"
_OUT_OF_ORDER = (
    f"NEW.number <> {_LAST} + 1 OR NEW.purged_through > {_COVERED} "
    f"OR NEW.purged_through < {_PURGED} OR NEW.sequence < {_COVERED}"
)


def upgrade() -> None:
    """Make the table and its triggers; the log's own trigger lets purged lines go."""
    op.add_column("runs", sa.Column("planned_by", sa.Text(), nullable=True))
    op.create_table(
        "checkpoints",
        *(
            sa.Column(name, sa.BigInteger(), nullable=False)
            for name in ("number", "first", "sequence")
        ),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("head", "merkle_root", "salt")),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("purged_through", sa.BigInteger(), nullable=False),
        *(
            sa.Column(name, sa.Text(), nullable=False)
            for name in ("purged_hash", "previous", "public_key", "signature")
        ),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index("checkpoints_by_sequence", "checkpoints", ["sequence"])
    op.create_index("checkpoints_by_purge", "checkpoints", ["purged_through"])
    if op.get_bind().dialect.name == "sqlite":
        _sqlite_triggers()
    else:
        _postgresql_triggers()


def _sqlite_triggers() -> None:
    op.execute("DROP TRIGGER transfer_log_no_delete")
    for name, event, condition in (
        ("transfer_log_no_delete", "DELETE ON transfer_log", _KEPT_LINE),
        ("checkpoints_no_update", "UPDATE ON checkpoints", "1"),
        ("checkpoints_no_delete", "DELETE ON checkpoints", _KEPT_CHECKPOINT),
        ("checkpoints_in_order", "INSERT ON checkpoints", _OUT_OF_ORDER),
    ):
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {event} WHEN {condition} "
            f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
        )


def _postgresql_triggers() -> None:
    op.execute("DROP TRIGGER transfer_log_append_only ON transfer_log")
    for table in ("transfer_log", "checkpoints"):
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_transfer_log_change()"
        )
    for name, event, condition, row in (
        ("transfer_log_no_delete", "DELETE ON transfer_log", _KEPT_LINE, "OLD"),
        ("checkpoints_no_delete", "DELETE ON checkpoints", _KEPT_CHECKPOINT, "OLD"),
        ("checkpoints_in_order", "INSERT ON checkpoints", _OUT_OF_ORDER, "NEW"),
    ):
        op.execute(
            f"CREATE FUNCTION refuse_{name}() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN IF {condition} THEN RAISE EXCEPTION '{_REFUSAL}'; END IF; "
            f"RETURN {row}; END $$"
        )
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {event} FOR EACH ROW EXECUTE FUNCTION refuse_{name}()"
        )
