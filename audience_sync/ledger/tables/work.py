"""Who works on what, and when: leases, jobs with their pieces, schedules."""

from __future__ import annotations

import sqlalchemy as sa

from audience_sync.ledger.records.work import JobState
from audience_sync.ledger.tables import Moment, Word, count, flag, maybe, metadata, structure, text

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    maybe("holder"),  # none: given back; the row stays, so that tokens never fall
    count("token"),
    sa.Column("expires_at", Moment, nullable=False),
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    text("kind"),
    sa.Column("state", Word(JobState), nullable=False),
    text("stage"),
    structure("spec"),
    structure("leases"),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("changed_at", Moment, nullable=False),
    maybe("reason"),
    sa.Index("jobs_by_state", "state", "created_at"),
)

pieces = sa.Table(
    "pieces",
    metadata,
    sa.Column("job", sa.Text, sa.ForeignKey("jobs.id"), primary_key=True),
    sa.Column("stage", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    flag("done"),
    count("attempts"),
    sa.Column("not_before", Moment),
    structure("result"),
    maybe("note"),
)

schedules = sa.Table(
    "schedules",
    metadata,
    sa.Column("audience", sa.Text, primary_key=True),
    text("rule"),
    sa.Column("due_at", Moment, nullable=False),
    sa.Column("served_at", Moment),
    sa.Column("retry_at", Moment),
    maybe("note"),
)
