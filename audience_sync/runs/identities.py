"""Whom a withdrawal by phone or device means on lists that hold neither.

A list of e-mails does not show whose phone was withdrawn. Where any list holds the phone with the
person's identity, every list that holds this identity is told of it as well (L11).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np

from audience_sync.customers.policy import microseconds
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.withdrawal_deliveries import WithdrawalDelivery, WithdrawalState
from audience_sync.ledger.withdrawals import Withdrawal
from audience_sync.membership.digests import Bytes, match, rows_at, sort_order, starts
from audience_sync.membership.held import Manifest, Membership
from audience_sync.membership.lines import Lines
from audience_sync.membership.location import StateLocation
from audience_sync.membership.sealed import Keyring
from audience_sync.runs.holding import filled, members_with, united, without
from audience_sync.runs.named import FOLDER, IDENTITIES, Column, by_withdrawal, write_named
from audience_sync.runs.standing import Standing


@dataclass(frozen=True, kw_only=True)
class Identities:
    """Looks once for each withdrawal, before it is delivered."""

    ledger: Ledger
    location: StateLocation
    keyring: Keyring
    now: Callable[[], datetime] = field(repr=False)

    def look(self, rows: Sequence[WithdrawalDelivery]) -> None:
        """Note the identities of whoever is named by open withdrawals and held anywhere."""
        new = {row.sequence for row in rows if row.state is WithdrawalState.QUEUED}
        waiting = [
            one
            for one in self.ledger.withdrawals_numbered(new)
            if one.parent is None and one.resolved_by is None and not one.customers
        ]
        if not waiting:
            return
        each = Standing(self.ledger, self.location, self.keyring).each_of(waiting)
        found = _identities(self._held(united(list(each.values()))), each)
        self.ledger.resolve_themselves(
            [one.sequence for one in waiting if one.sequence not in found]
        )
        for one in waiting:
            if one.sequence in found:
                self._noted(one, found[one.sequence])

    def _held(self, digests: Bytes) -> list[Lines]:
        """The members of all lists who carry any of these."""
        found = []
        for remote in self.ledger.remote_lists():
            manifest = Manifest.of(remote.manifest)
            membership = Membership(self.location, self.keyring, manifest)
            for partition in manifest.files:
                lines = membership.read(partition, manifest.partitions)
                named = members_with(lines, digests)
                if named.any():
                    found.append(lines.take(named))
        return found

    def _noted(self, one: Withdrawal, keys: Bytes) -> None:
        name = self.ledger.new_withdrawal_id()
        path, now = f"{FOLDER}/{name}.sealed", self.now()
        child = replace(one, id=name, received_at=now, identifiers=len(keys), file=path)
        at = np.full(len(keys), microseconds(one.received_at), dtype=np.int64)
        write_named(self.location, self.keyring, path, {IDENTITIES: (keys, at)})
        self.ledger.resolve_withdrawal(one, child, 0)


def _identities(held: Sequence[Lines], each: Mapping[int, Bytes]) -> dict[int, Bytes]:
    """Whom each names, by identity; not where it names that itself, as by an e-mail address."""
    if not held:
        return {}
    numbers = np.repeat(list(each), [len(digests) for digests in each.values()])
    digests = np.concatenate(list(each.values()))
    order = sort_order(digests)
    digests, numbers = rows_at(digests, order), numbers[order]
    first = starts(digests)
    count = np.diff(np.append(first, len(digests)))
    pairs = []
    for lines in held:
        for values in lines.columns.values():
            place = match(filled(values), rows_at(digests, first))
            rows = np.flatnonzero(place >= 0)
            many = count[place[rows]]
            at = np.repeat(first[place[rows]] - np.cumsum(many) + many, many)
            of = numbers[at + np.arange(len(at))]
            keys = rows_at(lines.keys, np.repeat(rows, many))
            pairs.append(Column(keys, np.zeros(len(of), dtype=np.int64), of))
    named = {number: without(keys, each[number]) for number, keys in by_withdrawal(pairs).items()}
    return {number: keys for number, keys in named.items() if len(keys)}
