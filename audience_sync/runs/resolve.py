"""Finds whom a withdrawal by customer id names: the identifiers that the source has of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from audience_sync.customers.source import open_source
from audience_sync.errors import SourceError
from audience_sync.identifiers.kinds import Kind
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.withdrawals import Withdrawal
from audience_sync.membership.digests import Bytes, Mask, Positions, starts
from audience_sync.membership.location import StateLocation
from audience_sync.membership.sealed import Keyring
from audience_sync.runs.holding import NOBODY
from audience_sync.runs.identities import Identities, said_at
from audience_sync.runs.named import (
    CUSTOMERS,
    IDENTITIES,
    Column,
    Named,
    Times,
    all_matches,
    joined,
)
from audience_sync.runs.standing import Gathered, Standing, customer_keys, write_all_forms
from audience_sync.runs.withdrawal_requests import Rules

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Wanted:
    """The customers of all withdrawals that wait, to look for them together; `seen` counts them."""

    customers: Column
    first: NDArray[np.int64]  # where each customer begins, whom several may name
    found: Mask
    seen: dict[int, int]

    @classmethod
    def of(cls, standing: Standing, waiting: Sequence[Withdrawal]) -> _Wanted:
        """Whom these name by customer id; nobody where they were purged meanwhile."""
        nobody = Column(NOBODY, np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
        named = joined(columns for _, columns in standing.read(waiting))
        customers = named.get(CUSTOMERS, nobody)
        first = starts(customers.values)
        return cls(customers, first, np.zeros(len(customers), dtype=np.bool_), {})

    def among(self, keys: Bytes) -> Iterator[tuple[int, Positions, Times]]:
        """Each withdrawal that names any of these, the rows of those, and when each was said."""
        rows, at = all_matches(keys, self.customers.values, self.first)
        of = self.customers.of[at]
        for number in np.unique(of).tolist():
            mine = of == number
            new = np.unique(at[mine & ~self.found[at]])
            self.seen[number] = self.seen.get(number, 0) + len(new)
            self.found[new] = True
            yield number, rows[mine], self.customers.at[at[mine]]


@dataclass(frozen=True, kw_only=True)
class Resolver:
    """Finds the identifiers of customers who withdrew by customer id; one pass over the source."""

    ledger: Ledger
    location: StateLocation
    keyring: Keyring
    rules: Rules
    now: Callable[[], datetime] = field(repr=False)

    def resolve(self) -> int:
        """Resolve every withdrawal that waits for it; how many there were.

        Where the source ends in a SourceError, whoever was found in its good rows is refused and
        taken off from now on. All wait on: what cannot be read may hold more of anybody.
        """
        waiting = self.ledger.unresolved_withdrawals()
        if not waiting:
            return 0
        wanted = _Wanted.of(self._standing, waiting)
        gathered = self._shown(waiting)
        source = open_source(self.rules.source)
        kept = {"customer_id", "country", *(kind.value for kind in Kind)}
        without = [name for name in self.rules.source.columns if name not in kept]
        try:
            with closing(source.batches({}, without=without)) as frames:
                self._look(frames, wanted, gathered)
        except SourceError:
            with suppress(SourceError):
                self._look(source.salvaged(without=without), wanted, gathered)
            found = {one.sequence: gathered[one.sequence].told() for one in waiting}
            self._lists.children.so_far(waiting, found)
            raise
        for one in waiting:
            told = gathered[one.sequence].told()
            self._resolved(one, told, one.customers - wanted.seen.get(one.sequence, 0))
        return len(waiting)

    def _shown(self, waiting: Sequence[Withdrawal]) -> dict[int, Gathered]:
        """Whom lists show of those who are named beside the customers, as by phone alone.

        A list that cannot be read keeps nobody waiting: the next sync sees to whom it shows.
        """
        gathered = {one.sequence: Gathered() for one in waiting}
        found, unread = self._lists.of(waiting)
        if unread is not None:
            _log.warning("Lists of other identifiers let go with the next sync: %s", unread)
        for one in waiting:
            keys = found.get(one.sequence, NOBODY)
            gathered[one.sequence].put(IDENTITIES, keys, said_at(one, keys))
        return gathered

    @property
    def _lists(self) -> Identities:
        return Identities(
            ledger=self.ledger, location=self.location, keyring=self.keyring, now=self.now
        )

    @property
    def _standing(self) -> Standing:
        return Standing(self.ledger, self.location, self.keyring)

    def _look(
        self, frames: Iterable[pl.DataFrame], wanted: _Wanted, gathered: Mapping[int, Gathered]
    ) -> None:
        for frame in frames:
            for number, rows, at in wanted.among(customer_keys(frame["customer_id"])):
                self._gather(frame[rows], at, gathered[number])

    def _gather(self, frame: pl.DataFrame, at: Times, into: Gathered) -> None:
        write_all_forms(
            frame,
            at,
            into,
            default_country=self.rules.default_country,
            hashed=self.rules.hashed,
            raw=self.rules.raw,
        )

    def _resolved(self, parent: Withdrawal, named: Named, missing: int) -> None:
        child = self._lists.children.child(parent, named) if named else None
        self.ledger.resolve_withdrawal(parent, child, missing)
