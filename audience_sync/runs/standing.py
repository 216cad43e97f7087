"""Withdrawals as they stand: who must not be added, encrypted by withdrawal (L10, L11).

A withdrawal's file holds, for each family of identifiers, digests in all our forms with the time
of the decision, and digests of customer ids. A withdrawal is lifted by a later explicit grant from
the source, never deleted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from audience_sync.errors import TemporaryPartnerError
from audience_sync.identifiers.digests import digests
from audience_sync.identifiers.forms import FAMILIES, FORMS
from audience_sync.identifiers.kinds import Kind
from audience_sync.identifiers.texts import trimmed
from audience_sync.identifiers.writing import write_forms
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.withdrawals import Withdrawal
from audience_sync.membership.digests import Bytes, Mask, present, rows_at, sort_order, starts
from audience_sync.membership.lines import Lines
from audience_sync.membership.location import StateLocation
from audience_sync.membership.sealed import Keyring, SealedReader, SealedWriter
from audience_sync.runs.holding import NOBODY, filled, members_with, united

FOLDER = "withdrawals"
CUSTOMERS: Final = "customer"
FAMILY_NAMES: Final = (*dict.fromkeys(FAMILIES.values()), CUSTOMERS)

PATIENCE = 60.0  # seconds that an addition waits until a withdrawal by customer id is resolved
_STEP = 0.25  # seconds between looks

Times = NDArray[np.int64]  # microseconds since 1970
Named = Mapping[str, tuple[Bytes, Times]]  # family → digests, sorted and each once, and times


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


def write_named(location: StateLocation, keyring: Keyring, path: str, named: Named) -> None:
    """Write the identifiers of one withdrawal."""
    with location.create(path) as file:
        writer = SealedWriter(file, path, keyring)
        for family, (values, at) in named.items():
            writer.write(FAMILY_NAMES.index(family), "digest", values)
            writer.write(FAMILY_NAMES.index(family), "at", at)
        writer.close()


def read_named(location: StateLocation, keyring: Keyring, path: str) -> Named:
    """The identifiers of one withdrawal."""
    reader = SealedReader(location, path, keyring)
    found: dict[str, tuple[Bytes, Times]] = {}
    for group in reader.groups:
        values, at = reader.read(group, "digest"), reader.read(group, "at")
        if values is not None and at is not None:
            found[FAMILY_NAMES[group]] = values, at
    return found


@dataclass(frozen=True)
class Standing:
    """Reads withdrawals by sequence."""

    ledger: Ledger
    location: StateLocation
    keyring: Keyring

    def named(self, withdrawal: Withdrawal) -> Named:
        """What a withdrawal names."""
        return read_named(self.location, self.keyring, withdrawal.file)

    def known(self, through: int) -> Iterator[tuple[Withdrawal, Named]]:
        """Every withdrawal up to a sequence, one after the other."""
        for withdrawal in self.ledger.withdrawals(through=through):
            yield withdrawal, self.named(withdrawal)

    def digests(self, after: int, through: int, partner: str) -> Bytes:
        """The identifiers withdrawn from a partner between two sequences, as `united` has them."""
        return united(list(self.each(after, through, partner).values()))

    def each(self, after: int, through: int, partner: str) -> dict[int, Bytes]:
        """The same by withdrawal; those that name no identifier are left out."""
        found = self.ledger.withdrawals(after=after, through=through)
        named = {
            one.sequence: self.digests_of([one]) for one in found if one.partner in (None, partner)
        }
        return {sequence: digests for sequence, digests in named.items() if len(digests)}

    def digests_of(self, withdrawals: Sequence[Withdrawal]) -> Bytes:
        """The identifiers of some withdrawals, without customer ids."""
        parts = [
            values
            for one in withdrawals
            for family, (values, _) in self.named(one).items()
            if family != CUSTOMERS
        ]
        return united(parts)


class Screen:
    """Keeps those out of a run's additions who withdrew since it was planned; for many threads."""

    def __init__(self, standing: Standing, after: int, partner: str) -> None:
        self._standing = standing
        self._partner = partner
        self._lock = Lock()
        self._digests = NOBODY
        self.mark = after  # the newest withdrawal that is kept out
        self._unresolved: list[int] = []

    def refresh(self) -> int:
        """Know every withdrawal received so far; the newest one's sequence.

        Waits for those by customer id to be resolved: until then nobody can tell whom they name.
        """
        patience = PATIENCE
        while self._behind():
            if patience <= 0:
                raise TemporaryPartnerError(
                    "a withdrawal by customer id waits until the customers can be read; "
                    "additions go on afterwards",
                    retry_after=PATIENCE or None,
                )
            time.sleep(_STEP)
            patience -= _STEP
        return self.mark

    @property
    def idle(self) -> bool:
        """Whether nobody withdrew since, as far as is known."""
        return not len(self._digests)

    def keeps_out(self, lines: Lines) -> Mask:
        """Which lines are of members who withdrew."""
        return members_with(lines, self._digests)

    def _behind(self) -> bool:
        """Read what is new; whether something is still to be resolved."""
        with self._lock:
            self._read_new()
            if self._unresolved:
                after = self._unresolved[0] - 1
                left = self._standing.ledger.unresolved_withdrawals(after=after)
                still = {one.sequence for one in left}
                self._unresolved = [one for one in self._unresolved if one in still]
                self._read_new()  # what the others were resolved by
            return bool(self._unresolved)

    def _read_new(self) -> None:
        ledger = self._standing.ledger
        newest = ledger.newest_withdrawal()
        if newest == self.mark:
            return
        found = ledger.withdrawals(after=self.mark, through=newest)
        mine = [one for one in found if one.partner in (None, self._partner)]
        self._digests = united([self._digests, self._standing.digests_of(mine)])
        self._unresolved += [
            one.sequence for one in mine if one.customers and one.resolved_by is None
        ]
        self.mark = newest


def latest(parts: Sequence[tuple[Bytes, Times]]) -> tuple[Bytes, Times]:
    """Digests of several parts, sorted and each once, with the latest time of each."""
    values = np.concatenate([part for part, _ in parts])
    at = np.concatenate([times for _, times in parts])
    order = sort_order(values)
    values, at = rows_at(values, order), at[order]
    first = starts(values)
    return rows_at(values, first), np.maximum.reduceat(at, first)
