"""What withdrawals promise on every database."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ledger_contract.builders import NOON, LedgerContract

from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.withdrawals import OvertakenError, Withdrawal, WithdrawalState


def withdrawal(name: str, **values: object) -> Withdrawal:
    """One by one person."""
    made = Withdrawal(
        id=name,
        received_at=NOON,
        source="cli",
        channel="operator",
        people=1,
        identifiers=2,
        file=f"withdrawals/{name}.sealed",
    )
    return replace(made, **values)  # type: ignore[arg-type] # named fields


class WithdrawalsContract(LedgerContract):
    def test_they_are_numbered_and_on_their_way(self, ledger: Ledger) -> None:
        """Each with its own destinations; what is confirmed stays so."""
        written = ledger.receive_withdrawals(
            [withdrawal("w1"), withdrawal("w2")], {"w1": ["a", "b"], "w2": ["b"]}
        )
        assert [one.sequence for one in written] == [1, 2]
        assert ledger.newest_withdrawal() == 2
        rows = ledger.withdrawal_deliveries(only_open=True)
        assert [(row.sequence, row.destination) for row in rows] == [(1, "a"), (1, "b"), (2, "b")]
        done = replace(rows[0], state=WithdrawalState.CONFIRMED, confirmed_at=NOON)
        ledger.save_withdrawal_deliveries([done])
        ledger.save_withdrawal_deliveries([rows[0]])
        assert ledger.withdrawal_deliveries(sequences=[1], destination="a") == [done]

    def test_an_intent_that_does_not_know_it_is_refused(self, ledger: Ledger) -> None:
        """Nothing is written then."""
        ledger.receive_withdrawals([withdrawal("w1")], {})
        with pytest.raises(OvertakenError):
            ledger.record([], withdrawals=0)
        assert ledger.record([], withdrawals=1) == []

    def test_a_key_counts_once(self, ledger: Ledger) -> None:
        """Of two with one key the second is not written."""
        key = b"k" * 32
        ledger.receive_withdrawals([withdrawal("w1")], {}, {key: "w1"})
        with pytest.raises(OvertakenError):
            ledger.receive_withdrawals([withdrawal("w2")], {}, {key: "w2"})
        assert ledger.withdrawn_under([key]) == {key: "w1"}
        assert [one.id for one in ledger.withdrawals()] == ["w1"]

    def test_customers_are_resolved_once(self, ledger: Ledger) -> None:
        """By a child that comes after, or by nobody."""
        (parent,) = ledger.receive_withdrawals([withdrawal("w1", customers=1)], {})
        assert ledger.unresolved_withdrawals() == [parent]
        resolved = ledger.resolve_withdrawal(parent, withdrawal("w2"), 0)
        assert (resolved.resolved_by, ledger.newest_withdrawal()) == (2, 2)
        assert ledger.resolve_withdrawal(parent, withdrawal("w3"), 0) == resolved
        assert ledger.unresolved_withdrawals() == []

    def test_the_watch_is_remembered(self, ledger: Ledger) -> None:
        """By its source."""
        assert ledger.watched_until("decisions") is None
        ledger.note_watched("decisions", NOON)
        assert ledger.watched_until("decisions") == NOON
