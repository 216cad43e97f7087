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
from audience_sync.errors import AudienceSyncError
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.withdrawal_deliveries import WithdrawalDelivery
from audience_sync.ledger.withdrawals import Withdrawal
from audience_sync.membership.digests import Bytes, rows_at, sort_order, starts
from audience_sync.membership.held import Manifest, Membership
from audience_sync.membership.lines import Lines
from audience_sync.membership.location import StateLocation
from audience_sync.membership.sealed import Keyring
from audience_sync.runs.departing import leaving
from audience_sync.runs.holding import filled, members_with, united, without
from audience_sync.runs.named import (
    FOLDER,
    IDENTITIES,
    Column,
    all_matches,
    by_withdrawal,
    write_named,
)
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
        waiting = [
            one
            for one in self.ledger.withdrawals_numbered({row.sequence for row in rows})
            if one.parent is None and one.resolved_by is None and not one.customers
        ]
        if not waiting:
            return
        each = Standing(self.ledger, self.location, self.keyring).each_of(waiting)
        held, unread = self._held(united(list(each.values())))
        found = _identities(held, each)
        for one in waiting:
            if one.sequence in found:
                self._noted(one, found[one.sequence])
        if unread is not None:  # the others are looked for again: it may hold them
            raise unread
        self.ledger.resolve_themselves(
            [one.sequence for one in waiting if one.sequence not in found]
        )

    def _held(self, digests: Bytes) -> tuple[list[Lines], AudienceSyncError | None]:
        """The members of all lists who carry any of these; why a list cannot be read."""
        found: list[Lines] = []
        unread = None
        for remote in self.ledger.remote_lists():
            manifest = Manifest.of(remote.manifest)
            membership = Membership(self.location, self.keyring, manifest)
            try:
                found += leaving(membership, lambda lines: members_with(lines, digests)).lines
            except AudienceSyncError as error:
                unread = error
        return found, unread

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
    pairs = []
    for lines in held:
        for values in lines.columns.values():
            rows, at = all_matches(filled(values), digests, first)
            keys = rows_at(lines.keys, rows)
            pairs.append(Column(keys, np.zeros(len(at), dtype=np.int64), numbers[at]))
    named = {number: without(keys, each[number]) for number, keys in by_withdrawal(pairs).items()}
    return {number: keys for number, keys in named.items() if len(keys)}
