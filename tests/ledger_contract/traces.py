"""What traces of who left promise on every database."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from ledger_contract.builders import NOON, LedgerContract
from numpy.typing import NDArray

from audience_sync.ledger import traces
from audience_sync.ledger.ledger import Ledger

LATER = NOON + timedelta(days=365)
SECOND = int(NOON.timestamp())


def prints(*numbers: int) -> NDArray[np.uint8]:
    found = np.zeros((len(numbers), traces.WIDTH), dtype=np.uint8)
    found[:, 0] = [number % 251 for number in numbers]
    found[:, 15] = [number // 251 for number in numbers]
    return found


def since(count: int) -> NDArray[np.uint32]:
    return np.full(count, SECOND - 60, dtype=np.uint32)


class TracesContract(LedgerContract):
    @pytest.mark.parametrize("rows", [1, 3, 4096])
    def test_everybody_who_left_is_found_and_nobody_else(
        self, ledger: Ledger, rows: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whatever the run's fingerprints are cut into, in whatever order they came."""
        monkeypatch.setattr(traces, "_ROWS", rows)
        numbers = [9, 400, 3, 77, 251, 1, 500]
        ledger.remember_traces("r1", "vip", "meta-se", prints(*numbers), since(7), NOON, LATER)

        for number in numbers:
            [found] = ledger.traces("meta-se", prints(number), NOON)
            assert (found.run, found.audience, found.removed_at) == ("r1", "vip", NOON)
            assert int(found.held_since.timestamp()) == SECOND - 60
        for number in (2, 10, 252, 499):
            assert ledger.traces("meta-se", prints(number), NOON) == []
        assert ledger.traces("google-se", prints(9), NOON) == []

    def test_a_run_that_is_told_again_is_told_once(self, ledger: Ledger) -> None:
        """After a crash a run settles again."""
        for numbers in ((1, 2, 3), (1, 2)):
            ledger.remember_traces(
                "r1", "vip", "meta-se", prints(*numbers), since(len(numbers)), NOON, LATER
            )

        assert len(ledger.traces("meta-se", prints(1, 2), NOON)) == 1
        assert ledger.traces("meta-se", prints(3), NOON) == []

    def test_what_is_erased_is_gone_and_the_others_stay(self, ledger: Ledger) -> None:
        """Also where several fell into one row."""
        ledger.remember_traces("r1", "vip", "meta-se", prints(1, 2, 3), since(3), NOON, LATER)
        ledger.remember_traces("r2", "vip", "meta-se", prints(2), since(1), NOON, LATER)

        assert ledger.erase_traces("meta-se", prints(2, 9)) == 2

        assert ledger.traces("meta-se", prints(2), NOON) == []
        assert len(ledger.traces("meta-se", prints(1), NOON)) == 1
        assert len(ledger.traces("meta-se", prints(3), NOON)) == 1

    def test_a_trace_ends(self, ledger: Ledger) -> None:
        """An expired one is not told; `forget_traces` destroys it, or says how many it would."""
        ledger.remember_traces("r1", "vip", "meta-se", prints(1), since(1), NOON, LATER)
        assert ledger.traces("meta-se", prints(1), LATER) == []
        assert ledger.forget_traces(NOON) == 0
        assert ledger.forget_traces(LATER, dry=True) == 1
        assert ledger.forget_traces(NOON, NOON + timedelta(days=1)) == 1
        assert ledger.traces("meta-se", prints(1), NOON) == []
