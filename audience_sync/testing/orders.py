"""Made-up orders, and a partner in memory that counts them, for tests of an order connector."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from audience_sync.connector import Answer, Orders
from audience_sync.orders import orders_of
from audience_sync.testing.builders import FakePartner

MORNING = 1_795_248_300_000_000  # microseconds; 2026-11-21 08:05:00 UTC
LATER = 4_020_000_000  # microseconds between click and order

Counted = dict[tuple[str, str], tuple[int, int]]  # order and article → quantity and amount


def made_up_orders(
    numbers: Iterable[int] = (1,), *, lines: int = 2, batch: str = "r1-0", **changes: Any
) -> Orders:
    """Orders that no shop has; name the columns that should be the same for all lines."""
    rows = [(number, line) for number in numbers for line in range(lines)]
    columns: dict[str, list[Any]] = {
        "order_id": [f"order-canary-{number}" for number, _ in rows],
        "customer": [hashlib.sha256(f"{number}".encode()).hexdigest() for number, _ in rows],
        "customer_status": ["existing" if number % 2 else "new" for number, _ in rows],
        "ordered_at": [MORNING + LATER for _ in rows],
        "landed_at": [MORNING for _ in rows],
        "click_id": [f"click-canary-{number:021}" for number, _ in rows],
        "currency": ["USD" for _ in rows],
        "exponent": [2 for _ in rows],
        "change": ["order" for _ in rows],
        "sku": [f"sku-canary-{line}" for _, line in rows],
        "name": [f"Fine thing {line}" for _, line in rows],
        "quantity": [line + 1 for _, line in rows],
        "amount": [4_999 * (line + 1) for _, line in rows],
    }
    return orders_of(batch, columns | {key: [value] * len(rows) for key, value in changes.items()})


def taken_back(orders: Orders, name: str = "r2-0") -> Orders:
    """The cancellation of these orders, of people who may not be shared any more."""
    negative = {key: [-value for value in orders.column(key)] for key in ("quantity", "amount")}
    gone = {*negative, "customer", "customer_status"}
    kept = {key: orders.column(key) for key in orders.frame.columns if key not in gone}
    words = {"change": ["cancellation"] * orders.lines, "reason": ["returned"] * orders.lines}
    return orders_of(name, kept | negative | words)


def sums_of(orders: Orders) -> Counted:
    """What a partner counts that was told of these orders once."""
    keys = zip(orders.column("order_id"), orders.column("sku"), strict=True)
    sums = zip(orders.column("quantity"), orders.column("amount"), strict=True)
    return dict(zip(keys, sums, strict=True))


class FakeOrderPartner(FakePartner):
    """Counts orders; a subclass writes `respond`, which adds to `counted` or finds fault.

    Orders whose number is in `refused_orders` are refused one by one, where the partner does so.
    """

    def __init__(self, *answers: Answer | Exception) -> None:
        super().__init__(*answers)
        self.counted: Counted = {}
        self.refused_orders: set[str] = set()

    def count(self, order: str, sku: str, quantity: int, amount: int) -> None:
        """Count a line on top of what is counted of it."""
        before = self.counted.get((order, sku), (0, 0))
        self.counted[order, sku] = before[0] + quantity, before[1] + amount

    def sold(self) -> Counted:
        """What is counted now; zero is nothing."""
        return {key: sums for key, sums in self.counted.items() if any(sums)}
