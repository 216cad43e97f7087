"""What is known of customers after one pass: verdicts in columns, rows by identity, counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from audience_sync.customers.policy import Reason
from audience_sync.identifiers.kinds import DIGEST_WIDTH, Kind
from audience_sync.membership.crossing import Denials
from audience_sync.membership.digests import Bytes, present, rows_at
from audience_sync.membership.spill import Kept
from audience_sync.runs.targets import FormOf


@dataclass
class Tally:
    """Counts of rows that never reach a partition.

    Drops are by group and reason; rows without any identifier by group and audience.
    """

    rows: int = 0
    unknown_consent_values: int = 0
    drops: NDArray[np.int64] = field(default_factory=lambda: np.zeros((1, len(Reason)), np.int64))
    blank_selected: NDArray[np.int64] = field(default_factory=lambda: np.zeros((1, 1), np.int64))
    blank_left_out: NDArray[np.int64] = field(default_factory=lambda: np.zeros((1, 1), np.int64))


@dataclass(frozen=True)
class Judged:
    """Rows with their verdict so far, in columns: bits of reasons, the latest word by group."""

    bits: NDArray[np.uint16]  # (n,) reasons in the attributes
    word: NDArray[np.uint8]  # (n, groups)
    at: NDArray[np.int64]  # (n, groups) microseconds, NO_TIME when unknown
    selected: NDArray[np.uint8]  # (n, bytes) one bit an audience

    def take(self, rows: NDArray[np.int64]) -> Judged:
        """Some of the rows."""
        return Judged(
            self.bits[rows],
            self.word.take(rows, axis=0),
            self.at.take(rows, axis=0),
            self.selected.take(rows, axis=0),
        )


@dataclass(frozen=True)
class Surveyed:
    """What came out of a survey, for those who compare and conclude."""

    identity: Mapping[Kind, str]
    audiences: tuple[str, ...]
    group_of: Mapping[str, int]
    groups: int
    rows: Kept  # that may be sent, by identity
    denials: Mapping[Kind, Denials]
    tally: Tally
    withdrawals: int = 0  # the newest one that is known, by its sequence


def identify(
    written: Mapping[FormOf, Bytes], identity: Mapping[Kind, str]
) -> tuple[Bytes, NDArray[np.uint8]]:
    """The identity of each row, and the index of the Kind it came from: e-mail, phone, device."""
    rows = len(next(iter(written.values())))
    chosen: Bytes = np.zeros((rows, DIGEST_WIDTH), dtype=np.uint8)
    kinds = np.zeros(rows, dtype=np.uint8)
    missing = np.arange(rows)
    for index, kind in enumerate(Kind):
        if kind in identity and len(missing):
            values = written[kind, identity[kind]]
            if len(missing) == rows:
                chosen = values.copy()
                found = present(values)
            else:
                few = rows_at(values, missing)
                found = present(few)
                chosen[missing[found]] = few[found]
            kinds[missing[found]] = index
            missing = missing[~found]
    return chosen, kinds


def column_name(form: FormOf) -> str:
    """The column of a spill that holds a kind in a form."""
    return f"{form[0].value}:{form[1]}"


def read_form(
    rows: Kept, partition: int, form: FormOf, identity: Mapping[Kind, str]
) -> Bytes | None:
    """A kind in a form for the rows of a partition; e-mail identities are stored only once."""
    if form == (Kind.EMAIL, identity.get(Kind.EMAIL)):
        values = rows.read(partition, "identity")
        kind = rows.read(partition, "identity_kind")
        if values is None or kind is None:
            return None
        if not kind.any():
            return values
        return np.where((kind == 0)[:, None], values, np.uint8(0))
    return rows.read(partition, column_name(form))
