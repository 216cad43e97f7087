"""Withdrawals as a plan takes them: refusals with their times, whether or not we hold anybody."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from audience_sync.identifiers.forms import FAMILIES
from audience_sync.identifiers.kinds import Kind
from audience_sync.membership.digests import Bytes, match
from audience_sync.runs.named import CUSTOMERS, Times, latest
from audience_sync.runs.standing import Standing


class Refused(NamedTuple):
    """Customers, or identifiers of a kind, refused towards a partner, or all; sorted, each once."""

    partner: str | None
    digests: Bytes
    at: Times


@dataclass(frozen=True)
class Refusals:
    """Every withdrawal up to the one of a sequence."""

    standing: Standing
    through: int

    @cached_property
    def limited(self) -> bool:
        """Whether any is limited to one partner."""
        return self.standing.ledger.any_withdrawal_limited(self.through)

    @cached_property
    def customers(self) -> list[Refused]:
        """Customers by their own key, for each partner; held in memory for the time of a plan."""
        parts: dict[str | None, list[tuple[Bytes, Times]]] = {}
        if self.through:
            for partner, named in self.standing.known(self.through):
                if CUSTOMERS in named:
                    parts.setdefault(partner, []).append(named[CUSTOMERS])
        return [Refused(partner, *latest(found)) for partner, found in parts.items()]

    def of(self, kinds: frozenset[Kind]) -> Iterator[tuple[Kind, Refused]]:
        """Refused identifiers of some kinds, part by part."""
        if self.through:
            for partner, named in self.standing.known(self.through):
                for kind in sorted(kinds):
                    if FAMILIES[kind] in named:
                        values, at = named[FAMILIES[kind]]
                        yield kind, Refused(partner, values, at)


def refused_at(keys: Bytes, refused: Refused) -> tuple[NDArray[np.int64], Times]:
    """The rows whose key is refused, and when that was."""
    place = match(keys, refused.digests)
    rows = np.flatnonzero(place >= 0)
    return rows, refused.at[place[rows]]
