"""The outbox: whole members in batches within the limit, nothing lost, nothing doubled."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from membership_model import Person, identifiers, key, keyring, lines_of, named, people
from pipeline_world import fast_folder

from audience_sync.connector import Kind
from audience_sync.errors import StateError
from audience_sync.membership.digests import partition_of
from audience_sync.membership.lines import Lines
from audience_sync.membership.location import FolderLocation
from audience_sync.membership.outbox import Outbox, OutboxWriter, destroy_outbox


def parts(lines: Lines, partitions: int = 4) -> list[Lines]:
    """Lines as a plan brings them, partition by partition."""
    of = partition_of(lines.keys, partitions)
    return [lines.take(of == partition) for partition in range(partitions)]


def write(folder: Path, limit: int, removed: Lines, added: Lines) -> tuple[Outbox, OutboxWriter]:
    writer = OutboxWriter(FolderLocation(folder), keyring(), "r1", limit)
    for leaving, coming in zip(parts(removed), parts(added), strict=True):
        writer.add(coming)
        writer.remove(leaving)
    fingerprint = writer.finish()
    return Outbox(FolderLocation(folder), keyring(), "r1", fingerprint), writer


@settings(max_examples=60)
@given(people(size=10), people(size=10), st.integers(1, 7))
def test_batches_hold_whole_members_within_the_limit(
    leaving: dict[int, Person], coming: dict[int, Person], limit: int
) -> None:
    """Removals come first; together the batches are what was put in, in the order of keys."""
    removed, added = lines_of(leaving), lines_of(coming)
    outbox, writer = write(fast_folder(), limit, removed, added)
    removals, additions = writer.members["remove"], writer.members["add"]
    batches = [outbox.batch(i) for i in range(len(removals) + len(additions))]
    for side, of, sizes, people_ in (
        (removed, batches[: len(removals)], removals, leaving),
        (added, batches[len(removals) :], additions, coming),
    ):
        assert [len(batch.starts) for batch in of] == sizes
        assert all(0 < len(batch) <= limit for batch in of)
        found = [(b.keys[i].tobytes(), int(b.slot[i])) for b in of for i in range(len(b))]
        assert found == [(side.keys[i].tobytes(), int(side.slot[i])) for i in range(len(side))]
        assert set().union(*map(identifiers, of)) == named(people_)
        for before, after in pairwise(of):
            if before.keys[-1].tobytes() == after.keys[0].tobytes():
                whole = int((side.keys == before.keys[-1]).all(axis=1).sum())
                assert whole > limit


def test_a_member_larger_than_a_batch_travels_in_several(tmp_path: Path) -> None:
    """Nobody is left out for having too many identifiers; the neighbours stay whole."""
    held = {n: frozenset({(Kind.PHONE, n)}) for n in range(4)}
    held[9] = frozenset((Kind.PHONE, n) for n in range(5))
    lines = lines_of(held)
    outbox, writer = write(tmp_path, 2, lines_of({}), lines)
    batches = [outbox.batch(i) for i in range(len(writer.members["add"]))]
    assert set().union(*map(identifiers, batches)) == named(held)
    assert sum(map(len, batches)) == 9
    assert sum(key(9) in {k.tobytes() for k in batch.keys} for batch in batches) >= 3


def test_only_the_outbox_that_was_planned_is_delivered(tmp_path: Path) -> None:
    """An outbox with another fingerprint is refused, even one of the same people."""
    held = lines_of({1: frozenset({(Kind.EMAIL, 1)})})
    write(tmp_path, 2, lines_of({}), held)
    for fingerprint in ("0" * 64, None, ""):
        with pytest.raises(StateError, match="not the one that was planned"):
            Outbox(FolderLocation(tmp_path), keyring(), "r1", fingerprint)
    _, writer = write(tmp_path, 2, held, held)
    with pytest.raises(StateError, match="missing"):
        Outbox(FolderLocation(tmp_path), keyring(), "r2", "x")
    assert writer.members == {"remove": [1], "add": [1]}


def test_an_outbox_that_ended_is_gone(tmp_path: Path) -> None:
    """L9: the outbox is destroyed when the run ends, a second time too."""
    lines = lines_of({1: frozenset({(Kind.EMAIL, 1)})})
    write(tmp_path, 2, lines, lines)
    for _ in range(2):
        destroy_outbox(FolderLocation(tmp_path), "r1")
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_times_and_states_travel_with_the_lines(tmp_path: Path) -> None:
    """When a member was first sent is not forgotten on the way."""
    lines: Any = lines_of({n: frozenset({(Kind.IDFA, n)}) for n in range(5)}, since=77)
    outbox, writer = write(tmp_path, 3, lines_of({}), lines)
    for position in range(len(writer.members["add"])):
        assert np.all(outbox.batch(position).since == 77)
