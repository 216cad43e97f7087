"""In which sealed files withdrawals stand: as columns, since there may be millions of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from audience_sync.ledger.database import Database
from audience_sync.ledger.leases import fence
from audience_sync.ledger.records.work import Lease
from audience_sync.ledger.withdrawals import withdrawals

_SECOND = 1_000_000  # microseconds
_TO_THE_SECOND = 20  # characters of a time in SQLite, with the dot


class WithdrawalFile(NamedTuple):
    """A file, and how much stands in it; all are limited to one partner, or none is."""

    path: str
    partner: str | None
    withdrawals: int
    identifiers: int


@dataclass(frozen=True, slots=True, eq=False)
class Filed:
    """Withdrawals that stand in one file, by rising sequence, and when each was received.

    Times are microseconds since 1970.
    """

    path: str
    partner: str | None
    sequences: NDArray[np.int64]
    received: NDArray[np.int64]

    def among(self, sequences: NDArray[np.int64]) -> Filed:
        """Those of them that are wanted, too."""
        kept = np.isin(self.sequences, sequences)
        return Filed(self.path, self.partner, self.sequences[kept], self.received[kept])


class WithdrawalFiles(Database):
    """What stands where, and that it stands elsewhere from now on."""

    def withdrawal_files(self) -> list[WithdrawalFile]:
        """The files in which withdrawals stand, in the order of the oldest in each."""
        oldest, table = sa.func.min(withdrawals.c.sequence), withdrawals.c
        counts = sa.func.count().label("withdrawals"), sa.func.sum(table.identifiers)
        query = sa.select(table.file, table.partner, counts[0], counts[1].label("identifiers"))
        with self._reading() as connection:
            found = connection.execute(query.group_by(table.file, table.partner).order_by(oldest))
            return [
                WithdrawalFile(row.file, row.partner, row.withdrawals, int(row.identifiers))
                for row in found
            ]

    def filed_withdrawals(
        self,
        *,
        after: int = 0,
        through: int | None = None,
        files: Collection[str] | None = None,
    ) -> list[Filed]:
        """What stands in each file, of those between two sequences, and in these files only."""
        table = withdrawals.c
        # The database writes the numbers of a file into one text, which costs a twentieth of rows.
        numbers = sa.func.aggregate_strings(self._number_and_time(), ",").label("numbers")
        query = sa.select(table.file, table.partner, numbers).where(table.sequence > after)
        if through is not None:
            query = query.where(table.sequence <= through)
        if files is not None:
            query = query.where(table.file.in_(sorted(files)))
        query = query.group_by(table.file, table.partner).order_by(sa.func.min(table.sequence))
        with self._reading() as connection:
            return [_filed(*row) for row in connection.execute(query)]

    def _number_and_time(self) -> sa.ColumnElement[str]:
        at = withdrawals.c.received_at
        moment: sa.ColumnElement[int] = sa.cast(sa.extract("epoch", at) * _SECOND, sa.BigInteger)
        if self._engine.dialect.name == "sqlite":  # where the seconds are whole, and times texts
            rest = sa.func.substr(sa.type_coerce(at, sa.Text), _TO_THE_SECOND + 1)
            moment = moment + sa.cast(rest, sa.BigInteger)
        return sa.cast(withdrawals.c.sequence, sa.Text) + "," + sa.cast(moment, sa.Text)

    def move_withdrawals(self, files: Collection[str], to: str, lease: Lease) -> None:
        """What stood in these files stands in another one from now on."""
        here = withdrawals.c.file.in_(sorted(files))
        with self._writing() as connection:
            fence(connection, lease)
            connection.execute(sa.update(withdrawals).where(here).values(file=to))


def _filed(path: str, partner: str | None, numbers: str) -> Filed:
    found = np.fromstring(numbers, dtype=np.int64, sep=",").reshape(-1, 2)
    found = found[np.argsort(found[:, 0])]
    return Filed(path, partner, found[:, 0].copy(), found[:, 1].copy())
