"""What the ledger promises of order lines on every database."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from ledger_contract.builders import NOON, LedgerContract, line, run

from audience_sync.errors import BusyError
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.orders import LineState, ReportedLine
from audience_sync.ledger.reported import UnknownOrders

LATER = NOON + timedelta(days=90)


class ReportedContract(LedgerContract):
    def test_what_was_reported_is_known(self, ledger: Ledger) -> None:
        """By order, at its own destination, as it was written last."""
        ledger.record([], reported=[reported(1), reported(2), reported(3, of=9)])
        ledger.record([], reported=[reported(1, quantity=5, amount=-7)])

        found = ledger.reported("rakuten-se", [key(0)])
        assert sorted(found, key=lambda told: told.line) == [
            reported(1, quantity=5, amount=-7),
            reported(2),
        ]
        assert ledger.reported("rakuten-no", [key(0)]) == []
        assert ledger.reported_orders("rakuten-se") == 2

    @pytest.mark.parametrize("orders", [499, 500, 1_201])
    def test_many_orders_are_asked_for_at_once(self, ledger: Ledger, orders: int) -> None:
        """Whatever number a statement takes."""
        ledger.record([], reported=[reported(at, of=at) for at in range(orders)])

        found = ledger.reported("rakuten-se", [key(at) for at in range(orders)])
        assert len(found) == ledger.reported_orders("rakuten-se") == orders

    def test_a_line_is_written_with_its_log_line_or_not_at_all(self, ledger: Ledger) -> None:
        """Who lost the lease writes neither."""
        lease = ledger.take_lease("orders/rakuten-se", "a", 60)
        ledger.release_lease(lease)

        with pytest.raises(BusyError):
            ledger.record([line()], (), lease, reported=[reported(1)])
        assert ledger.reported("rakuten-se", [key(0)]) == []
        assert ledger.verify_log().lines == 0

    @pytest.mark.parametrize(("arrived", "held"), [(True, (3, 300)), (False, (1, 100))])
    def test_a_person_settles_what_is_unknown(
        self, ledger: Ledger, arrived: bool, held: tuple[int, int]
    ) -> None:
        """Of one run: as it was tried, or as it was before."""
        ledger.create_run(run(), [])
        waiting = {"state": LineState.UNKNOWN, "tried_quantity": 3, "tried_amount": 300}
        sure = reported(3, of=1)
        ledger.record([], reported=[reported(1, **waiting), reported(2, of=1, **waiting), sure])
        assert ledger.unknown_orders() == [
            UnknownOrders(run="r1", destination="rakuten-se", orders=2)
        ]

        assert ledger.settle_orders("r1", arrived=arrived) == 2
        [settled] = ledger.reported("rakuten-se", [key(0)])
        assert (settled.quantity, settled.amount) == held
        assert (settled.tried_quantity, settled.tried_amount) == held
        assert settled.state is LineState.REPORTED
        assert ledger.settle_orders("r1", arrived=arrived) == 0
        assert ledger.unknown_orders() == []

    def test_a_line_ends(self, ledger: Ledger) -> None:
        """Once it is too old to be corrected."""
        ledger.record([], reported=[reported(1), reported(2, expires_at=LATER)])

        assert ledger.forget_reported(NOON) == 1
        assert [told.line for told in ledger.reported("rakuten-se", [key(0)])] == [key(2)]


def key(number: int) -> bytes:
    """A made-up fingerprint."""
    return number.to_bytes(32, "big")


def reported(number: int, *, of: int = 0, **changes: Any) -> ReportedLine:
    """A made-up line."""
    usual: dict[str, Any] = {
        "destination": "rakuten-se",
        "line": key(number),
        "of_order": key(of),
        "quantity": 1,
        "amount": 100,
        "revision": key(7),
        "state": LineState.REPORTED,
        "run": "r1",
        "expires_at": NOON,
    }
    return ReportedLine(**(usual | changes))
