"""The transfer log, where its chain ends, and the signed checkpoints over it."""

from __future__ import annotations

import sqlalchemy as sa

from audience_sync.ledger.records.log import Event
from audience_sync.ledger.tables import Moment, Word, count, flag, maybe, metadata, text

transfer_log = sa.Table(
    "transfer_log",
    metadata,
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("event", Word(Event), nullable=False),
    text("run"),
    text("audience"),
    text("destination"),
    text("recipient"),
    text("recipient_country"),
    text("purpose"),
    maybe("operation"),
    sa.Column("batch", sa.BigInteger),
    count("sent"),
    count("accepted"),
    count("rejected"),
    count("unattributed"),
    text("forms"),
    flag("raw_device_ids"),
    maybe("reference"),
    sa.Column("status", sa.BigInteger),
    maybe("code"),
    count("attempts"),
    sa.Column("started_at", Moment),
    sa.Column("finished_at", Moment),
    maybe("body_sha256"),
    maybe("actor"),
    maybe("note"),
    text("previous_hash"),
    text("hash"),
    sa.Index("transfer_log_by_run", "run", "sequence"),
    sa.Index("transfer_log_by_time", "at"),
)

transfer_log_head = sa.Table(
    "transfer_log_head",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),  # always 1
    count("lines"),
    text("hash"),
)

checkpoints = sa.Table(
    "checkpoints",
    metadata,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    count("first"),
    count("sequence"),
    text("head"),
    text("merkle_root"),
    text("salt"),
    sa.Column("at", Moment, nullable=False),
    count("purged_through"),
    text("purged_hash"),
    text("previous"),
    text("public_key"),
    text("signature"),
    sa.Index("checkpoints_by_sequence", "sequence"),
    sa.Index("checkpoints_by_purge", "purged_through"),
)
