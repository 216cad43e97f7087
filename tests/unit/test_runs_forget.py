"""A list is taken for gone on the word of a partner that answers otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest
from pipeline_world import MemoryPartner, World, granted
from withdrawn_world import WithdrawnWorld

from audience_sync.connector import RefusedError, Statistics
from audience_sync.ledger.withdrawal_deliveries import WithdrawalState
from audience_sync.runs.forget import forget_list

NO_ROUTE = "the partner knows no such address; check base_url and api_version"


class Moved(MemoryPartner):
    """Answers nothing where it is asked, whatever the question."""

    def check(self) -> None:
        raise RefusedError(NO_ROUTE, 404)

    def statistics(self, remote_id: str) -> Statistics:
        raise RefusedError(NO_ROUTE, 404)


def test_a_list_is_not_forgotten_by_an_address_that_is_wrong(tmp_path: Path) -> None:
    """With an API version that ended every list is refused, and whoever is on it still is."""
    world = World(tmp_path)
    world.write([granted("1", email="anna@example.com")])
    world.ran()
    name = world.target.audience, world.target.destination
    held = world.held()
    world.partner = Moved()
    lease = world.ledger.take_lease("/".join(name), world.holder, 60)
    with pytest.raises(RefusedError, match="no such address"):
        forget_list(
            world.ledger, world.link(name[1]), name[0], lease, actor="anna", now=world.now()
        )
    assert world.held() == held
    assert world.ledger.remote_list(*name).remote_id == "1"


class Deleted(MemoryPartner):
    """Has no list any more, and answers nothing about what it was asked of it."""

    def statistics(self, remote_id: str) -> Statistics:
        raise RefusedError("there is no such list", 404)


def test_who_withdraws_after_it_waits_for_nothing_that_concerned_the_list(tmp_path: Path) -> None:
    """Removals of the list that was deleted are answered by nobody; the next list starts anew."""
    world = WithdrawnWorld(tmp_path)
    world.write([granted(str(n), email=f"p{n}@example.com") for n in range(3)])
    world.ran()
    world.partner.pending = True
    world.withdraw(email="p1@example.com")
    world.lane_works()
    name = world.target.audience, world.target.destination
    world.partner = Deleted()
    lease = world.ledger.take_lease("/".join(name), world.holder, 60)
    forget_list(world.ledger, world.link(name[1]), name[0], lease, actor="anna", now=world.now())
    world.ledger.release_lease(lease)
    world.partner = MemoryPartner()
    world.ran()
    world.withdraw(email="p2@example.com")
    world.lane_works()
    assert {one.state for one in world.ledger.withdrawal_deliveries()} == {
        WithdrawalState.CONFIRMED
    }
    assert world.held() == world.partner.holds
