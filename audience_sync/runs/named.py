"""The sealed files of withdrawals: one for each at first, then one for many (see `merging`).

Every identifier stands there with the time of the decision as it was said; in a file of many also
with the sequence of its withdrawal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from audience_sync.identifiers.forms import FAMILIES
from audience_sync.membership.digests import (
    Bytes,
    Mask,
    Positions,
    as_void,
    match,
    rows_at,
    sort_order,
    starts,
)
from audience_sync.membership.location import StateLocation
from audience_sync.membership.sealed import Keyring, SealedReader, SealedWriter

FOLDER = "withdrawals"
CUSTOMERS: Final = "customer"
IDENTITIES: Final = "identity"  # under which lists hold people; nobody is refused by it in plans
FAMILY_NAMES: Final = (*dict.fromkeys(FAMILIES.values()), CUSTOMERS, IDENTITIES)

Times = NDArray[np.int64]  # microseconds since 1970
Named = Mapping[str, tuple[Bytes, Times]]  # family → digests, sorted and each once, and times


@dataclass(frozen=True)
class Column:
    """What withdrawals name of one family, sorted by digest; `of` are their sequences."""

    values: Bytes
    at: Times
    of: NDArray[np.int64]

    def take(self, rows: Mask) -> Column:
        """Some of them."""
        return Column(rows_at(self.values, rows), self.at[rows], self.of[rows])

    def __len__(self) -> int:
        return len(self.values)


Columns = Mapping[str, Column]  # by family


def write_named(location: StateLocation, keyring: Keyring, path: str, named: Named) -> None:
    """Write the identifiers of one withdrawal."""
    with location.create(path) as file:
        writer = SealedWriter(file, path, keyring)
        for family, (values, at) in named.items():
            writer.write(FAMILY_NAMES.index(family), "digest", values)
            writer.write(FAMILY_NAMES.index(family), "at", at)
        writer.close()


def write_many(location: StateLocation, keyring: Keyring, path: str, columns: Columns) -> None:
    """Write the identifiers of several withdrawals."""
    with location.create(path) as file:
        writer = SealedWriter(file, path, keyring)
        for family, column in columns.items():
            group = FAMILY_NAMES.index(family)
            writer.write(group, "digest", column.values)
            writer.write(group, "at", column.at)
            writer.write(group, "of", column.of)
        writer.close()


def read_file(
    location: StateLocation, keyring: Keyring, path: str, theirs: NDArray[np.int64]
) -> dict[str, Column]:
    """What some withdrawals name in a file, which is one's own or one of many."""
    reader = SealedReader(location, path, keyring)
    found: dict[str, Column] = {}
    for group in reader.groups:
        values, at, of = (reader.read(group, name) for name in ("digest", "at", "of"))
        if values is None or at is None:
            continue
        if of is None:
            of = np.full(len(at), theirs[0], dtype=np.int64)
        column = Column(values, at, of).take(np.isin(of, theirs))
        if len(column):
            found[FAMILY_NAMES[group]] = column
    return found


def holders(location: StateLocation, keyring: Keyring, path: str) -> set[int]:
    """The withdrawals of whom a file of many holds anything; none for a file of one."""
    reader = SealedReader(location, path, keyring)
    parts = [of for group in reader.groups if (of := reader.read(group, "of")) is not None]
    return set(np.unique(np.concatenate(parts)).tolist()) if parts else set()


def joined(parts: Iterable[Columns]) -> dict[str, Column]:
    """Several of them as one."""
    by: dict[str, list[Column]] = {}
    for part in parts:
        for family, column in part.items():
            by.setdefault(family, []).append(column)
    found = {}
    for family, columns in by.items():
        values = np.concatenate([column.values for column in columns])
        whole = Column(
            values,
            np.concatenate([column.at for column in columns]),
            np.concatenate([column.of for column in columns]),
        )
        order = sort_order(values)
        found[family] = Column(rows_at(values, order), whole.at[order], whole.of[order])
    return found


def all_matches(values: Bytes, named: Bytes, first: Positions) -> tuple[Positions, Positions]:
    """Each row of `values` with each place of `named` that is the same.

    `named` is sorted, and `first` are its `starts`: several may name one.
    """
    place = match(values, rows_at(named, first))
    rows = np.flatnonzero(place >= 0)
    begin, count = first[place[rows]], np.diff(np.append(first, len(named)))[place[rows]]
    at = np.repeat(begin - np.cumsum(count) + count, count) + np.arange(count.sum())
    return np.repeat(rows, count), at


def by_withdrawal(columns: Sequence[Column]) -> dict[int, Bytes]:
    """What each withdrawal names in any of these: sorted, each once."""
    if not columns:
        return {}
    values = np.concatenate([column.values for column in columns])
    of = np.concatenate([column.of for column in columns])
    order = sort_order(values)
    order = order[np.argsort(of[order], kind="stable")]
    values, of = rows_at(values, order), of[order]
    again = np.zeros(len(of), dtype=np.bool_)
    again[1:] = (of[1:] == of[:-1]) & (as_void(values[1:]) == as_void(values[:-1]))
    values, of = rows_at(values, ~again), of[~again]
    numbers, first = np.unique(of, return_index=True)
    return dict(zip(numbers.tolist(), np.split(values, first[1:]), strict=True))


def latest(parts: Sequence[tuple[Bytes, Times]]) -> tuple[Bytes, Times]:
    """Digests of several parts, sorted and each once, with the latest time of each."""
    values = np.concatenate([part for part, _ in parts])
    at = np.concatenate([times for _, times in parts])
    order = sort_order(values)
    values, at = rows_at(values, order), at[order]
    first = starts(values)
    return rows_at(values, first), np.maximum.reduceat(at, first)
