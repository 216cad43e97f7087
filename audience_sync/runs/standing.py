"""Withdrawals as they stand: who must not be added (L11).

A withdrawal names, for each family of identifiers, digests in all our forms with the time of the
decision, and digests of customer ids. It is lifted by a later explicit grant from the source,
never deleted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from audience_sync.customers.policy import microseconds
from audience_sync.errors import StateError
from audience_sync.identifiers.digests import digests
from audience_sync.identifiers.forms import FAMILIES, FORMS
from audience_sync.identifiers.kinds import Kind
from audience_sync.identifiers.texts import trimmed
from audience_sync.identifiers.writing import write_forms
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.withdrawal_files import Filed
from audience_sync.ledger.withdrawals import Withdrawal
from audience_sync.membership.digests import Bytes, Mask, match, present, rows_at
from audience_sync.membership.location import StateLocation
from audience_sync.membership.sealed import Keyring
from audience_sync.runs.holding import filled, united
from audience_sync.runs.named import (
    CUSTOMERS,
    Column,
    Columns,
    Named,
    Times,
    by_withdrawal,
    joined,
    latest,
    read_file,
)

_MOVES = 3  # of a file that is looked for, while others merge it with more and more


@dataclass
class Gathered:
    """Identifiers of people who withdraw, taken in batch by batch and told as one."""

    parts: dict[str, list[tuple[Bytes, Times]]] = field(default_factory=dict)

    def put(self, family: str, values: Bytes, at: Times) -> Mask:
        """Keep these; which of the rows hold one at all."""
        values = filled(values)
        there = present(values)
        if there.any():
            self.parts.setdefault(family, []).append((rows_at(values, there), at[there]))
        return there

    def told(self) -> dict[str, tuple[Bytes, Times]]:
        """Each digest once, with its latest time."""
        return {family: latest(parts) for family, parts in self.parts.items()}


def customer_keys(ids: pl.Series) -> Bytes:
    """A digest of each customer id, to bring rows of one customer together; shape (n, 32).

    Whatever text stands there is the id, even what no partner would take; zeros for none at all.
    """
    written = trimmed(ids.cast(pl.String))
    return digests(written.set(written == "", None))


def write_all_forms(
    frame: pl.DataFrame,
    at: Times,
    into: Gathered,
    *,
    default_country: str | None,
    hashed: Mapping[Kind, str],
    raw: bool,
) -> Mask:
    """Take in every form of the identifiers in a frame; which rows hold a usable one.

    Raw forms only where a destination may be sent them (L10).
    """
    usable = np.zeros(frame.height, dtype=np.bool_)
    kinds = [kind for kind in Kind if kind.value in frame.columns]
    for kind in kinds:
        names = [hashed[kind]] if kind in hashed else [f.name for f in FORMS.values()]
        wanted = [
            (kind, name)
            for name in names
            if FORMS[name].takes(kind) and (FORMS[name].hashed or raw)
        ]
        found = write_forms(frame, wanted, default_country=default_country, hashed=hashed)
        for values in found.values():
            usable |= into.put(FAMILIES[kind], values, at)
    return usable


@dataclass(frozen=True)
class Standing:
    """Reads withdrawals by sequence."""

    ledger: Ledger
    location: StateLocation
    keyring: Keyring

    def named(self, withdrawal: Withdrawal) -> Named:
        """What a withdrawal names; nothing where it was purged meanwhile."""
        columns = [part for _, part in self.read([withdrawal])]
        return {family: (column.values, column.at) for family, column in joined(columns).items()}

    def said(self, withdrawals: Sequence[Withdrawal]) -> Named:
        """What they name, each digest once with its latest time as it was said.

        That may be ahead of ours.
        """
        columns = joined(part for _, part in self._read(_filed(withdrawals)))
        return {family: latest([(one.values, one.at)]) for family, one in columns.items()}

    def read(self, withdrawals: Sequence[Withdrawal]) -> Iterator[tuple[str | None, Columns]]:
        """What they name, file by file, with the partner that it is limited to.

        No decision is later than when we received it, so that none outlasts a later grant.
        """
        return self._by_then(_filed(withdrawals))

    def _by_then(self, files: Iterable[Filed]) -> Iterator[tuple[str | None, Columns]]:
        for file, columns in self._read(files):
            capped = {family: _received(one, file) for family, one in columns.items()}
            yield file.partner, capped

    def _read(self, files: Iterable[Filed], again: int = 0) -> Iterator[tuple[Filed, Columns]]:
        for file in files:
            try:
                columns = read_file(self.location, self.keyring, file.path, file.sequences)
            except StateError:
                now = self._as_they_are_now(file)
                if again == _MOVES or any(one.path == file.path for one in now):
                    raise
                yield from self._read(now, again + 1)
            else:
                yield file, columns

    def _as_they_are_now(self, file: Filed) -> list[Filed]:
        """Where they stand after a merge; purged ones stand nowhere."""
        first, last = int(file.sequences[0]), int(file.sequences[-1])
        found = self.ledger.filed_withdrawals(after=first - 1, through=last)
        theirs = (one.among(file.sequences) for one in found)
        return [one for one in theirs if len(one.sequences)]

    def known(self, through: int) -> Iterator[tuple[str | None, Named]]:
        """What is refused up to a sequence, part by part, and towards which partner; None: all."""
        for partner, columns in self._by_then(self.ledger.filed_withdrawals(through=through)):
            named = {family: latest([(one.values, one.at)]) for family, one in columns.items()}
            yield partner, named

    def naming(self, digests: Bytes) -> list[Withdrawal]:
        """The withdrawals that name any of these, a customer id included, oldest first."""
        found: set[int] = set()
        for _, columns in self._read(self.ledger.filed_withdrawals()):
            for column in columns.values():
                found.update(column.of[match(column.values, digests) >= 0].tolist())
        return self.ledger.withdrawals_numbered(found)

    def digests(self, after: int, through: int, partner: str | None = None) -> Bytes:
        """The identifiers withdrawn between two sequences, as `united` has them.

        That is from a partner, or from any when none is named.
        """
        files = self.ledger.filed_withdrawals(after=after, through=through)
        mine = [one for one in files if partner is None or one.partner in (None, partner)]
        return united([column.values for column in self._identifiers(mine)])

    def each(self, after: int, through: int, partner: str) -> dict[int, Bytes]:
        """The same by withdrawal; those that name no identifier are left out."""
        files = self.ledger.filed_withdrawals(after=after, through=through)
        mine = [one for one in files if one.partner in (None, partner)]
        return by_withdrawal(list(self._identifiers(mine)))

    def each_of(
        self, withdrawals: Sequence[Withdrawal], without: Collection[str] = ()
    ) -> dict[int, Bytes]:
        """The identifiers of some withdrawals, by withdrawal, `without` those of some families."""
        return by_withdrawal(list(self._identifiers(_filed(withdrawals), without)))

    def digests_of(self, withdrawals: Sequence[Withdrawal]) -> Bytes:
        """The identifiers of some withdrawals, without customer ids."""
        return united([column.values for column in self._identifiers(_filed(withdrawals))])

    def _identifiers(
        self, files: Iterable[Filed], without: Collection[str] = ()
    ) -> Iterator[Column]:
        left_out = {CUSTOMERS, *without}
        for _, columns in self._read(files):
            yield from (one for family, one in columns.items() if family not in left_out)


def _filed(withdrawals: Sequence[Withdrawal]) -> list[Filed]:
    """The files in which these stand, as far as they know."""
    files: dict[str, list[Withdrawal]] = {}
    for one in sorted(withdrawals, key=lambda one: one.sequence):
        files.setdefault(one.file, []).append(one)
    return [
        Filed(
            path,
            theirs[0].partner,
            np.array([one.sequence for one in theirs], dtype=np.int64),
            np.array([microseconds(one.received_at) for one in theirs], dtype=np.int64),
        )
        for path, theirs in files.items()
    ]


def _received(column: Column, file: Filed) -> Column:
    """The same with no time later than when its withdrawal was received."""
    received = file.received[np.searchsorted(file.sequences, column.of)]
    return Column(column.values, np.minimum(column.at, received), column.of)
