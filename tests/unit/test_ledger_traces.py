"""Erasing traces forgets exactly whom it names."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_contract.builders import NOON
from ledger_contract.traces import LATER, prints, since

from audience_sync.ledger.ledger import Ledger


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """One ledger; each example has a destination of its own."""
    folder: Path = tmp_path_factory.mktemp("traces")
    return Ledger.open(f"sqlite:///{folder / 'ledger.db'}")


@settings(max_examples=25, deadline=None)
@given(
    left=st.sets(st.integers(0, 600), min_size=1, max_size=40),
    erased=st.sets(st.integers(0, 600), max_size=20),
)
def test_only_who_was_erased_is_forgotten(ledger: Ledger, left: set[int], erased: set[int]) -> None:
    """Whoever left is told until they are erased, and erasing counts exactly them."""
    ledger.erase_traces("meta-se", prints(*range(601)))
    ledger.remember_traces("r1", "vip", "meta-se", prints(*left), since(len(left)), NOON, LATER)

    assert ledger.erase_traces("meta-se", prints(*erased)) == len(left & erased)

    for number in left | erased:
        told = ledger.traces("meta-se", prints(number), NOON)
        assert bool(told) is (number in left - erased)
