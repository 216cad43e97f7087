"""What a destination holds of order lines."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class LineState(StrEnum):
    """What is known of an order line at a destination."""

    REPORTED = "reported"
    UNKNOWN = "unknown"  # reported last without an answer; a person says whether it arrived
    REFUSED = "refused"  # the partner took nothing of it; reported again once it has changed


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedLine:
    """What one destination holds of an order line; `tried` is what the last report would make it.

    `line`, `of_order` and `revision` are keyed fingerprints, 32 bytes each.
    """

    destination: str
    line: bytes
    of_order: bytes
    quantity: int = 0
    amount: int = 0  # minor units
    tried_quantity: int = 0
    tried_amount: int = 0
    revision: bytes
    state: LineState
    run: str
    expires_at: datetime
