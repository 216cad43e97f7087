"""What a partner made of the members of one upload."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A member that the partner named as unusable: its position in the batch and why."""

    position: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The partner's answer to one upload: `accepted + len(rejected) + unattributed == sent`."""

    accepted: int
    rejected: tuple[Rejection, ...] = ()
    unattributed: int = 0
    reference: str | None = None  # what `poll` needs, at most 1,000 characters
    pending: bool = False  # the partner answers later
    poll_after: float | None = None  # seconds until polling is worth while
    match_range: str | None = None  # in words, e.g. "61-70 %"
    reason: str | None = None  # why members are unattributed, in the partner's own code
    lost: bool = False  # a whole request failed after all, so that the batch is to be sent again

    @property
    def sent(self) -> int:
        """How many members the receipt accounts for."""
        return self.accepted + len(self.rejected) + self.unattributed
