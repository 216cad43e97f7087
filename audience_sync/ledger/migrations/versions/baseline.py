"""The first tables, and the triggers that keep the transfer log append-only."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_REFUSAL = "the transfer log is append-only"


def upgrade() -> None:
    """Make every table."""
    _runs()
    _lists_and_leases()
    _transfer_log()
    _fingerprints()
    _keep_append_only()


def _text(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), nullable=False)


def _maybe(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), nullable=True)


def _word(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.String(), nullable=False)


def _count(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _flag(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Boolean(), nullable=False)


def _json(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.JSON(), nullable=False)


def _time(name: str, *, nullable: bool = True) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _runs() -> None:
    op.create_table(
        "runs",
        _text("id"),
        _text("audience"),
        _text("destination"),
        _word("state"),
        _time("planned_at", nullable=False),
        _time("started_at"),
        _time("finished_at"),
        _maybe("reason"),
        _json("funnel"),
        _json("delta"),
        _json("forms"),
        _count("generation"),
        _maybe("outbox"),
        _flag("forced"),
        _maybe("approved_by"),
        _time("next_attempt_at"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("runs_by_list", "runs", ["audience", "destination", "planned_at"])
    op.create_index("runs_by_state", "runs", ["state", "planned_at"])
    op.create_table(
        "batches",
        _text("run"),
        _count("position"),
        _word("operation"),
        _count("members"),
        _word("state"),
        _count("accepted"),
        _count("rejected"),
        _count("unattributed"),
        _json("rejected_positions"),
        _maybe("reference"),
        _count("attempts"),
        _maybe("error"),
        sa.PrimaryKeyConstraint("run", "position"),
        sa.ForeignKeyConstraint(["run"], ["runs.id"]),
    )


def _lists_and_leases() -> None:
    op.create_table(
        "remote_lists",
        _text("audience"),
        _text("destination"),
        _maybe("remote_id"),
        _maybe("marker"),
        _time("creation_intended_at"),
        _flag("adopted"),
        _count("generation"),
        _count("members"),
        _json("forms"),
        _json("manifest"),
        _json("statistics"),
        _time("updated_at"),
        sa.PrimaryKeyConstraint("audience", "destination"),
    )
    op.create_table(
        "leases",
        _text("name"),
        _maybe("holder"),
        _count("token"),
        _time("expires_at", nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )


def _transfer_log() -> None:
    op.create_table(
        "transfer_log",
        _count("sequence"),
        _time("at", nullable=False),
        _word("event"),
        *map(_text, ("run", "audience", "destination")),
        *map(_text, ("recipient", "recipient_country", "purpose")),
        _maybe("operation"),
        sa.Column("batch", sa.BigInteger(), nullable=True),
        *map(_count, ("sent", "accepted", "rejected", "unattributed")),
        _text("forms"),
        _flag("raw_device_ids"),
        _maybe("reference"),
        sa.Column("status", sa.BigInteger(), nullable=True),
        _maybe("code"),
        _count("attempts"),
        *map(_time, ("started_at", "finished_at")),
        *map(_maybe, ("body_sha256", "actor", "note")),
        *map(_text, ("previous_hash", "hash")),
        sa.PrimaryKeyConstraint("sequence"),
    )
    op.create_index("transfer_log_by_run", "transfer_log", ["run", "sequence"])
    op.create_index("transfer_log_by_time", "transfer_log", ["at"])
    head = op.create_table(
        "transfer_log_head",
        _count("id"),
        _count("lines"),
        _text("hash"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.bulk_insert(head, [{"id": 1, "lines": 0, "hash": "0" * 64}])


def _fingerprints() -> None:
    op.create_table(
        "fingerprints",
        _text("destination"),
        sa.Column("fingerprint", sa.LargeBinary(32), nullable=False),
        _text("reason"),
        _time("expires_at", nullable=False),
        sa.PrimaryKeyConstraint("destination", "fingerprint"),
    )
    op.create_index("fingerprints_by_expiry", "fingerprints", ["expires_at"])


def _keep_append_only() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER transfer_log_no_{verb.lower()} BEFORE {verb} ON transfer_log "
                f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION refuse_transfer_log_change() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{_REFUSAL}'; END $$"
    )
    op.execute(
        "CREATE TRIGGER transfer_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE "
        "ON transfer_log FOR EACH STATEMENT EXECUTE FUNCTION refuse_transfer_log_change()"
    )
