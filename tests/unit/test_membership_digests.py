"""Keys sorted, matched and filtered in columns, as plain Python does it one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from membership_model import array

from audience_sync.membership import digests
from audience_sync.membership.digests import (
    DigestFilter,
    leading,
    match,
    partition_of,
    partitions_for,
    present,
    sort_order,
    starts,
)


def keys_of(width: int) -> st.SearchStrategy[list[bytes]]:
    """Keys of which many share their first eight bytes, some all but the last, some are zero."""
    random = st.binary(min_size=width, max_size=width)
    shared = st.binary(min_size=width - 8, max_size=width - 8).map(lambda b: b"\x80" * 8 + b)
    close = st.integers(0, 3).map(lambda n: b"\x80" * (width - 1) + bytes([n]))
    empty = st.integers(0, 2).map(lambda n: bytes(width - 1) + bytes([n]))
    return st.lists(st.one_of(random, shared, close, empty), max_size=30)


BOTH = st.sampled_from([32, 16]).flatmap(lambda w: st.tuples(st.just(w), keys_of(w), keys_of(w)))


@given(BOTH)
def test_order_is_bytewise(drawn: tuple[int, list[bytes], list[bytes]]) -> None:
    """Sorting keys sorts bytes, whatever they share."""
    width, keys, _ = drawn
    ordered = array(keys, width)[sort_order(array(keys, width))]
    assert [row.tobytes() for row in ordered] == sorted(keys)


@given(BOTH)
def test_starts_are_where_the_key_changes(drawn: tuple[int, list[bytes], list[bytes]]) -> None:
    """One start for each distinct key, in order."""
    width, keys, _ = drawn
    ordered = sorted(keys)
    found = starts(array(ordered, width)).tolist()
    assert found == [i for i, one in enumerate(ordered) if i == 0 or ordered[i - 1] != one]


@given(BOTH)
def test_match_is_a_look_up(drawn: tuple[int, list[bytes], list[bytes]]) -> None:
    """Each key is found where it stands, and no other is."""
    width, keys, among = drawn
    ordered = sorted(set(among))
    place = {one: i for i, one in enumerate(ordered)}
    wanted = [place.get(one, -1) for one in keys]
    assert match(array(keys, width), array(ordered, width)).tolist() == wanted


@given(BOTH)
def test_present_means_not_all_zero(drawn: tuple[int, list[bytes], list[bytes]]) -> None:
    """Only a value of zeros is none."""
    width, keys, _ = drawn
    assert present(array(keys, width)).tolist() == [any(one) for one in keys]


@given(keys_of(32), st.sampled_from([1, 2, 4, 64, 512]))
def test_partitions_follow_the_order(keys: list[bytes], partitions: int) -> None:
    """Each key has one partition, in range and rising with the key."""
    found = partition_of(array(sorted(keys)), partitions).tolist()
    assert found == sorted(found)
    assert all(0 <= one < partitions for one in found)
    assert found == [int.from_bytes(k[:2], "big") * partitions >> 16 for k in sorted(keys)]
    assert leading(array(keys)).tolist() == [int.from_bytes(k[:8], "big") for k in keys]


def test_partitions_spread_over_what_was_asked_for() -> None:
    """The first and the last partition are reached."""
    ends = array([b"\0" * 32, b"\xff" * 32])
    for partitions in (1, 2, 256, 512):
        assert partition_of(ends, partitions).tolist() == [0, partitions - 1]


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [(0, 1), (1, 1), (150_000, 1), (150_001, 2), (300_001, 4), (10**7, 128), (10**12, 512)],
)
def test_the_number_of_partitions_is_bounded(rows: int, wanted: int) -> None:
    """A power of two, enough for the rows, and no more than five hundred and twelve."""
    assert partitions_for(rows) == wanted


@given(BOTH, st.sampled_from([8, 64, 1 << 12]))
def test_the_filter_lets_everything_pass_that_was_added(
    drawn: tuple[int, list[bytes], list[bytes]], bits: int
) -> None:
    """A filter may be wrong about strangers, never about what it was given."""
    width, keys, others = drawn
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(digests, "_FILTER_BITS", bits)
        kept = DigestFilter()
        assert not kept.passes(array(keys, width)).any()
        kept.add(array(keys[:5], width))
        kept.add(array(keys[5:], width))
        assert kept.empty == (not keys)
        assert kept.passes(array(keys, width)).all()
        places = {int.from_bytes(one[8:12], "little") % bits for one in keys}
        wanted = [int.from_bytes(one[8:12], "little") % bits in places for one in others]
        assert kept.passes(array(others, width)).tolist() == wanted


def test_the_filter_tells_most_strangers() -> None:
    """At its full size hardly any stranger passes."""
    kept = DigestFilter()
    random = np.random.default_rng(5)
    kept.add(random.integers(0, 256, (1000, 32), dtype=np.uint8))
    assert kept.passes(random.integers(0, 256, (100_000, 32), dtype=np.uint8)).sum() < 20
