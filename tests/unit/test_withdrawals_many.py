"""A ledger may hold a million withdrawals: what is done is read as columns, or not at all."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import polars as pl
import pytest
from pipeline_world import granted
from withdrawn_world import WithdrawnWorld

from audience_sync.app import App
from audience_sync.cli import withdrawals
from audience_sync.customers.policy import microseconds
from audience_sync.ledger import withdrawals as room
from audience_sync.ledger.withdrawal_deliveries import WithdrawalState
from audience_sync.membership.digests import Bytes, Mask
from audience_sync.membership.lines import Lines
from audience_sync.runs import holding
from audience_sync.runs.standing import Standing

PEOPLE = [granted(f"c{n}", email=f"p{n}@example.com") for n in range(6)]


@pytest.fixture
def world(tmp_path: Path) -> WithdrawnWorld:
    """Six people on a list, of whom three withdrew and are done."""
    world = WithdrawnWorld(tmp_path)
    world.write(PEOPLE)
    world.ran()
    for number in range(3):
        world.withdraw(email=f"p{number}@example.com")
    world.lane_works()
    return world


def test_what_is_done_is_nowhere_a_row_of_python(
    world: WithdrawnWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a plan nor the watch nor a question of somebody reads all of them one by one."""
    made: list[int] = []
    usual = room.read_withdrawal

    def counted(row: Any) -> room.Withdrawal:
        made.append(row.sequence)
        return usual(row)

    monkeypatch.setattr(room, "read_withdrawal", counted)
    world.ran()
    standing = Standing(world.ledger, world.location, world.keyring)
    assert standing.naming(np.zeros((1, 32), dtype=np.uint8)) == []
    now = microseconds(world.time)
    said = pl.DataFrame({"customer_id": ["c4"], "decided_at": [now]})
    assert world.recorder().receive_decisions(said, None, world.time).people == 1
    assert withdrawals._open(cast(App, SimpleNamespace(ledger=world.ledger)))[0]["sequence"] == 4
    assert set(made) == {4}


def test_members_are_compared_with_all_who_withdrew_at_once(
    world: WithdrawnWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an outage many wait: a look is not as many comparisons as they are."""
    looks: list[int] = []
    usual = holding.lines_with

    def counted(lines: Lines, digests: Bytes) -> Mask:
        looks[-1] += 1
        return usual(lines, digests)

    monkeypatch.setattr(holding, "lines_with", counted)
    for together in ([3], [4, 5]):
        for number in together:
            world.withdraw(email=f"p{number}@example.com")
        looks.append(0)
        world.lane_works()
    assert world.states() == [WithdrawalState.CONFIRMED] * 6
    assert all(row.sent_at for row in world.ledger.withdrawal_deliveries())
    assert looks[0] == looks[1]
