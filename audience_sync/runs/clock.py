"""How old withdrawals are: the oldest open one, how long others took, and the deadline (L11)."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from audience_sync.ledger.ledger import Ledger

_WINDOW = timedelta(days=30)  # of which the time that withdrawals took is told
_HOUR = 3600.0  # seconds
_WARN_AT = 0.75  # of the deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class Ages:
    """Ages of open ones in seconds, over all destinations; one counts once, wherever it is open."""

    open: int
    deliveries: int  # the open ones at each destination by itself
    near: int  # older than three quarters of the deadline somewhere, and late nowhere
    late: int  # older than the deadline
    deadline: float
    oldest: float | None
    waiting_for: tuple[str, ...]  # destinations that the near and late ones wait for


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocked(Ages):
    """Beside them, how long others took until the partner acknowledged, of the last 30 days."""

    p50: float | None
    p95: float | None
    acknowledged: int  # by every partner that was asked


def aged(ledger: Ledger, now: datetime, deadline: float) -> Ages:
    """How old open withdrawals are now; those that a partner acknowledged no longer age."""
    rows = ledger.withdrawal_deliveries(only_open=True)
    waiting = [row for row in rows if row.acknowledged_at is None]
    ages = {row: (now - row.received_at).total_seconds() for row in waiting}
    late = [row for row, age in ages.items() if age > deadline]
    near = [row for row, age in ages.items() if _WARN_AT * deadline < age <= deadline]
    missed = {row.sequence for row in late}
    return Ages(
        open=len({row.sequence for row in rows}),
        deliveries=len(rows),
        near=len({row.sequence for row in near} - missed),
        late=len(missed),
        deadline=deadline,
        oldest=max(ages.values(), default=None),
        waiting_for=tuple(dict.fromkeys(row.destination for row in (*late, *near))),
    )


def clocked(ledger: Ledger, now: datetime, deadline: float) -> Clocked:
    """The same with those that are done, which takes a look at all that the ledger keeps."""
    rows = ledger.withdrawal_deliveries(since=now - _WINDOW)
    waiting = {row.sequence for row in rows if row.acknowledged_at is None}
    taken = [
        (row.acknowledged_at - row.received_at).total_seconds()
        for row in rows
        if row.acknowledged_at is not None
    ]
    return Clocked(
        **asdict(aged(ledger, now, deadline)),
        p50=_share(taken, 0.50),
        p95=_share(taken, 0.95),
        acknowledged=len({row.sequence for row in rows} - waiting),
    )


def _share(seconds: list[float], share: float) -> float | None:
    """What so large a share of them is at most; None where there are none."""
    if not seconds:
        return None
    return sorted(seconds)[max(0, math.ceil(share * len(seconds)) - 1)]


def overdue_lines(found: Ages) -> Iterator[tuple[int, str]]:
    """What is to be said of deadlines, with the level of the log."""
    hours = f"{found.deadline / _HOUR:g} hour{'' if found.deadline == _HOUR else 's'}"
    places = ", ".join(found.waiting_for)
    if found.late:
        who = _who(found.late, "has missed its", "have missed their")
        yield logging.ERROR, f"{who} deadline of {hours} at {places}"
    if found.near:
        who = _who(found.near, "will miss its", "will miss their")
        yield logging.WARNING, f"{who} deadline of {hours} at {places}"


def _who(count: int, one: str, more: str) -> str:
    return f"1 withdrawal {one}" if count == 1 else f"{count:,} withdrawals {more}"
