"""What withdrawals promise on every database."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from ledger_contract.builders import NOON, Clock, LedgerContract

from audience_sync.errors import BusyError
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.list_removals import ListRemoval, Unanswered
from audience_sync.ledger.withdrawals import (
    OvertakenError,
    Withdrawal,
    WithdrawalState,
)


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


def unanswered(after: int, through: int, *references: str) -> Unanswered:
    """A removal at noon."""
    return Unanswered(
        after=after,
        through=through,
        run="w1",
        settled="r0",
        sent_at=NOON,
        ask_at=NOON + timedelta(minutes=1),
        references=references,
    )


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

    def test_files_are_counted_and_moved(self, ledger: Ledger, clock: Clock) -> None:
        """What stands together in one is moved together, by whoever holds the lease."""
        ledger.receive_withdrawals([withdrawal("w1"), withdrawal("w2")], {})
        ledger.receive_withdrawals([withdrawal("w3", partner="meta")], {})
        lease = ledger.take_lease("merging", "me", 60)
        both = ["withdrawals/w1.sealed", "withdrawals/w2.sealed"]
        ledger.move_withdrawals(both, "withdrawals/m1.sealed", lease)
        assert ledger.withdrawal_files() == [
            ("withdrawals/m1.sealed", None, 2, 4),
            ("withdrawals/w3.sealed", "meta", 1, 2),
        ]
        assert [one.id for one in ledger.withdrawals_in(["withdrawals/m1.sealed"])] == ["w1", "w2"]
        clock.move(61)
        ledger.take_lease("merging", "somebody else", 60)
        with pytest.raises(BusyError):
            ledger.move_withdrawals(["withdrawals/m1.sealed"], "withdrawals/m2.sealed", lease)

    def test_when_it_was_first_sent_stays(self, ledger: Ledger) -> None:
        """Another process may look at the same moment, and know nothing of it."""
        ledger.receive_withdrawals([withdrawal("w1")], {"w1": ["a"]})
        [row] = ledger.withdrawal_deliveries()
        ledger.save_withdrawal_deliveries([replace(row, sent_at=NOON)])
        ledger.save_withdrawal_deliveries([row])
        assert ledger.withdrawal_deliveries()[0].sent_at == NOON

    def test_only_what_every_destination_confirmed_is_purged(self, ledger: Ledger) -> None:
        """With what its customers were resolved to; the newest stays, since numbers only grow."""
        old, young = NOON - timedelta(days=9), NOON
        [first, second, third] = ledger.receive_withdrawals(
            [
                withdrawal("w1", received_at=old, customers=1),
                withdrawal("w2", received_at=old, customers=1),
                withdrawal("w3", received_at=old),
            ],
            {"w1": ["a", "b"], "w2": ["a"], "w3": ["a"]},
        )
        ledger.resolve_withdrawal(first, withdrawal("w4", received_at=old), 0)
        ledger.resolve_withdrawal(second, withdrawal("w5", received_at=old), 0)
        ledger.receive_withdrawals([withdrawal("w6", received_at=old)], {})
        for row in ledger.withdrawal_deliveries():
            late = row.sequence == third.sequence
            if (row.sequence, row.destination) != (first.sequence, "b"):
                done = replace(
                    row, state=WithdrawalState.CONFIRMED, confirmed_at=young if late else old
                )
                ledger.save_withdrawal_deliveries([done])
        before = NOON - timedelta(days=1)
        assert ledger.purge_withdrawals(before, dry=True) == 2
        assert len(ledger.withdrawals()) == 6
        assert ledger.purge_withdrawals(before) == 2
        assert [one.id for one in ledger.withdrawals()] == ["w1", "w3", "w4", "w6"]
        assert {row.sequence for row in ledger.withdrawal_deliveries()} == {1, 3}
        assert ledger.receive_withdrawals([withdrawal("w7")], {})[0].sequence == 7

    def test_keys_are_purged_by_their_own_time(self, ledger: Ledger, clock: Clock) -> None:
        """Until then a request that comes again is known."""
        ledger.receive_withdrawals([withdrawal("w1")], {}, {b"k" * 32: "w1"})
        clock.move(3600)
        ledger.receive_withdrawals([withdrawal("w2")], {}, {b"n" * 32: "w2"})
        ledger.purge_withdrawals(NOON + timedelta(seconds=1))
        assert ledger.withdrawn_under([b"k" * 32, b"n" * 32]) == {b"n" * 32: "w2"}

    def test_what_a_list_was_told_is_remembered(self, ledger: Ledger) -> None:
        """With each removal that waits; what is saved later stands in its place."""
        lease = ledger.take_lease("lane vip/a", "me", 60)
        assert ledger.list_removal("vip", "a") is None
        one = unanswered(0, 3, "r1", "r2")
        told = ListRemoval(
            audience="vip", destination="a", through=3, run="w1", sent_at=NOON, unanswered=(one,)
        )
        ledger.save_list_removal(told, lease)
        assert ledger.list_removal("vip", "a") == told
        ledger.save_list_removal(replace(told, unanswered=()), lease)
        assert ledger.list_removal("vip", "a") == replace(told, unanswered=())

    def test_removals_of_dropped_lists_are_purged(self, ledger: Ledger, clock: Clock) -> None:
        """Those of lists that the project still has are needed, however old."""
        for audience in ("kept", "dropped", "young"):
            lease = ledger.take_lease(f"lane {audience}", "me", 60)
            clock.move(3600 if audience == "young" else 0)
            removal = ListRemoval(
                audience=audience, destination="a", through=1, run="w1", sent_at=clock.now
            )
            ledger.save_list_removal(removal, ledger.renew_lease(lease, 60))
        before = NOON + timedelta(seconds=1)

        def named(audience: str, _destination: str) -> bool:
            return audience == "kept"

        assert ledger.purge_removals(before, named, dry=True) == 1
        assert ledger.list_removal("dropped", "a") is not None
        assert ledger.purge_removals(before, named) == 1
        left = [one for one in ("kept", "dropped", "young") if ledger.list_removal(one, "a")]
        assert left == ["kept", "young"]

    def test_the_watch_is_remembered(self, ledger: Ledger) -> None:
        """By its source."""
        assert ledger.watched_until("decisions") is None
        ledger.note_watched("decisions", NOON)
        assert ledger.watched_until("decisions") == NOON
