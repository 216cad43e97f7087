"""How old withdrawals are: the oldest open one, how long others took, and the deadline (L11)."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from audience_sync.ledger.ledger import Ledger

_WINDOW = timedelta(days=30)  # of which the time that withdrawals took is told
_WARN_AT = 0.75  # of the deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocked:
    """Ages in seconds, over all destinations; counts are of withdrawals at destinations."""

    open: int
    near: int  # older than three quarters of the deadline
    late: int  # older than the deadline
    deadline: float
    oldest: float | None
    p50: float | None  # from receipt to the partner's acknowledgement, of the last 30 days
    p95: float | None
    acknowledged: int  # of the last 30 days
    waiting_for: tuple[str, ...]  # destinations that the near and late ones wait for


def clocked(ledger: Ledger, now: datetime, deadline: float) -> Clocked:
    """How old withdrawals are now; those that a partner acknowledged no longer age."""
    rows = ledger.withdrawal_deliveries(only_open=True)
    waiting = [row for row in rows if row.acknowledged_at is None]
    ages = {row: (now - row.received_at).total_seconds() for row in waiting}
    taken = [
        (row.acknowledged_at - row.received_at).total_seconds()
        for row in ledger.withdrawal_deliveries(since=now - _WINDOW)
        if row.acknowledged_at is not None
    ]
    late = [row for row, age in ages.items() if age > deadline]
    near = [row for row, age in ages.items() if _WARN_AT * deadline < age <= deadline]
    return Clocked(
        open=len(rows),
        near=len(near),
        late=len(late),
        deadline=deadline,
        oldest=max(ages.values(), default=None),
        p50=_share(taken, 0.50),
        p95=_share(taken, 0.95),
        acknowledged=len(taken),
        waiting_for=tuple(dict.fromkeys(row.destination for row in (*late, *near))),
    )


def _share(seconds: list[float], share: float) -> float | None:
    """What so large a share of them is at most; None where there are none."""
    if not seconds:
        return None
    return sorted(seconds)[max(0, math.ceil(share * len(seconds)) - 1)]


def overdue_lines(found: Clocked) -> Iterator[tuple[int, str]]:
    """What is to be said of deadlines, with the level of the log."""
    hours = found.deadline / 3600
    places = ", ".join(found.waiting_for)
    if found.late:
        who = _who(found.late, "has missed its", "have missed their")
        yield logging.ERROR, f"{who} deadline of {hours:g} hours at {places}"
    if found.near:
        who = _who(found.near, "will miss its", "will miss their")
        yield logging.WARNING, f"{who} deadline of {hours:g} hours at {places}"


def _who(count: int, one: str, more: str) -> str:
    return f"1 withdrawal {one}" if count == 1 else f"{count:,} withdrawals {more}"
