"""Whom a withdrawal by phone or device means on lists that hold neither.

A list of e-mails does not show whose phone was withdrawn. Where any list holds the phone with the
person's identity, or is being sent it, every list that holds this identity is told as well (L11).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from audience_sync.customers.policy import microseconds
from audience_sync.errors import AudienceSyncError, StateError
from audience_sync.identifiers.forms import FAMILIES
from audience_sync.identifiers.kinds import Kind
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.runs import OPEN_STATES, RemoteList
from audience_sync.ledger.withdrawal_deliveries import WithdrawalDelivery
from audience_sync.ledger.withdrawals import Withdrawal
from audience_sync.membership.digests import Bytes, Positions, rows_at, sort_order, starts
from audience_sync.membership.held import Manifest, Membership
from audience_sync.membership.lines import Lines
from audience_sync.membership.location import StateLocation
from audience_sync.membership.sealed import Keyring
from audience_sync.runs.children import Children
from audience_sync.runs.holding import filled, members_with, united, without
from audience_sync.runs.named import IDENTITIES, Column, Times, all_matches, by_withdrawal
from audience_sync.runs.standing import Standing
from audience_sync.runs.under_way import UnderWay


@dataclass(frozen=True)
class _Wanted:
    """What withdrawals name, sorted, to look for it together; `first` is where each begins."""

    digests: Bytes
    numbers: NDArray[np.int64]
    first: Positions

    @classmethod
    def of(cls, each: Mapping[int, Bytes]) -> _Wanted:
        """What these name; at least one names something."""
        numbers = np.repeat(list(each), [len(digests) for digests in each.values()])
        digests = np.concatenate(list(each.values()))
        order = sort_order(digests)
        digests = rows_at(digests, order)
        return cls(digests, numbers[order], starts(digests))

    def among(self, lines: Lines) -> Iterator[Column]:
        """The identities of members who carry any of it, by withdrawal."""
        for values in lines.columns.values():
            rows, at = all_matches(filled(values), self.digests, self.first)
            if len(rows):
                keys = rows_at(lines.keys, rows)
                yield Column(keys, np.zeros(len(at), dtype=np.int64), self.numbers[at])


def said_at(withdrawal: Withdrawal, keys: Bytes) -> Times:
    """When it was said of each of these: lists tell no time of their own."""
    return np.full(len(keys), microseconds(withdrawal.received_at), dtype=np.int64)


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
        found, unread = self.of(waiting)
        named = {
            one.sequence: {IDENTITIES: (keys, said_at(one, keys))}
            for one in waiting
            if (keys := found.get(one.sequence)) is not None
        }
        if unread is not None:  # it may hold more of anybody
            self.children.so_far(waiting, named)
            raise unread
        for one in waiting:
            if one.sequence in found:
                child = self.children.child(one, named[one.sequence])
                self.ledger.resolve_withdrawal(one, child, 0)
        self.ledger.resolve_themselves(
            [one.sequence for one in waiting if one.sequence not in found]
        )

    @property
    def children(self) -> Children:
        """What writes down whom a look found."""
        return Children(
            ledger=self.ledger, location=self.location, keyring=self.keyring, now=self.now
        )

    def of(
        self, withdrawals: Sequence[Withdrawal]
    ) -> tuple[dict[int, Bytes], AudienceSyncError | None]:
        """Whom each names, by identity, and why a list cannot be read that may show more.

        Not where it names the identity itself: by e-mail addresses every list is looked through
        when it is told, whatever else it holds, and none before.
        """
        standing = Standing(self.ledger, self.location, self.keyring)
        others = standing.each_of(withdrawals, without=[FAMILIES[Kind.EMAIL]])
        found: dict[int, Bytes] = {}
        if not others:
            return found, None
        each = standing.each_of(withdrawals)
        wanted, unread = _Wanted.of(others), None
        for members in self._lists(united(list(others.values()))):
            columns: list[Column] = []
            try:
                for lines in members:
                    columns += wanted.among(lines)
            except AudienceSyncError as error:
                unread = error
            for number, keys in by_withdrawal(columns).items():
                more = without(keys, each[number])  # list by list, so that few are kept at a time
                found[number] = united([more, found[number]]) if number in found else more
        return {number: keys for number, keys in found.items() if len(keys)}, unread

    def _lists(self, digests: Bytes) -> Iterator[Iterator[Lines]]:
        """The members of each list who carry any of these, and whom runs at work bring."""
        # The runs before the lists: who is settled in between is then seen twice, not missed.
        for run in self.ledger.runs(states=OPEN_STATES):
            parts = self.ledger, self.location, self.keyring
            yield UnderWay(*parts, [run]).bringing(digests)
        for remote in self.ledger.remote_lists():
            yield self._held(remote, digests)

    def _held(self, remote: RemoteList, digests: Bytes) -> Iterator[Lines]:
        manifest = Manifest.of(remote.manifest)
        membership = Membership(self.location, self.keyring, manifest)
        try:
            for partition in range(manifest.partitions):
                lines = membership.read(partition, manifest.partitions)
                yield lines.take(members_with(lines, digests))
        except StateError:
            now = self.ledger.remote_list(remote.audience, remote.destination)
            if now.generation == remote.generation:
                raise
            yield from self._held(now, digests)  # a run wrote it anew, and these files are gone
