"""A lost outbox locks no list: the run can be given up, and nobody is forgotten (L4, L6)."""

from __future__ import annotations

import pytest
from pipeline_world import World, digest, fast_folder, granted

from audience_sync.errors import StateError, TemporaryPartnerError
from audience_sync.ledger.records.runs import RunState


def email(number: int) -> str:
    return f"p{number}@example.com"


def people(*numbers: int) -> list[dict[str, str | None]]:
    return [granted(str(n), email=email(n)) for n in numbers]


def hashes(*numbers: int) -> set[str]:
    return {digest(email(n)) for n in numbers}


def interrupted() -> World:
    """Some of 1…4 are held; the delivery of 3…9 broke off in the middle."""
    here = World(fast_folder())
    here.write(people(1, 2, 3, 4))
    here.ran()
    calls = [0]

    def fault(when: str, _operation: str) -> None:
        calls[0] += when == "before"
        if calls[0] == 3:
            raise TemporaryPartnerError("not now", 503)

    here.partner.fault = fault
    here.write(people(3, 4, 5, 6, 7, 8, 9))
    assert isinstance(here.sync().error, TemporaryPartnerError)
    here.partner.fault = lambda _when, _operation: None
    return here


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_l4_a_run_without_its_outbox_can_be_cancelled(damage: str) -> None:
    """Everybody who was held or was to be sent may be held; the next sync makes it right."""
    here = interrupted()
    run = here.ledger.runs(states=[RunState.DELIVERING])[0]
    for part in ("add", "remove"):
        path = here.folder / "state" / "outbox" / run.id / f"{part}.sealed"
        if damage == "missing":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:-40])
    error = here.sync().error
    assert isinstance(error, StateError)
    assert f"audience-sync cancel {run.id}" in str(error)
    ended = here.pipeline().cancel(run)
    assert ended.state is RunState.CANCELLED
    assert "its outbox cannot be read" in str(ended.reason)
    assert here.held() == hashes(*range(1, 10))
    here.sweep()
    here.ran()
    assert here.partner.holds == hashes(*range(3, 10)) == here.held()


def test_l4_a_run_without_its_plan_keeps_who_was_held() -> None:
    """Whom only the lost run sent is known to nobody, and the reason says what to do."""
    here = interrupted()
    run = here.ledger.runs(states=[RunState.DELIVERING])[0]
    here.location.delete(f"outbox/{run.id}")
    ended = here.pipeline().cancel(run)
    assert "empty the list at the partner by hand" in str(ended.reason)
    assert here.held() == hashes(1, 2, 3, 4)
    here.partner.holds -= hashes(5, 6, 7, 8, 9)
    here.ran()
    assert here.partner.holds == hashes(*range(3, 10)) == here.held()
