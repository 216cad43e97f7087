"""What a simulated affiliate network has counted: sums by order and article."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Line(NamedTuple):
    """One line item as it was reported."""

    order: str
    sku: str
    currency: str
    quantity: int
    amount: int  # minor units


class OrderBook:
    """The orders of one merchant. Nothing can be taken back that was not counted."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str, str], tuple[int, int]] = {}
        self._customers: set[str] = set()
        self.calls = 0
        self.bad = 0

    def take(self, lines: Sequence[Line | None], refused: Iterable[int] = ()) -> tuple[int, int]:
        """Count lines; how many were good, and how many bad."""
        self.calls += 1
        bad = set(refused)
        for position, line in enumerate(lines):
            if line is None or position in bad or not self._count(line):
                bad.add(position)
        self.bad += len(bad)
        return len(lines) - len(bad), len(bad)

    def meet(self, customer: str | None) -> None:
        """Remember the reference of a customer, where one came."""
        if customer:
            self._customers.add(customer)

    def written(self) -> list[str]:
        """What is counted now, as order|article|quantity|amount|currency; zero is nothing."""
        return sorted(
            f"{order}|{sku}|{quantity}|{amount}|{currency}"
            for (order, sku, currency), (quantity, amount) in self._sums.items()
            if quantity or amount
        )

    def orders(self) -> set[str]:
        """The orders of which anything is counted."""
        return {order for (order, _, _), sums in self._sums.items() if any(sums)}

    def customers(self) -> list[str]:
        """The references that came with orders."""
        return sorted(self._customers)

    def _count(self, line: Line) -> bool:
        key = line.order, line.sku, line.currency
        quantity, amount = self._sums.get(key, (0, 0))
        if key not in self._sums and line.quantity < 0:
            return False  # nothing of it was ever sold
        if quantity + line.quantity < 0:
            return False
        self._sums[key] = quantity + line.quantity, amount + line.amount
        return True
