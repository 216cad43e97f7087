"""A list is taken for gone on the word of a partner that answers otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest
from pipeline_world import MemoryPartner, World, granted

from audience_sync.connector import RefusedError, Statistics
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
