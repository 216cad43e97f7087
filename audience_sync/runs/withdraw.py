"""A withdrawal enters: recorded at once, so that nothing is added any more of those it names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawalRequest:
    """What one person withdraws, by any of their identifiers; prints none of them.

    At least one identifier is there. `partner` is a connector's name, and None means all;
    `decided_at` None means now; a `device` may be of either kind. Of two requests with one
    `idempotency_key` the second is not taken in again.
    """

    customer_id: str | None = field(default=None, repr=False)
    email: str | None = field(default=None, repr=False)
    phone: str | None = field(default=None, repr=False)
    device: str | None = field(default=None, repr=False)
    country: str | None = field(default=None, repr=False)  # the region of a national phone number
    partner: str | None = None
    decided_at: datetime | None = None
    channel: str = "unknown"
    idempotency_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What was taken in, durably: the ids of the withdrawals, and how many requests they hold.

    `repeated` requests were known by their idempotency key; `withdrawals` names theirs too.
    """

    withdrawals: tuple[str, ...]
    people: int
    repeated: int = 0


class Reception(Protocol):
    """Where withdrawals enter; `App.withdrawals` is one, and `App.withdraw` also wakes the lane."""

    def receive(self, requests: Sequence[WithdrawalRequest]) -> Received:
        """Record withdrawals before returning: from then on nobody named is added anywhere.

        ConfigurationError where a request names nobody, holds no usable identifier or names a
        partner that nobody knows; then none of the requests was taken in. StateError where it
        cannot be recorded: the caller tries again.
        """
        ...
