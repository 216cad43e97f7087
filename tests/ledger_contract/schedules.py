"""What every database keeps of schedules."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from ledger_contract.builders import NOON, Clock, LedgerContract

from audience_sync.errors import BusyError
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.work import Served

SERVED = Served(
    audience="vip",
    rule="0 3 * * * Europe/Stockholm",
    due_at=NOON,
    served_at=NOON + timedelta(seconds=3),
    retry_at=NOON + timedelta(minutes=15),
    note="meta-se was skipped",
)


class SchedulesContract(LedgerContract):
    def test_the_last_word_counts(self, ledger: Ledger) -> None:
        """A row for each audience: written whole, and written over."""
        lease = ledger.take_lease("schedule vip", "me", 60)
        assert ledger.served("vip") is None

        ledger.save_served(SERVED, lease)
        assert ledger.served("vip") == SERVED
        later = replace(SERVED, due_at=NOON + timedelta(days=1), note=None, retry_at=None)
        ledger.save_served(later, lease)

        assert ledger.served("vip") == later
        assert ledger.served("readers") is None

    def test_one_who_was_overtaken_writes_nothing(self, ledger: Ledger, clock: Clock) -> None:
        """A worker that slept through its lease cannot mark a due time."""
        lease = ledger.take_lease("schedule vip", "me", 60)
        clock.move(61)
        ledger.take_lease("schedule vip", "you", 60)

        with pytest.raises(BusyError):
            ledger.save_served(SERVED, lease)

        assert ledger.served("vip") is None
