"""The delta agrees with dictionaries of sets, and the membership with what was accepted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from membership_model import (
    WIDTHS,
    People,
    Person,
    assert_well_formed,
    identifiers,
    key,
    lines_of,
    named,
)

from audience_sync.connector import Kind
from audience_sync.membership.delta import diff
from audience_sync.membership.held import apply, by_partition, doubt
from audience_sync.membership.lines import DOUBTFUL, EXPIRED, HELD, Lines, join, no_lines

NOW = 1000
OLD = 500  # members sent before are expired
KINDS = st.lists(st.sampled_from(list(WIDTHS)), min_size=1, unique=True).map(tuple)


class Kept(NamedTuple):
    """A member as the membership remembers it."""

    held: Person
    since: int
    state: int


def persons(kinds: Iterable[Kind]) -> st.SearchStrategy[Person]:
    identifier = st.tuples(st.sampled_from(tuple(kinds)), st.integers(0, 3))
    return st.frozensets(identifier, min_size=1, max_size=5)


def kept(kinds: Iterable[Kind]) -> st.SearchStrategy[dict[int, Kept]]:
    state = st.sampled_from([HELD, HELD, HELD, EXPIRED, DOUBTFUL])
    one = st.builds(Kept, persons(kinds), st.sampled_from([100, 700]), state)
    return st.dictionaries(st.integers(0, 9), one, max_size=8)


SIDES = st.tuples(KINDS, KINDS).flatmap(
    lambda kinds: st.tuples(
        kept(kinds[0]),
        st.dictionaries(st.integers(0, 9), persons(kinds[1]), max_size=8),
        st.just(kinds),
        st.sampled_from([0, OLD]),
    )
)


def held_lines(held: dict[int, Kept], kinds: Iterable[Kind] = WIDTHS) -> Lines:
    lines = lines_of({who: one.held for who, one in held.items()}, kinds=kinds)
    by_key = {key(who): one for who, one in held.items()}
    of = [by_key[lines.keys[i].tobytes()] for i in range(len(lines))]
    return Lines(
        lines.keys,
        lines.slot,
        lines.columns,
        np.array([one.since for one in of], dtype=np.uint32),
        np.array([one.state for one in of], dtype=np.uint8),
    )


def expected(
    held: dict[int, Kept], wanted: People, before: int
) -> tuple[dict[int, Kept], People, People, set[int]]:
    """Following members, added, removed, and who left."""
    following: dict[int, Kept] = {}
    added: dict[int, Person] = {}
    removed: dict[int, Person] = {}
    left = set()
    for who, had in held.items():
        by_age = had.state != EXPIRED and had.since < before
        if had.state != EXPIRED and (who not in wanted or by_age):
            removed[who] = had.held
            left.add(who)
        if who in wanted and (by_age or had.state == EXPIRED):
            following[who] = had._replace(state=EXPIRED)
    for who, person in wanted.items():
        if who in following:
            continue
        had_ = held.get(who)
        following[who] = Kept(person, NOW if had_ is None else had_.since, HELD)
        if had_ is None or had_.held != person or had_.state == DOUBTFUL:
            added[who] = person
        if had_ is not None and had_.held - person:
            removed[who] = had_.held - person
    return following, added, removed, left


def remembered(lines: Lines) -> set[tuple[Any, ...]]:
    """Whose identifiers, since when and in which state."""
    return {
        (lines.keys[i].tobytes(), int(lines.since[i]), int(lines.state[i]), kind, v[i].tobytes())
        for kind, v in lines.columns.items()
        for i in range(len(lines))
        if v[i].any()
    }


@settings(max_examples=80)
@given(SIDES)
def test_the_delta_is_that_of_dictionaries(drawn: Any) -> None:
    """L3, L4: what travels, what leaves and what is held then, whatever columns either side has.

    Who leaves by age is not added again while wanted; who is doubtful is sent again.
    """
    held, wanted, (held_kinds, wanted_kinds), before = drawn
    mine, theirs = held_lines(held, held_kinds), lines_of(wanted, since=NOW, kinds=wanted_kinds)
    delta = diff(mine, theirs, now=NOW, expired_before=before)
    following, added, removed, left = expected(held, wanted, before)
    assert identifiers(delta.added) == named(added)
    assert identifiers(delta.removed) == named(removed)
    assert remembered(delta.following) == remembered(held_lines(following))
    for lines in (delta.added, delta.removed, delta.following):
        order = [lines.keys[i].tobytes() for i in range(len(lines))]
        assert order == sorted(order)
    assert_well_formed(delta.following)
    barred = sum(one.state == EXPIRED for one in following.values())
    assert delta.unchanged + delta.additions == len(wanted) - barred
    assert (delta.additions, delta.left) == (len(added), len(left))
    assert delta.changed == sum(who in held for who in added)
    gone = {key(who) for who in left if who not in wanted}
    assert {row.tobytes() for row in delta.left_keys} == gone
    assert delta.same == (following == held)


@settings(max_examples=40)
@given(SIDES)
def test_what_was_planned_and_accepted_is_held(drawn: Any) -> None:
    """When everything is accepted the membership is the one that the plan foresaw, byte by byte."""
    held, wanted, (held_kinds, wanted_kinds), before = drawn
    mine, theirs = held_lines(held, held_kinds), lines_of(wanted, since=NOW, kinds=wanted_kinds)
    delta = diff(mine, theirs, now=NOW, expired_before=before)
    reached = apply(mine, delta.removed, delta.added, delta.following)
    assert remembered(reached) == remembered(delta.following)
    assert reached.slot.tolist() == delta.following.slot.tolist()
    again = diff(reached, theirs, now=NOW + 1, expired_before=before)
    assert again.same
    assert (again.additions, again.left) == (0, 0)


def parts(lines: Lines, chosen: list[bool], answer: bool) -> Lines:
    """The members whose answer was so."""
    order = {row.tobytes(): i for i, row in enumerate(lines.keys[lines.starts])}
    picked = [chosen[order[row.tobytes()] % len(chosen)] is answer for row in lines.keys]
    return lines.take(np.array(picked, dtype=np.bool_))


ANSWERS = st.lists(st.booleans(), min_size=10, max_size=10)


@settings(max_examples=40)
@given(SIDES, ANSWERS, ANSWERS)
def test_what_was_accepted_in_part_is_held_in_part(
    drawn: Any, removal: list[bool], addition: list[bool]
) -> None:
    """Exactly the accepted removals are off and the accepted additions on; the rest comes later."""
    held, wanted, (held_kinds, wanted_kinds), before = drawn
    mine, theirs = held_lines(held, held_kinds), lines_of(wanted, since=NOW, kinds=wanted_kinds)
    delta = diff(mine, theirs, now=NOW, expired_before=before)
    off, on = parts(delta.removed, removal, True), parts(delta.added, addition, True)
    reached = apply(mine, off, on, delta.following)
    before_it = identifiers(mine.take(mine.alive))
    assert identifiers(reached.take(reached.alive)) == (before_it - identifiers(off)) | identifiers(
        on
    )
    assert_well_formed(reached)
    # Whatever was not accepted is found again, and the next run ends where this one should have.
    again = diff(reached, theirs, now=NOW + 1, expired_before=before)
    final = apply(reached, again.removed, again.added, again.following)
    assert identifiers(final) == identifiers(delta.following)


@settings(max_examples=40)
@given(SIDES, ANSWERS)
def test_l4_what_perhaps_arrived_can_be_removed(drawn: Any, addition: list[bool]) -> None:
    """Members sent without a clear answer count as held, and are sent again or taken off."""
    held, wanted, (held_kinds, wanted_kinds), before = drawn
    mine, theirs = held_lines(held, held_kinds), lines_of(wanted, since=NOW, kinds=wanted_kinds)
    delta = diff(mine, theirs, now=NOW, expired_before=before)
    on, perhaps = parts(delta.added, addition, True), parts(delta.added, addition, False)
    reached = apply(mine, delta.removed, on, delta.following, perhaps)
    assert identifiers(reached) == identifiers(delta.following)
    assert_well_formed(reached)
    again = diff(reached, theirs, now=NOW + 1, expired_before=before)
    assert identifiers(again.added) == identifiers(perhaps)
    assert not len(again.removed)
    nobody = diff(reached, no_lines(WIDTHS), now=NOW + 1)
    assert identifiers(nobody.removed) == identifiers(reached.take(reached.alive))


@given(SIDES)
def test_doubt_sends_again_and_forgets_nothing(drawn: Any) -> None:
    """Doubtful members keep identifiers and time; those who left by age stay away."""
    held, wanted, _, _ = drawn
    mine, named_ = held_lines(held), lines_of(wanted)
    doubted = doubt(mine, named_)
    assert identifiers(doubted) == identifiers(mine)
    for i in range(len(mine)):
        asked = mine.keys[i].tobytes() in {key(who) for who in wanted}
        state = DOUBTFUL if asked and mine.state[i] != EXPIRED else mine.state[i]
        assert doubted.state[i] == state
    people = {who: one.held for who, one in held.items() if one.state != EXPIRED}
    again = diff(doubted, lines_of(people, since=NOW), now=NOW)
    assert {row.tobytes() for row in again.added.keys} == {
        key(who) for who in people if who in wanted or held[who].state == DOUBTFUL
    }


def test_l9_expiry_is_once_until_unwanted() -> None:
    """Who left by age stays away while wanted, and comes back after having been unwanted once."""
    person = {1: frozenset({(Kind.EMAIL, 1)})}
    held = diff(no_lines(WIDTHS), lines_of(person, since=10), now=10).following
    first = diff(held, lines_of(person), now=600, expired_before=OLD)
    assert (first.left, first.additions, len(first.removed)) == (1, 0, 1)
    second = diff(first.following, lines_of(person), now=700, expired_before=OLD)
    assert second.same
    unwanted = diff(second.following, lines_of({}), now=800, expired_before=OLD)
    assert not unwanted.same
    assert not len(unwanted.removed)
    assert not len(unwanted.following)
    back = diff(unwanted.following, lines_of(person), now=900, expired_before=OLD)
    assert identifiers(back.added) == named(person)
    assert back.following.since.tolist() == [900]


@given(SIDES, st.sampled_from([1, 4, 64]), st.integers(1, 5))
def test_batches_are_cut_at_partitions(drawn: Any, partitions: int, size: int) -> None:
    """Batches in the order of keys become parts by rising partition; nothing is lost."""
    lines = held_lines(drawn[0])
    batches = [lines.take(slice(at, at + size)) for at in range(0, len(lines), size)]
    found = list(by_partition(iter(batches), partitions))
    assert [number for number, _ in found] == sorted({number for number, _ in found})
    assert all(len(part) for _, part in found)
    whole = join([part for _, part in found]) if found else no_lines(WIDTHS)
    assert remembered(whole) == remembered(lines)
