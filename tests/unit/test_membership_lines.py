"""Members as lines: the union of what their rows carry, the same one whatever the order."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from membership_model import (
    WIDTHS,
    Person,
    array,
    assert_well_formed,
    identifiers,
    key,
    lines_of,
    named,
    people,
    rows_of,
    value,
)

from audience_sync.connector import Kind
from audience_sync.membership.lines import Lines, join, merge, no_lines

ROW = st.fixed_dictionaries(
    {"who": st.integers(0, 5), "since": st.integers(1, 9)},
    optional={kind.value: st.integers(0, 5) for kind in WIDTHS},
)


def merged(rows: list[dict[str, int]], most: int | None) -> Lines:
    columns = {
        kind: array(
            (value(kind, row[kind]) if kind in row else bytes(width) for row in rows), width
        )
        for kind, width in WIDTHS.items()
    }
    since = np.array([row["since"] for row in rows], dtype=np.uint32)
    return merge(array(key(row["who"]) for row in rows), columns, since, most)


def same(one: Lines, other: Lines) -> bool:
    return (
        one.keys.tobytes() == other.keys.tobytes()
        and one.slot.tolist() == other.slot.tolist()
        and one.since.tolist() == other.since.tolist()
        and one.state.tolist() == other.state.tolist()
        and all(
            values.tobytes() == other.columns[kind].tobytes()
            for kind, values in one.columns.items()
        )
    )


@given(
    st.lists(ROW.filter(lambda row: len(row) > 2), max_size=12),
    st.none() | st.integers(len(WIDTHS), 2 * len(WIDTHS)),
    st.randoms(),
)
def test_rows_of_one_person_become_their_union(
    rows: Any, most: int | None, shuffled: random.Random
) -> None:
    """The members are those of a dictionary of sets, cut in turn of the kinds; order is no matter.

    The earliest time of a member's rows is its own.
    """
    found = merged(rows, most)
    wanted: dict[tuple[int, Kind], set[bytes]] = defaultdict(set)
    since: dict[bytes, int] = {}
    for row in rows:
        since[key(row["who"])] = min(since.get(key(row["who"]), 99), row["since"])
        for kind in WIDTHS:
            if kind in row:
                wanted[row["who"], kind].add(value(kind, row[kind]))
    turns: dict[int, list[tuple[int, int, Kind, bytes]]] = defaultdict(list)
    for (who, kind), values in wanted.items():
        place = list(Kind).index(kind)
        turns[who] += [(rank, place, kind, one) for rank, one in enumerate(sorted(values))]
    assert identifiers(found) == {
        (key(who), kind, one)
        for who, turn in turns.items()
        for _, _, kind, one in sorted(turn)[:most]
    }
    assert dict(zip(map(bytes, found.keys), found.since.tolist(), strict=True)) == since
    assert_well_formed(found)
    shuffled.shuffle(rows)
    again = merged(rows, most)
    assert same(found, again)
    twice = merge(found.keys, found.columns, found.since, most)
    assert same(found, twice)


@given(people(), st.randoms())
def test_lines_are_sorted_from_any_order(held: Any, shuffled: random.Random) -> None:
    """Sorting finds the order again, by key, then slot."""
    lines = lines_of(held)
    order = list(range(len(lines)))
    shuffled.shuffle(order)
    assert same(lines.take(np.array(order, dtype=np.int64)).sorted(), lines)


@given(people())
def test_a_batch_shows_each_member_once_with_all_its_identifiers(held: dict[int, Person]) -> None:
    """A connector sees members in the order of the lines, each slot a cell, none lost."""
    lines = lines_of(held)
    members = lines.members()
    order = sorted(held, key=key)
    assert len(members) == len(order)
    for kind, width in WIDTHS.items():
        wide = members.values[kind]
        assert wide.shape[2] == width
        for position, who in enumerate(order):
            cells = [cell.tobytes() for cell in wide[position] if cell.any()]
            assert sorted(cells) == sorted(value(kind, n) for k, n in held[who] if k is kind)
            assert cells == [cell.tobytes() for cell in wide[position]][: len(cells)]


@given(people(), st.sampled_from(list(WIDTHS)), st.randoms())
def test_blank_lines_leave(held: dict[int, Person], kind: Kind, chance: random.Random) -> None:
    """A line without any identifier is gone; the others lost only what was blanked."""
    lines = lines_of(held)
    mask = np.array([chance.random() < 0.5 for _ in range(len(lines))], dtype=np.bool_)
    before = identifiers(lines)
    left = lines.blank(kind, mask).without_blank()
    gone = {
        (lines.keys[i].tobytes(), kind, lines.columns[kind][i].tobytes())
        for i in np.flatnonzero(mask).tolist()
    }
    assert identifiers(left) == before - gone
    assert identifiers(lines) == before
    for i in range(len(left)):
        assert any(values[i].any() for values in left.columns.values())


def test_no_lines_are_lines() -> None:
    """Nothing can be sorted, joined, shown and compared like something."""
    none = no_lines(WIDTHS)
    assert len(none.sorted()) == len(none.members()) == len(join([none, none])) == 0
    assert none.starts.tolist() == []
    assert repr(lines_of({1: frozenset({(Kind.EMAIL, 2)})})) == "Lines(1: email, phone, idfa)"


def test_kinds_are_widened_and_left_out() -> None:
    """A new column holds nothing; one that is not named is gone."""
    lines = lines_of({1: frozenset({(Kind.EMAIL, 2)})}, kinds=[Kind.EMAIL])
    wide = lines.with_kinds({Kind.PHONE: 32, Kind.EMAIL: 32})
    assert list(wide.columns) == [Kind.PHONE, Kind.EMAIL]
    assert identifiers(wide) == identifiers(lines) == named({1: frozenset({(Kind.EMAIL, 2)})})
    assert list(wide.with_kinds({Kind.PHONE: 32}).columns) == [Kind.PHONE]


def test_the_model_agrees_with_itself() -> None:
    """One row an identifier, and back."""
    held = {3: frozenset({(Kind.EMAIL, 1), (Kind.PHONE, 1), (Kind.PHONE, 2)})}
    assert len(rows_of(held)) == 3
    assert identifiers(lines_of(held)) == named(held)
