"""Checkpoints of the transfer log: making them, and letting old lines go for one."""

from __future__ import annotations

import os
from dataclasses import fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from audience_sync.errors import StateError
from audience_sync.ledger.chain import GENESIS, Chain
from audience_sync.ledger.database import Database
from audience_sync.ledger.merkle import Tree, leaf, leaf_salt
from audience_sync.ledger.records.log import Checkpoint
from audience_sync.ledger.runs import ENDED
from audience_sync.ledger.statements import digest, sign, statement
from audience_sync.ledger.tables.log import checkpoints as table
from audience_sync.ledger.tables.log import transfer_log as log
from audience_sync.ledger.tables.log import transfer_log_head as head
from audience_sync.ledger.tables.runs import runs
from audience_sync.signing import Signer

MOST = 50_000  # lines under one checkpoint, since writers wait meanwhile
_PAGE = 1_000  # lines in memory at a time
_HEAD = sa.select(head.c.lines, head.c.hash).where(head.c.id == 1).with_for_update()
_FIELDS = tuple(field.name for field in fields(Checkpoint))
_BROKEN = "the transfer log is not as it was written; `audience-sync log verify` says where"


class Checkpoints(Database):
    """Signing what the log holds, and purging it."""

    def checkpoints(self) -> list[Checkpoint]:
        """All, in their order."""
        with self._reading() as connection:
            return [_checkpoint(row) for row in connection.execute(_ALL)]

    def unsigned(self) -> int:
        """How many lines no checkpoint signs yet."""
        with self._reading() as connection:
            lines = connection.execute(sa.select(head.c.lines)).scalar() or 0
            newest = _newest(connection)
        return max(0, lines - (newest.sequence if newest else 0))

    def make_checkpoints(self, signer: Signer) -> list[Checkpoint]:
        """Sign all lines that are not signed yet; nothing where there are none.

        StateError, and nothing signed, when these lines are not as they were written.
        """
        made = []
        while (one := self._make_checkpoint(signer)) is not None:
            made.append(one)
        return made

    def _make_checkpoint(self, signer: Signer) -> Checkpoint | None:
        with self._writing() as connection:
            end = connection.execute(_HEAD).first()
            before = _newest(connection)
            first = 1 if before is None else before.sequence + 1
            if end is None or end.lines < first:
                return None
            last = min(end.lines, first + MOST - 1)
            salt = os.urandom(32).hex()
            chain, root = _followed(connection, before, last, salt)
            if last == end.lines and chain.hash != end.hash:
                raise StateError(_BROKEN)
            made = sign(
                {
                    **_after(before, self._clock()),
                    "sequence": last,
                    "head": chain.hash,
                    "merkle_root": root,
                    "salt": salt,
                },
                signer,
            )
            _insert(connection, made)
            return made

    def log_closed_before(self, moment: datetime) -> int:
        """The number up to which every line is of a run that closed before a moment."""
        closed = sa.func.coalesce(runs.c.finished_at, runs.c.planned_at)
        kept = sa.or_(
            log.c.at > moment,
            sa.and_(runs.c.id.is_not(None), sa.or_(runs.c.state.not_in(ENDED), closed > moment)),
        )
        joined = log.outerjoin(runs, runs.c.id == log.c.run)
        first = sa.select(sa.func.min(log.c.sequence)).select_from(joined).where(kept)
        last = sa.select(sa.func.max(log.c.sequence))
        with self._reading() as connection:
            kept_from = connection.execute(first).scalar()
            return (connection.execute(last).scalar() or 0) if kept_from is None else kept_from - 1

    def purgeable(self, through: int) -> int:
        """How many lines go when those up to a number may: whole checkpoints only."""
        with self._reading() as connection:
            newest, stands_in = _newest(connection), _covering(connection, through)
        if newest is None or stands_in is None:
            return 0
        return max(0, int(stands_in.sequence) - newest.purged_through)

    def purge_log(self, signer: Signer, through: int) -> int:
        """Delete the lines up to a number, and sign what stands in for them; how many went.

        Checkpoints whose lines are gone go, too, once a newer one stands in for the same.
        """
        with self._writing() as connection:
            connection.execute(_HEAD)
            newest, stands_in = _newest(connection), _covering(connection, through)
            if newest is None or stands_in is None:
                return 0
            if stands_in.sequence <= newest.purged_through:
                return 0
            purge = {
                **_after(newest, self._clock()),
                "sequence": newest.sequence,
                "head": newest.head,
                "merkle_root": Tree().root,
                "salt": os.urandom(32).hex(),
                "purged_through": stands_in.sequence,
                "purged_hash": stands_in.head,
            }
            _insert(connection, sign(purge, signer))
            gone = connection.execute(sa.delete(log).where(log.c.sequence <= stands_in.sequence))
            older = table.c.purged_through < stands_in.sequence
            connection.execute(
                sa.delete(table).where(table.c.sequence <= stands_in.sequence, older)
            )
            return gone.rowcount


def _followed(
    connection: sa.Connection, before: Checkpoint | None, last: int, salt: str
) -> tuple[Chain, str]:
    """Read the lines after a checkpoint; their chain and their root."""
    chain = Chain() if before is None else Chain(before.sequence, before.head)
    tree = Tree()
    while chain.last < last:
        page = sa.select(log).where(log.c.sequence > chain.last).order_by(log.c.sequence)
        rows = connection.execute(page.limit(min(_PAGE, last - chain.last))).all()
        for row in rows:
            columns = dict(row._mapping)  # noqa: SLF001 - the public way to read a row by names
            if chain.take(columns) is not None:
                raise StateError(_BROKEN)
            tree.add(leaf(leaf_salt(salt, chain.last), str(chain.hash)))
        if not rows:
            raise StateError(_BROKEN)
    return chain, tree.root


def _after(before: Checkpoint | None, at: datetime) -> dict[str, Any]:
    """What the next checkpoint takes over from the one before."""
    if before is None:
        start = {"number": 1, "first": 1, "previous": GENESIS}
        return {**start, "purged_through": 0, "purged_hash": GENESIS, "at": at}
    return {
        "number": before.number + 1,
        "first": before.sequence + 1,
        "previous": digest(statement(before)),
        "purged_through": before.purged_through,
        "purged_hash": before.purged_hash,
        "at": at,
    }


_ALL = sa.select(table).order_by(table.c.number)
_NEWEST = sa.select(table).order_by(table.c.number.desc()).limit(1)


def read_all(connection: sa.Connection) -> list[Checkpoint]:
    """All checkpoints, as one transaction sees them."""
    return [_checkpoint(row) for row in connection.execute(_ALL)]


def _newest(connection: sa.Connection) -> Checkpoint | None:
    row = connection.execute(_NEWEST).first()
    return None if row is None else _checkpoint(row)


def _covering(connection: sa.Connection, through: int) -> Checkpoint | None:
    """The last checkpoint that signs no line after a number."""
    row = connection.execute(_NEWEST.where(table.c.sequence <= through)).first()
    return None if row is None else _checkpoint(row)


def _insert(connection: sa.Connection, made: Checkpoint) -> None:
    connection.execute(sa.insert(table).values({name: getattr(made, name) for name in _FIELDS}))


def _checkpoint(row: sa.Row[Any]) -> Checkpoint:
    return Checkpoint(**row._mapping)  # noqa: SLF001 - the public way to read a row by names
