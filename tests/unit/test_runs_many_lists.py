"""Hundreds of lists are planned together with the files that any system lets a process open."""

from __future__ import annotations

import dataclasses
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from pipeline_world import World, granted

from audience_sync.runs import listplan, plan


@pytest.fixture
def few_files() -> Iterator[None]:
    """A few dozen files more than are open already."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/dev/fd").iterdir())) + 40, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("few_files")
def test_many_lists_need_few_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither additions nor removals keep a file open for each list."""
    monkeypatch.setattr(plan, "_AT_ONCE", 8)
    here = World(tmp_path, partitions=1)
    targets = [dataclasses.replace(here.target, audience=f"a{n}") for n in range(50)]
    here.write([granted(str(n), email=f"p{n}@example.com", phone=f"070123456{n}") for n in (1, 2)])
    first = here.sync_all(targets)
    assert [outcome.error for outcome in first] == [None] * 50
    here.write([granted("1", email="p1@example.com", phone="0701234561")])
    second = here.sync_all(targets, deliver=False)
    assert {outcome.run and outcome.run.delta["removals"] for outcome in second} == {1}


@pytest.mark.parametrize("at_once", [0, 64])
def test_additions_that_wait_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """Whether additions go to the outbox at once or wait, the partner holds the same people."""
    monkeypatch.setattr(plan, "_AT_ONCE", at_once)
    here = World(tmp_path)
    people = [
        granted(str(n), email=f"p{n}@example.com", phone=f"070123456{n % 3}") for n in range(8)
    ]
    here.write(people)
    run = here.ran()
    assert run.delta["additions"] == 8
    assert here.held() == here.partner.holds
    assert len(here.partner.holds) == 8 + 3
    here.write(people[1:5])
    here.ran()
    assert here.held() == here.partner.holds
    assert len(here.partner.holds) == 4 + 3  # the phones are still carried


def test_a_small_list_is_kept_in_few_files(tmp_path: Path) -> None:
    """However many partitions the customers need, a small list is one file, rewritten on change."""
    here = World(tmp_path, partitions=64)
    people = [granted(str(n), email=f"p{n}@example.com") for n in range(200)]
    here.write(people)
    here.ran()
    (first,) = here.files()
    assert here.held() == here.partner.holds
    assert here.ran().reason == "nothing changed"
    assert here.files() == [first]
    here.write(people[:150])
    assert here.ran().delta["removals"] == 50
    (second,) = here.files()
    assert second != first
    assert here.held() == here.partner.holds
    assert len(here.held()) == 150


def test_a_list_that_grows_gets_more_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are cut anew when their number is far off, and whatever their number nobody is lost."""
    monkeypatch.setattr(listplan, "_MEMBERS_PER_FILE", 10)
    here = World(tmp_path, partitions=32)
    people = [granted(str(n), email=f"p{n}@example.com") for n in range(400)]
    found = []
    for size in (5, 400, 380, 3):
        here.write(people[:size])
        here.ran()
        found.append(len(here.files()))
        assert here.held() == here.partner.holds
        assert len(here.held()) == size
    assert found[0] < found[1]
    assert found[1] == found[2] == 32
    assert found[3] < 4


def test_the_number_of_files_stays_unless_it_is_far_off() -> None:
    """Another number rewrites every file, so small changes keep it."""
    assert listplan.files_for(0, 512, 1) == 1
    assert listplan.files_for(1_000, 512, 512) == 1
    assert listplan.files_for(10_000, 512, 2) == 2
    assert listplan.files_for(50_000, 512, 2) == 32
    assert listplan.files_for(50_000_000, 512, 512) == 512
    assert listplan.files_for(50_000_000, 8, 512) == 8
