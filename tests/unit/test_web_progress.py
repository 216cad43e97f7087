"""How far what a sender handed in is: a state for each destination."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pipeline_world import new_ledger

from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.withdrawal_deliveries import WithdrawalState
from audience_sync.ledger.withdrawals import Withdrawal
from audience_sync.web.progress import progress_of

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger with two withdrawals on their way."""
    with new_ledger(tmp_path / "ledger.db", lambda: NOW) as ledger:
        shown = {"source": "web", "channel": "webhook", "people": 1, "identifiers": 1, "file": "f"}
        received = [Withdrawal(id=name, received_at=NOW, **shown) for name in ("wa", "wb")]  # type: ignore[arg-type]  # words and numbers
        ledger.receive_withdrawals(received, {"wa": ["meta-se", "google-se"], "wb": ["meta-se"]})
        yield ledger


def reach(ledger: Ledger, states: Mapping[tuple[int, str], WithdrawalState]) -> None:
    """Bring deliveries so far."""
    rows = ledger.withdrawal_deliveries()
    ledger.save_withdrawal_deliveries(
        [
            replace(row, state=states[row.sequence, row.destination])
            for row in rows
            if (row.sequence, row.destination) in states
        ]
    )


def test_the_least_far_withdrawal_counts(ledger: Ledger) -> None:
    """A destination is done when it is done with every one of them."""
    assert progress_of(ledger, ["wa", "wb"]) == {
        "done": False,
        "destinations": {"google-se": "queued", "meta-se": "queued"},
    }
    confirmed = WithdrawalState.CONFIRMED
    reach(ledger, {(1, "meta-se"): confirmed, (2, "meta-se"): WithdrawalState.SENT})
    assert progress_of(ledger, ["wa", "wb"])["destinations"]["meta-se"] == "sent"
    reach(ledger, {(1, "google-se"): confirmed, (2, "meta-se"): confirmed})
    assert progress_of(ledger, ["wa", "wb"])["done"] is True
    assert progress_of(ledger, ["wb"]) == {"done": True, "destinations": {"meta-se": "confirmed"}}


def test_what_the_ledger_forgot_is_done(ledger: Ledger) -> None:
    """A receipt may outlive its withdrawals; and where nothing was withdrawn, nothing waits."""
    for ids in ([], ["w-gone"]):
        assert progress_of(ledger, ids) == {"done": True, "destinations": {}}
