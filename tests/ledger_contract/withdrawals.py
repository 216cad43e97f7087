"""What withdrawals promise on every database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from ledger_contract.builders import NOON, Clock, LedgerContract

from audience_sync.errors import BusyError
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.list_removals import ListRemoval, Unanswered
from audience_sync.ledger.receiving import OvertakenError
from audience_sync.ledger.withdrawal_deliveries import WithdrawalState
from audience_sync.ledger.withdrawals import Withdrawal

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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
        (moved,) = ledger.filed_withdrawals(files=["withdrawals/m1.sealed"])
        assert (moved.path, moved.sequences.tolist()) == ("withdrawals/m1.sealed", [1, 2])
        clock.move(61)
        ledger.take_lease("merging", "somebody else", 60)
        with pytest.raises(BusyError):
            ledger.move_withdrawals(["withdrawals/m1.sealed"], "withdrawals/m2.sealed", lease)

    def test_they_are_told_as_columns_by_their_file(self, ledger: Ledger) -> None:
        """With the very microsecond in which each was received, of two sequences or all between."""
        moments = [NOON, NOON + timedelta(microseconds=1), NOON - timedelta(days=9000, seconds=1)]
        ledger.receive_withdrawals(
            [withdrawal(f"w{at}", received_at=moment) for at, moment in enumerate(moments, 1)], {}
        )
        ledger.receive_withdrawals([withdrawal("w4", partner="meta")], {})
        lease = ledger.take_lease("merging", "me", 60)
        both = ["withdrawals/w1.sealed", "withdrawals/w3.sealed"]
        ledger.move_withdrawals(both, "withdrawals/m1.sealed", lease)

        def plain(**which: int) -> list[tuple[str, str | None, list[int]]]:
            found = ledger.filed_withdrawals(**which)  # type: ignore[arg-type] # numbers only
            return [(one.path[12:], one.partner, one.sequences.tolist()) for one in found]

        assert plain() == [
            ("m1.sealed", None, [1, 3]),
            ("w2.sealed", None, [2]),
            ("w4.sealed", "meta", [4]),
        ]
        assert plain(through=1) == [("m1.sealed", None, [1])]
        assert plain(after=2, through=3) == [("m1.sealed", None, [3])]
        assert plain(after=4) == []
        (first, second, _) = ledger.filed_withdrawals()
        wanted = [(moments[at] - EPOCH) // timedelta(microseconds=1) for at in (0, 2, 1)]
        assert [*first.received.tolist(), *second.received.tolist()] == wanted

    def test_some_are_found_by_what_they_are(self, ledger: Ledger) -> None:
        """By many numbers at once, by where they entered, and by their limits."""
        ledger.receive_withdrawals(
            [withdrawal(f"w{n}", source="decisions" if n % 2 else "web") for n in range(1, 602)],
            {},
        )
        assert not ledger.any_withdrawal_limited(601)
        later = NOON + timedelta(days=2)
        more = [
            withdrawal("x1", source="decisions", received_at=later),
            withdrawal("x2", source="decisions", received_at=later, partner="meta"),
            withdrawal("x3", source="decisions", channel="ahead"),
        ]
        ledger.receive_withdrawals(more, {})
        numbers = [603, *range(550, 0, -1), 9999]
        found = ledger.withdrawals_numbered(numbers)
        assert [one.sequence for one in found] == [*range(1, 551), 603]
        day = NOON + timedelta(days=1)
        recent = ledger.withdrawals_from("decisions", None, day, or_by="ahead")
        assert [one.id for one in recent] == ["x1", "x3"]
        limited = ledger.withdrawals_from("decisions", "meta", day, or_by="ahead")
        assert [one.id for one in limited] == ["x2"]
        assert not ledger.any_withdrawal_limited(602)
        assert ledger.any_withdrawal_limited(603)

    def test_very_many_are_saved_together(
        self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each as it is alone: what was confirmed stays, and so does when it was first sent."""
        monkeypatch.setattr("audience_sync.ledger.withdrawal_deliveries._AT_ONCE", 100)
        ledger.receive_withdrawals(
            [withdrawal("w1"), withdrawal("w2")],
            {"w1": [f"d{n:03}" for n in range(250)], "w2": ["a"]},
        )
        rows = ledger.withdrawal_deliveries(sequences=[1])
        sent = [replace(row, state=WithdrawalState.SENT, sent_at=NOON) for row in rows]
        done = [replace(row, state=WithdrawalState.CONFIRMED, sent_at=NOON) for row in rows[::2]]
        ledger.save_withdrawal_deliveries(sent)
        ledger.save_withdrawal_deliveries(done)
        later = NOON + timedelta(seconds=1)
        ledger.save_withdrawal_deliveries([replace(row, sent_at=later, attempts=1) for row in rows])
        left = [replace(row, sent_at=NOON, attempts=1) for row in rows[1::2]]
        found = ledger.withdrawal_deliveries(sequences=[1])
        assert (found[::2], found[1::2]) == (done, left)
        open_ones = ledger.withdrawal_deliveries(only_open=True, limit=2)
        assert open_ones == left[:2]

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
