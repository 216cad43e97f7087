"""What a watcher is told of a delivery."""

from __future__ import annotations

import pytest
from pipeline_world import World, fast_folder, granted

from audience_sync.errors import TemporaryPartnerError
from audience_sync.runs.progress import Advance, Silent


def test_a_resumed_delivery_expects_only_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar that counted what was sent before could never be full."""
    totals: list[int | None] = []
    steps: list[int] = []

    def stage(_self: Silent, name: str, total: int | None) -> Advance:
        if not name.startswith("Delivering"):
            return lambda _: None
        totals.append(total)
        return steps.append

    monkeypatch.setattr(Silent, "stage", stage)
    here = World(fast_folder())
    here.write([granted(str(n), email=f"p{n}@example.com") for n in range(6)])
    calls = iter(range(99))

    def fault(when: str, _operation: str) -> None:
        if when == "before" and next(calls) == 1:
            raise TemporaryPartnerError("busy", 503)

    here.partner.fault = fault
    assert here.sync().error is not None
    steps.clear()
    here.partner.fault = lambda _when, _operation: None
    [run] = here.ledger.runs()
    here.pipeline().resume(run)
    assert sum(steps) == totals[-1] == 3
