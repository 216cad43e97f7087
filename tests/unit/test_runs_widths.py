"""A destination that is sent another form of a device ID; devices of two kinds that are one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pipeline_world
import pytest
from pipeline_world import World, digest, granted

from audience_sync.connector import Kind
from audience_sync.errors import RefusedError
from audience_sync.ledger.records.runs import RunState

RAW = {Kind.IDFA: "device/raw"}
HASHED = {Kind.IDFA: "device/lower"}


def device(number: int) -> str:
    return f"6d92078a-8246-4ba4-ae5b-76104861e7d{number}"


def people(*numbers: int) -> list[dict[str, str | None]]:
    return [granted(str(n), email=f"p{n}@example.com", idfa=device(n)) for n in numbers]


def sent(forms: Any, *numbers: int) -> set[str]:
    return {device(n) if forms == RAW else digest(device(n)) for n in numbers}


@pytest.mark.parametrize(("before", "after"), [(RAW, HASHED), (HASHED, RAW)])
@pytest.mark.parametrize("partitions", [1, 4])
def test_l14_the_old_width_leaves_and_the_new_one_is_added(
    tmp_path: Path, before: Any, after: Any, partitions: int
) -> None:
    """Every member changes; afterwards nothing is left to do."""
    here = World(tmp_path, partitions=partitions)
    here.write(people(*range(7)))
    here.aim(forms=before)
    here.ran()
    assert here.partner.holds == sent(before, *range(7))
    here.aim(forms=after)
    here.write(people(*range(1, 8)))
    run = here.ran()
    assert (run.delta["changed"], run.delta["additions"], run.delta["removals"]) == (6, 7, 1)
    assert here.partner.holds == sent(after, *range(1, 8))
    assert here.ran().reason == "nothing changed"


@pytest.mark.parametrize(("before", "after"), [(RAW, HASHED), (HASHED, RAW)])
def test_l14_a_change_of_width_that_stops_half_way_is_finished_later(
    tmp_path: Path, before: Any, after: Any
) -> None:
    """While both widths are held, each leaves as it was sent."""
    here = World(tmp_path)
    here.write(people(*range(9)))
    here.aim(forms=before)
    here.ran()
    here.aim(forms=after)
    calls: Iterator[int] = iter(range(99))

    def fault(when: str, operation: str) -> None:
        if (when, operation) == ("before", "add") and next(calls) == 1:
            raise RefusedError("no", 400)

    here.partner.fault = fault
    assert here.ran().state is RunState.FAILED
    here.partner.fault = lambda _when, _operation: None
    here.aim(forms=before)
    here.write(people(*range(6)))
    here.ran()
    assert here.partner.holds == sent(before, *range(6))
    here.write([])
    here.ran()
    assert here.partner.holds == here.held() == set()


def test_l4_a_device_that_another_member_sends_as_the_other_kind_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A partner knows one column of devices: one member's IDFA may be another's GAID."""
    monkeypatch.setattr(pipeline_world, "COLUMNS", (*pipeline_world.COLUMNS, "gaid"))
    here = World(tmp_path)
    here.aim(forms={Kind.IDFA: "device/lower", Kind.GAID: "device/lower"})
    here.write(
        [
            granted("1", email="one@example.com", idfa=device(1)),
            granted("2", email="two@example.com", gaid=device(1)),
        ]
    )
    here.ran()
    assert here.partner.holds == sent(HASHED, 1)
    here.write([granted("2", email="two@example.com", gaid=device(1))])
    here.ran()
    assert here.partner.holds == sent(HASHED, 1)
    here.write([])
    here.ran()
    assert here.partner.holds == set()
