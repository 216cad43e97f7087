"""Runs, their batches, and the lists at partners that they change."""

from __future__ import annotations

import sqlalchemy as sa

from audience_sync.ledger.records.runs import BatchState, Operation, RunState
from audience_sync.ledger.tables import Moment, Word, count, flag, maybe, metadata, structure, text

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    text("audience"),
    text("destination"),
    sa.Column("state", Word(RunState), nullable=False),
    sa.Column("planned_at", Moment, nullable=False),
    sa.Column("started_at", Moment),
    sa.Column("finished_at", Moment),
    maybe("reason"),
    structure("funnel"),
    structure("delta"),
    structure("forms"),
    count("generation"),
    maybe("outbox"),
    flag("forced"),
    maybe("approved_by"),
    sa.Column("next_attempt_at", Moment),
    maybe("planned_by"),
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
    count("members"),
    sa.Column("state", Word(BatchState), nullable=False),
    count("accepted"),
    count("rejected"),
    count("unattributed"),
    structure("rejected_positions"),
    maybe("reference"),
    count("attempts"),
    maybe("error"),
    sa.Column("withheld", sa.BigInteger, server_default="0"),
    sa.Column("withheld_positions", sa.JSON, server_default="[]"),
)

remote_lists = sa.Table(
    "remote_lists",
    metadata,
    sa.Column("audience", sa.Text, primary_key=True),
    sa.Column("destination", sa.Text, primary_key=True),
    maybe("remote_id"),
    maybe("marker"),
    sa.Column("creation_intended_at", Moment),
    flag("adopted"),
    maybe("account"),
    count("generation"),
    count("members"),
    structure("forms"),
    structure("manifest"),
    structure("statistics"),
    sa.Column("updated_at", Moment),
    sa.Column("refreshed_at", Moment),
)
