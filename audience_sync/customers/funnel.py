"""Counts from rows read to members, by drop reason; they add up or the run stops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from audience_sync.customers.policy import MERGED, Reason
from audience_sync.errors import StateError

_ROWS = "rows_read"
_MEMBERS = "members"
_UNKNOWN = "unknown_consent_values"
_NO_DROPS: Mapping[Reason, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Funnel:
    """How many rows were read, and what became of each of them.

    `unknown_consent_values` is shown beside the sum, not in it: such rows were dropped for a
    reason that is counted already, or passed by a later decision.
    """

    rows: int = 0
    drops: Mapping[Reason, int] = field(default_factory=lambda: _NO_DROPS)
    merged: int = 0
    members: int = 0
    unknown_consent_values: int = 0

    def __add__(self, other: Funnel) -> Funnel:
        """The funnel of both parts together."""
        return Funnel(
            rows=self.rows + other.rows,
            drops={
                reason: self.drops.get(reason, 0) + other.drops.get(reason, 0) for reason in Reason
            },
            merged=self.merged + other.merged,
            members=self.members + other.members,
            unknown_consent_values=self.unknown_consent_values + other.unknown_consent_values,
        )

    @property
    def dropped(self) -> int:
        """Rows that were dropped, for whatever reason."""
        return sum(self.drops.values())

    def adds_up(self) -> bool:
        """Whether every row read is a member, a drop or a merged duplicate (L3)."""
        counts = (self.rows, self.members, self.merged, *self.drops.values())
        return min(counts) >= 0 and self.rows == self.members + self.dropped + self.merged

    def verify(self) -> Funnel:
        """This funnel; a StateError when it does not add up: then no count can be trusted."""
        if not self.adds_up():
            raise StateError(
                f"the funnel does not add up: {self.rows} rows were read, but {self.members} "
                f"members, {self.dropped} drops and {self.merged} merged duplicates were counted; "
                "nothing was sent, please report it"
            )
        return self

    def as_counts(self) -> dict[str, int]:
        """Every count by name, in the order of judging; reasons that dropped nobody count 0."""
        counts = {_ROWS: self.rows}
        counts |= {reason.name.lower(): self.drops.get(reason, 0) for reason in Reason}
        counts |= {MERGED: self.merged, _MEMBERS: self.members}
        return counts | {_UNKNOWN: self.unknown_consent_values}

    @classmethod
    def from_counts(cls, counts: Mapping[str, int]) -> Funnel:
        """The funnel that `as_counts` wrote down; names that are missing count 0."""
        return cls(
            rows=counts.get(_ROWS, 0),
            drops={reason: counts.get(reason.name.lower(), 0) for reason in Reason},
            merged=counts.get(MERGED, 0),
            members=counts.get(_MEMBERS, 0),
            unknown_consent_values=counts.get(_UNKNOWN, 0),
        )
