"""The state files of a run: nobody exchanges or reads them unnoticed (L10)."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
from pipeline_world import World, granted

from audience_sync.errors import StateError


def people(*numbers: int, **values: str) -> list[dict[str, str | None]]:
    return [granted(str(n), email=f"p{n}@example.com", **values) for n in numbers]


def test_memberships_of_two_lists_cannot_change_places(tmp_path: Path) -> None:
    """A file of another list, copied over one of ours, is damage; its people are not believed."""
    here = World(tmp_path, partitions=1)
    other = dataclasses.replace(here.target, audience="other", where="market = 'NO'")
    here.write([*people(0, 1, 2), {**people(9)[0], "market": "NO"}])
    here.sync_all([here.target, other])
    mine, theirs = (
        next(path for path in here.files() if f"/{name}/" in str(path)) for name in ("vip", "other")
    )
    shutil.copy(theirs, mine)
    with pytest.raises(StateError, match="damaged"):
        here.held()


def test_an_older_membership_cannot_come_back(tmp_path: Path) -> None:
    """What a list held before is of no use as what it holds now."""
    here = World(tmp_path, partitions=1)
    here.write(people(0, 1, 2))
    here.ran()
    older = here.files()[0].read_bytes()
    here.write(people(0, 1))
    here.ran()
    (now,) = here.files()
    now.write_bytes(older)
    with pytest.raises(StateError, match="damaged"):
        here.held()


def test_nothing_of_a_plan_rests_in_the_clear(tmp_path: Path) -> None:
    """Every file of a plan that waits is sealed, the one that names the membership's files too."""
    here = World(tmp_path)
    here.write(people(0, 1, 2))
    here.ran(deliver=False)
    assert len(here.files()) > 3
    for path in here.files():
        content = path.read_bytes()
        assert content.startswith(b"ASSEAL")
        assert b"partitions" not in content
