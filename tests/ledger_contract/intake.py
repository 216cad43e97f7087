"""What every database keeps of requests from outside."""

from __future__ import annotations

import threading
from datetime import timedelta

from ledger_contract.builders import NOON, Clock, LedgerContract

from audience_sync.ledger.intake import STALE
from audience_sync.ledger.ledger import Ledger

KEY, SIGNATURE, OTHER = b"k" * 32, b"s" * 32, b"o" * 32
BODY, ANOTHER_BODY = b"b" * 32, b"a" * 32
DAY = NOON + timedelta(days=1)


class IntakeContract(LedgerContract):
    def test_a_request_is_claimed_once(self, ledger: Ledger) -> None:
        """The second claim is told what the first one left, and changes nothing."""
        assert ledger.begin_intake("shop", [KEY, SIGNATURE], BODY, "w-1", DAY) == []

        [seen] = ledger.begin_intake("shop", [KEY, OTHER], ANOTHER_BODY, "w-2", DAY)
        assert (seen.mark, seen.body, seen.receipt, seen.answered) == (KEY, BODY, "w-1", False)

        assert ledger.begin_intake("shop", [OTHER], ANOTHER_BODY, "w-3", DAY) == []

    def test_sources_do_not_know_each_other(self, ledger: Ledger) -> None:
        """The key of one sender is nothing to another."""
        assert ledger.begin_intake("shop", [KEY], BODY, "w-1", DAY) == []
        assert ledger.begin_intake("onetrust", [KEY], BODY, "w-2", DAY) == []

    def test_an_answer_is_kept_until_its_time(self, ledger: Ledger, clock: Clock) -> None:
        """It is there for everybody who asks, and gone afterwards."""
        ledger.begin_intake("shop", [KEY], BODY, "w-1", DAY)
        ledger.end_intake("w-1", "shop", {"withdrawals": 3}, DAY)

        [seen] = ledger.begin_intake("shop", [KEY], BODY, "w-2", DAY)
        assert (seen.receipt, seen.answered) == ("w-1", True)
        found = ledger.intake_receipt("w-1")
        assert found is not None
        assert (found.source, found.received_at, found.answer) == ("shop", NOON, {"withdrawals": 3})

        clock.move(24 * 3600)
        assert ledger.intake_receipt("w-1") is None
        assert ledger.begin_intake("shop", [KEY], BODY, "w-3", DAY + timedelta(days=1)) == []
        assert ledger.forget_intake(clock.now) == 1
        assert ledger.forget_intake(clock.now + timedelta(days=1)) == 1

    def test_a_lost_claim_is_free_after_a_while(self, ledger: Ledger, clock: Clock) -> None:
        """A crash between claim and answer does not lock the sender out."""
        ledger.begin_intake("shop", [KEY], BODY, "w-1", DAY)
        assert ledger.begin_intake("shop", [KEY], BODY, "w-2", DAY) != []

        clock.move(STALE.total_seconds())
        assert ledger.begin_intake("shop", [KEY], BODY, "w-3", DAY) == []

    def test_what_is_over_is_purged(self, ledger: Ledger, clock: Clock) -> None:
        """Marks and receipts by their own time, counts by their day; a dry run only counts."""
        ledger.begin_intake("shop", [KEY, SIGNATURE], BODY, "w-1", DAY)
        ledger.end_intake("w-1", "shop", {"withdrawals": 1}, DAY)
        ledger.count_intake("shop", "accepted", 3)
        assert ledger.purge_intake(clock.now, NOON) == 0
        clock.move(24 * 3600)
        tomorrow = clock.now
        ledger.count_intake("shop", "accepted", 2)
        assert ledger.purge_intake(tomorrow, tomorrow, dry=True) == 4
        assert ledger.purge_intake(tomorrow, tomorrow) == 4
        assert ledger.purge_intake(tomorrow, tomorrow) == 0
        assert ledger.purge_intake(tomorrow, tomorrow + timedelta(days=1)) == 1
        assert ledger.begin_intake("shop", [KEY], BODY, "w-2", DAY + timedelta(days=1)) == []

    def test_a_claim_is_given_back(self, ledger: Ledger) -> None:
        """What came to nothing may be sent again at once; what was answered stays."""
        ledger.begin_intake("shop", [KEY], BODY, "w-1", DAY)
        ledger.drop_intake("w-1")
        assert ledger.begin_intake("shop", [KEY], BODY, "w-2", DAY) == []
        ledger.end_intake("w-2", "shop", {}, DAY)
        ledger.drop_intake("w-2")
        assert ledger.begin_intake("shop", [KEY], BODY, "w-3", DAY) != []

    def test_further_marks_lead_to_the_same_receipt(self, ledger: Ledger) -> None:
        """Another signature of the same request; what was known before stays."""
        ledger.begin_intake("shop", [KEY], BODY, "w-1", DAY)
        ledger.end_intake("w-1", "shop", {}, DAY)
        ledger.join_intake("shop", [SIGNATURE, KEY], BODY, "w-1", DAY)

        [seen] = ledger.begin_intake("shop", [SIGNATURE, OTHER], ANOTHER_BODY, "w-2", DAY)
        assert (seen.receipt, seen.answered, seen.body) == ("w-1", True, BODY)

    def test_of_many_at_once_one_claims(self, ledger: Ledger) -> None:
        """Also where every one of them begins at the same moment."""
        won: list[str] = []
        start = threading.Barrier(8)

        def claim(number: int) -> None:
            start.wait()
            if not ledger.begin_intake("shop", [SIGNATURE, KEY], BODY, f"w-{number}", DAY):
                won.append(f"w-{number}")

        threads = [threading.Thread(target=claim, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(won) == 1
        [seen] = ledger.begin_intake("shop", [KEY], BODY, "w-9", DAY)
        assert seen.receipt == won[0]

    def test_outcomes_are_counted(self, ledger: Ledger, clock: Clock) -> None:
        """By source and word, from a day on."""
        ledger.count_intake("shop", "accepted", 3)
        clock.move(24 * 3600)
        ledger.count_intake("shop", "accepted")
        ledger.count_intake("shop", "replayed")

        assert ledger.intake_totals(NOON) == {("shop", "accepted"): 4, ("shop", "replayed"): 1}
        assert ledger.intake_totals(clock.now)[("shop", "accepted")] == 1
