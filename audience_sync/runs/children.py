"""Withdrawals that hold what was found of whoever others name: those others are their parents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.withdrawals import Withdrawal
from audience_sync.membership.digests import match, rows_at
from audience_sync.membership.location import StateLocation
from audience_sync.membership.sealed import Keyring
from audience_sync.runs.holding import NOBODY
from audience_sync.runs.named import FOLDER, Named, write_named
from audience_sync.runs.standing import Standing


@dataclass(frozen=True, kw_only=True)
class Children:
    """Writes them; the file comes first, since what the ledger names can be read."""

    ledger: Ledger
    location: StateLocation
    keyring: Keyring
    now: Callable[[], datetime] = field(repr=False)

    def child(self, parent: Withdrawal, named: Named) -> Withdrawal:
        """One that is not in the ledger yet, and goes on in the place of its parent."""
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
        return child

    def so_far(self, parents: Sequence[Withdrawal], found: Mapping[int, Named]) -> None:
        """Write down what was found for those that are looked for again; nothing of it twice."""
        standing = Standing(self.ledger, self.location, self.keyring)
        earlier: dict[int, list[Withdrawal]] = {}
        for one in self.ledger.withdrawals_under(found):
            earlier.setdefault(one.parent or 0, []).append(one)
        for one in parents:
            known = standing.said(earlier.get(one.sequence, ()))
            new = _without(found.get(one.sequence, {}), known)
            if new:
                child = replace(self.child(one, new), parent=one.sequence)
                self.ledger.receive_withdrawals([child], {})


def _without(named: Named, known: Named) -> Named:
    """What is not known yet as of the same family: an address may be known as an identity alone."""
    left = {}
    for family, (values, at) in named.items():
        new = match(values, known[family][0] if family in known else NOBODY) < 0
        if new.any():
            left[family] = rows_at(values, new), at[new]
    return left
