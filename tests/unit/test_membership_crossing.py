"""Look-ups across partitions agree with dictionaries: refusals (L2) and shared identifiers (L4)."""

from __future__ import annotations

import sys
import weakref
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from membership_model import array, keyring, value
from pipeline_world import fast_folder

from audience_sync.connector import Kind
from audience_sync.membership import digests
from audience_sync.membership.crossing import ALWAYS, NEVER, Denials, StillCarried
from audience_sync.membership.location import FolderLocation

NONE = 127
PLACES = st.tuples(st.sampled_from([1, 4, 32]), st.sampled_from([8, 1 << 12]))
NUMBERS = st.one_of(st.none(), st.integers(0, 9))  # None: the row has no such identifier
TIMES = st.sampled_from([1, 2, 3, ALWAYS])
DENIAL = st.tuples(NUMBERS, st.lists(st.one_of(st.none(), TIMES), min_size=2, max_size=2))
CARRIER = st.tuples(NUMBERS, st.lists(st.sampled_from([NEVER, 1, 2, 3]), min_size=2, max_size=2))


@pytest.fixture(autouse=True, scope="module")
def _small_filters() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(digests, "_FILTER_BITS", 1 << 12)
        yield


def phones(numbers: list[int | None]) -> Any:
    return array(bytes(32) if n is None else value(Kind.PHONE, n) for n in numbers)


@settings(max_examples=60)
@given(st.lists(DENIAL, max_size=10), st.lists(CARRIER, max_size=15), PLACES, st.integers(0, 2**9))
def test_l2_the_latest_word_decides_across_partitions(
    denied: Any, carried: Any, place: tuple[int, int], seed: int
) -> None:
    """A carrier is denied, for each group of partners, unless a later grant is on its identifier.

    A denial at the time of the grant stands; of several at one time the first reason is told.
    """
    partitions, bits = place
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(digests, "_FILTER_BITS", bits)
        denials = Denials(FolderLocation(fast_folder()), "x", keyring(), partitions)
        reasons = [[(3, 4, 5)[(seed + i + g) % 3] for g in (0, 1)] for i in range(len(denied))]
        for (number, at), reason in zip(denied, reasons, strict=True):
            denials.deny(
                phones([number]),
                np.array([[NEVER if t is None else t for t in at]], dtype=np.int64),
                np.array(
                    [[NONE if t is None else r for t, r in zip(at, reason, strict=True)]], "i1"
                ),
            )
        denials.finish()
        for row, (number, granted) in enumerate(carried):
            home = row % 3
            denials.carry(
                phones([number]), np.array([granted], dtype=np.int64), home, np.array([row])
            )
        found = {
            (int(h), int(r)): why.tolist()
            for homes, rows, whys in denials.settle()
            for h, r, why in zip(homes, rows, whys, strict=True)
        }
    assert found == _naive(denied, reasons, carried)
    assert denials.empty == (not any(number is not None for number, _ in denied))


def _naive(denied: Any, reasons: Any, carried: Any) -> dict[tuple[int, int], list[int]]:
    granted: dict[tuple[int, int], int] = defaultdict(lambda: NEVER)
    said: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for number, times in carried:
        for group in (0, 1):
            granted[number, group] = max(granted[number, group], times[group])
    for (number, at), reason in zip(denied, reasons, strict=True):
        for group in (0, 1):
            if number is not None and at[group] is not None:
                said[number, group].append((at[group], reason[group]))
    wanted = {}
    for row, (number, _) in enumerate(carried):
        verdict = [-1, -1]
        for group in (0, 1):
            words = said.get((number, group), [])
            latest = max((at for at, _ in words), default=None)
            if latest is not None and latest >= granted[number, group]:
                verdict[group] = min(why for at, why in words if at == latest)
        if verdict != [-1, -1]:
            wanted[row % 3, row] = verdict
    return wanted


def test_l2_no_refusal_is_lost_between_threads() -> None:
    """Refusals come from several threads at once; each of them reaches its carrier."""
    numbers = np.random.default_rng(7).integers(0, 256, (16_000, 32), dtype=np.uint8)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(6):
            denials = Denials(FolderLocation(fast_folder()), "x", keyring(), 4)
            parts = np.split(numbers, 80)

            def deny(part: Any, denials: Denials = denials) -> None:
                at = np.ones((len(part), 1), dtype=np.int64)
                denials.deny(part, at, at.astype(np.int8))

            with ThreadPoolExecutor(8) as pool:
                list(pool.map(deny, parts))
            denials.finish()
            rows = np.arange(len(numbers))
            denials.carry(numbers, np.zeros((len(numbers), 1), dtype=np.int64), 0, rows)
            found = np.concatenate([row for _, row, _ in denials.settle()])
            assert sorted(found.tolist()) == rows.tolist()
    finally:
        sys.setswitchinterval(before)


@settings(max_examples=60)
@given(
    st.lists(st.lists(NUMBERS, max_size=6), max_size=4),
    st.lists(st.lists(NUMBERS, max_size=6), max_size=4),
    PLACES,
    st.sampled_from([Kind.PHONE, Kind.IDFA]),
)
def test_l4_what_others_still_carry_stays(
    leaving: Any, carried: Any, place: tuple[int, int], kind: Kind
) -> None:
    """Exactly the leaving lines whose identifier a wanted member carries are named."""
    partitions, bits = place
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(digests, "_FILTER_BITS", bits)
        still = StillCarried(FolderLocation(fast_folder()), "x", keyring(), partitions)
        width = 16 if kind is Kind.IDFA else 32

        def column(numbers: list[int | None]) -> Any:
            rows = (bytes(width) if n is None else value(kind, n) for n in numbers)
            return array(rows, width)

        for home, numbers in enumerate(leaving):
            still.leave(column(numbers), home)
        assert still.empty == all(n is None for numbers in leaving for n in numbers)
        still.prepare()
        for numbers in carried:
            still.carry(column(numbers))
        found = sorted(
            (int(h), int(at))
            for homes, lines in still.settle()
            for h, at in zip(homes, lines, strict=True)
        )
    kept = {n for numbers in carried for n in numbers} - {None}
    assert found == sorted(
        (home, at)
        for home, numbers in enumerate(leaving)
        for at, n in enumerate(numbers)
        if n in kept
    )


def test_the_filter_goes_with_the_files(tmp_path: Path) -> None:
    """Hundreds of lists are planned one after the other; each gives its memory back."""
    still = StillCarried(FolderLocation(tmp_path), "x", keyring(), 1)
    still.leave(phones([1]), 0)
    still.prepare()
    passing = weakref.ref(still._passing)  # type: ignore[arg-type]  # there is one by now
    still.discard()
    assert passing() is None
