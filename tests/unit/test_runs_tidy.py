"""What is remembered for a while is read once and then forgotten; sweeping stays quick."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pipeline_world import START, World, digest, granted

from audience_sync.ledger.records.runs import RemoteList
from audience_sync.membership.held import Manifest


def people(*numbers: int) -> list[dict[str, str | None]]:
    return [granted(str(n), email=f"p{n}@example.com") for n in numbers]


def test_l9_fingerprints_are_read_once_a_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many partitions are compared, a destination's fingerprints are read once."""
    here = World(tmp_path, partitions=8)
    here.partner.rejects = {digest("p1@example.com")}
    here.write(people(*range(20)))
    here.ran()
    usual, asked = here.ledger.remembered, []

    def remembered(*given: Any) -> Any:
        asked.append(given)
        return usual(*given)

    monkeypatch.setattr(here.ledger, "remembered", remembered)
    run = here.ran()
    assert run.funnel["suppressed"] == 1
    assert len(asked) == 1


def test_l9_what_expired_is_destroyed_by_a_sweep(tmp_path: Path) -> None:
    """After thirty days nothing is left of a rejected member."""
    here = World(tmp_path)
    here.partner.rejects = {digest("p1@example.com")}
    here.write(people(1, 2))
    here.ran()
    here.sweep()
    assert len(here.ledger.remembered("memory-1", here.time)) == 1
    here.time += timedelta(days=31)
    here.sweep()
    assert here.ledger.forget_expired(here.time) == 0
    assert len(here.ledger.remembered("memory-1", START)) == 0


def test_a_sweep_of_many_lists_is_no_work_for_the_square_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four hundred lists of five hundred files are swept in seconds, and only the rest goes."""
    here = World(tmp_path)
    lists = [f"a{number}" for number in range(400)]

    def remote(name: str) -> RemoteList:
        files = {n: f"lists/memory-1/{name}/r1/{n}.sealed" for n in range(512)}
        manifest: Mapping[str, Any] = Manifest(512, files).as_json()
        return RemoteList(audience=name, destination="memory-1", manifest=manifest)

    found = [remote(name) for name in lists]
    deleted: list[str] = []
    names = {"lists": ["memory-1"], "lists/memory-1": lists}
    names |= {f"lists/memory-1/{name}": ["r1", "r0"] for name in lists}
    names |= {f"lists/memory-1/{name}/r1": ["1.sealed", "x"] for name in lists}
    monkeypatch.setattr(here.ledger, "remote_lists", lambda: found)
    monkeypatch.setattr(here.location, "names", lambda folder: names.get(folder, []))
    monkeypatch.setattr(here.location, "delete", deleted.append)
    begun = time.process_time()
    here.sweep()
    assert time.process_time() - begun < 5
    assert sorted(deleted) == sorted(
        f"lists/memory-1/{name}/{gone}" for name in lists for gone in ("r0", "r1/x")
    )
