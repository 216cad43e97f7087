"""How far withdrawals are at each destination: states, and nothing about anybody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from audience_sync.errors import ConfigurationError
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.withdrawal_deliveries import WithdrawalState
from audience_sync.ledger.withdrawals import Withdrawal

_WAY = tuple(WithdrawalState)  # in the order in which they are reached


def progress_of(ledger: Ledger, ids: Sequence[str]) -> dict[str, Any]:
    """The state of each destination that they go to: of several withdrawals the least far one.

    Withdrawals whose time in the ledger is over are done; of whom nobody holds is so at once.
    """
    known = [found for name in ids if (found := _known(ledger, name)) is not None]
    sequences = {found.sequence for found in known}
    rows = ledger.withdrawal_deliveries(sequences=sequences) if sequences else []
    states: dict[str, WithdrawalState] = {}
    for row in rows:
        before = states.get(row.destination, row.state)
        states[row.destination] = min(before, row.state, key=_WAY.index)
    done = all(state is WithdrawalState.CONFIRMED for state in states.values())
    return {"done": done, "destinations": {name: states[name].value for name in sorted(states)}}


def _known(ledger: Ledger, name: str) -> Withdrawal | None:
    try:
        return ledger.withdrawal(name)
    except ConfigurationError:
        return None
