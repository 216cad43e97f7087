"""Rows that wait by partition: none is lost, whoever brings them and however many."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from membership_model import array, key, keyring
from pipeline_world import fast_folder

from audience_sync.membership import spill as spill_module
from audience_sync.membership.digests import partition_of
from audience_sync.membership.location import FolderLocation
from audience_sync.membership.spill import Spill


def spill(folder: Path, partitions: int) -> Spill:
    return Spill(FolderLocation(folder), "scratch/x.sealed", keyring(), partitions)


@settings(max_examples=40)
@given(
    st.lists(st.lists(st.integers(0, 40), max_size=12), max_size=8),
    st.sampled_from([1, 4, 64]),
    st.sampled_from([1, 100, 1 << 20]),
)
def test_rows_come_out_by_partition_in_the_order_they_came(
    puts: list[list[int]], partitions: int, limit: int
) -> None:
    """Every row comes out once, in its partition, columns side by side, whatever was flushed."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(spill_module, "_HELD_BACK", limit)
        patched.setattr(spill_module, "_HELD_BACK_EACH", 0)
        waiting = spill(fast_folder(), partitions)
        wanted: dict[int, list[tuple[bytes, int]]] = defaultdict(list)
        for number, put in enumerate(puts):
            keys = array(key(n) for n in put)
            waiting.put(keys, {"key": keys, "put": np.full(len(put), number)})
            for n, home in zip(put, partition_of(keys, partitions).tolist(), strict=True):
                wanted[home].append((key(n), number))
        waiting.finish()
        assert waiting.rows == sum(map(len, puts))
        for partition in range(partitions):
            keys_, numbers = waiting.read(partition, "key"), waiting.read(partition, "put")
            if partition not in wanted:
                assert keys_ is None
                assert numbers is None
                continue
            assert keys_ is not None
            assert numbers is not None
            found = [(k.tobytes(), int(n)) for k, n in zip(keys_, numbers, strict=True)]
            assert found == wanted[partition]


def test_threads_lose_nothing_and_keep_their_own_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight threads at once: every row once, each thread's rows in its order."""
    monkeypatch.setattr(spill_module, "_HELD_BACK", 4_000)
    monkeypatch.setattr(spill_module, "_HELD_BACK_EACH", 0)
    waiting = spill(tmp_path, 8)

    def put(thread: int) -> None:
        random = np.random.default_rng(thread)
        for step in range(40):
            keys = random.integers(0, 256, (7, 32), dtype=np.uint8)
            at = np.full(7, thread), np.full(7, step)
            waiting.put(keys, {"key": keys, "thread": at[0], "step": at[1]})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(8)))
    waiting.finish()
    seen = 0
    for partition in range(8):
        keys, threads, steps = (waiting.read(partition, name) for name in ("key", "thread", "step"))
        assert keys is not None
        assert threads is not None
        assert steps is not None
        assert (partition_of(keys, 8) == partition).all()
        seen += len(keys)
        for thread in range(8):
            mine = steps[threads == thread].tolist()
            assert mine == sorted(mine)
    assert seen == waiting.rows == 8 * 40 * 7


def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows go to the disk when the limit is reached, not when all are there."""
    monkeypatch.setattr(spill_module, "_HELD_BACK", 320)
    monkeypatch.setattr(spill_module, "_HELD_BACK_EACH", 0)
    waiting = spill(tmp_path, 2)
    sizes = []
    for number in range(40):
        keys = array([key(number)])
        waiting.put(keys, {"key": keys})
        sizes.append(waiting._held)
    assert max(sizes) < 320
    parts = list((tmp_path / "scratch").glob(".*.part"))
    assert len(parts) == 1


def test_blocks_of_many_partitions_are_large(tmp_path: Path) -> None:
    """At 512 partitions a million rows are some thousand blocks, not one for each few rows."""
    waiting = spill(tmp_path, 512)
    random = np.random.default_rng(1)
    for _ in range(40):
        keys = random.integers(0, 256, (25_000, 32), dtype=np.uint8)
        few = np.zeros(25_000, dtype=np.uint8)
        waiting.put(keys, {"a": keys, "b": keys, "c": keys, "d": keys, "few": few})
    assert waiting._writer is not None
    assert len(waiting._writer._index[0]) < 10_000
    waiting.finish()
    total = sum(len(found) for p in range(512) if (found := waiting.read(p, "few")) is not None)
    assert total == waiting.rows == 1_000_000


def test_nothing_put_is_nothing_read(tmp_path: Path) -> None:
    """An empty spill makes no file."""
    waiting = spill(tmp_path, 4)
    waiting.put(array([]), {"key": array([])})
    waiting.finish()
    assert waiting.read(0, "key") is None
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize("finished", [True, False])
def test_discarded_rows_are_gone_from_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: bool
) -> None:
    """L10: nothing rests of what was discarded, finished or not."""
    monkeypatch.setattr(spill_module, "_HELD_BACK", 1)
    monkeypatch.setattr(spill_module, "_HELD_BACK_EACH", 0)
    waiting = spill(tmp_path, 4)
    keys = array([key(1)])
    waiting.put(keys, {"key": keys})
    if finished:
        waiting.finish()
    waiting.discard()
    assert waiting.read(0, "key") is None
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("finished", [True, False])
def test_what_was_never_written_is_not_deleted(tmp_path: Path, finished: bool) -> None:
    """A store would be asked twice for nothing, ten times a sync."""
    asked = []
    waiting = spill(tmp_path, 4)
    waiting._place[0].delete = asked.append  # type: ignore[method-assign]
    if finished:
        waiting.finish()
    waiting.discard()
    keys = array([key(1)])
    written = Spill(waiting._place[0], "scratch/y.sealed", keyring(), 4)
    written.put(keys, {"key": keys})
    written.finish()
    written.discard()
    written.discard()
    assert asked == ["scratch/y.sealed"]
