"""Finds whom a withdrawal by customer id names: the identifiers that the source has of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np
import polars as pl

from audience_sync.customers.source import open_source
from audience_sync.identifiers.kinds import Kind
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.withdrawals import Withdrawal
from audience_sync.membership.digests import match
from audience_sync.membership.location import StateLocation
from audience_sync.membership.sealed import Keyring
from audience_sync.runs.named import CUSTOMERS, FOLDER, Named, Times, write_named
from audience_sync.runs.standing import Gathered, Standing, customer_keys, write_all_forms
from audience_sync.runs.withdraw import Rules


@dataclass(frozen=True, kw_only=True)
class Resolver:
    """Finds the identifiers of customers who withdrew by customer id; one pass over the source."""

    ledger: Ledger
    location: StateLocation
    keyring: Keyring
    rules: Rules
    now: Callable[[], datetime] = field(repr=False)

    def resolve(self) -> int:
        """Resolve every withdrawal that waits for it; how many there were."""
        waiting = self.ledger.unresolved_withdrawals()
        if not waiting:
            return 0
        standing = Standing(self.ledger, self.location, self.keyring)
        wanted = [(one, *standing.named(one)[CUSTOMERS], Gathered()) for one in waiting]
        found = [np.zeros(one.customers, dtype=np.bool_) for one in waiting]
        source = open_source(self.rules.source)
        kept = {"customer_id", "country", *(kind.value for kind in Kind)}
        without = [name for name in self.rules.source.columns if name not in kept]
        with closing(source.batches({}, without=without)) as frames:
            for frame in frames:
                keys = customer_keys(frame["customer_id"])
                for seen, (_, customers, at, gathered) in zip(found, wanted, strict=True):
                    place = match(keys, customers)
                    rows = np.flatnonzero(place >= 0)
                    if len(rows):
                        seen[place[rows]] = True
                        self._gather(frame[rows], at[place[rows]], gathered)
        for seen, (one, _, _, gathered) in zip(found, wanted, strict=True):
            self._resolved(one, gathered.told(), int((~seen).sum()))
        return len(waiting)

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
        if not named:
            self.ledger.resolve_withdrawal(parent, None, missing)
            return
        name = self.ledger.new_withdrawal_id()
        child = replace(
            parent,
            id=name,
            received_at=self.now(),
            customers=0,
            identifiers=sum(len(values) for values, _ in named.values()),
            file=f"{FOLDER}/{name}.sealed",
        )
        write_named(self.location, self.keyring, child.file, named)
        self.ledger.resolve_withdrawal(parent, child, missing)
