"""What a list was told of withdrawals, as a law: nobody is passed over, nobody told twice."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audience_sync.ledger.list_removals import ListRemoval, Unanswered

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def removal(*told: tuple[int, int, bool]) -> ListRemoval:
    """Removals from one withdrawal to another; those that are said to wait do."""
    unanswered = [
        Unanswered(
            after=after,
            through=through,
            run="w",
            settled="",
            sent_at=NOON,
            ask_at=NOON,
            references=("r",) if waits else (),
        )
        for after, through, waits in told
    ]
    return ListRemoval(audience="a", destination="d", sent_at=NOON, unanswered=unanswered)


@pytest.mark.parametrize(
    ("told", "known", "sure"),
    [
        ([], 0, 0),
        ([(0, 2, True)], 0, 0),
        ([(0, 2, False)], 0, 2),
        ([(0, 2, False), (2, 3, True)], 0, 2),
        ([(0, 2, True), (2, 3, False)], 0, 0),
        ([(2, 3, False)], 0, 0),  # one of 1 and 2 failed, and is told nowhere
        ([(2, 3, False)], 2, 3),
        ([(2, 5, True), (0, 6, False)], 0, 2),
        ([(0, 2, True)], 5, 0),  # the partner may still say that it failed
    ],
)
def test_what_is_sure_passes_nobody_over(
    told: list[tuple[int, int, bool]], known: int, sure: int
) -> None:
    """Neither who waits for an answer nor who is told nowhere."""
    assert removal(*told).sure(known) == sure


@given(st.lists(st.tuples(st.integers(1, 9), st.booleans(), st.booleans()), min_size=1))
def test_sure_is_the_end_of_an_unbroken_row_of_answers(
    steps: list[tuple[int, bool, bool]],
) -> None:
    """Whatever was answered, waits, or failed and is gone, in any order."""
    ends = [0]
    for length, _, _ in steps:
        ends.append(ends[-1] + length)
    spans = [
        (after, through, waits)
        for (after, through), (_, waits, lost) in zip(pairwise(ends), steps, strict=True)
        if not lost
    ]
    answered = {
        number for after, end, waits in spans if not waits for number in range(after + 1, end + 1)
    }
    unbroken = 0
    while unbroken + 1 in answered:
        unbroken += 1
    assert removal(*reversed(spans)).sure(0) == unbroken
    told = removal(*spans)
    untold = [
        number
        for number in range(1, ends[-1] + 2)
        if not any(after < number <= end for after, end, _ in spans)
    ]
    assert told.told_from(0) == untold[0] - 1
    assert [number for number in range(1, ends[-1] + 2) if not told.told(number)] == untold


def test_whoever_is_told_next_comes_after_the_last() -> None:
    """Gaps hold nobody whom the list could be told of, unless a removal failed."""
    told = removal((0, 2, True), (4, 6, True))
    assert told.last_before(9, 0) == 6
    assert told.last_before(4, 0) == 2
    assert told.last_before(1, 0) == 0
    assert told.last_before(9, 7) == 7


def test_nobody_to_tell_is_noted_in_one_piece() -> None:
    """However many strangers withdraw while an answer is awaited."""
    told = removal((0, 2, True)).with_nobody(2, 3).with_nobody(3, 900)
    assert [(one.after, one.through) for one in told.unanswered] == [(0, 2), (2, 900)]
    assert told.through == 900
    assert told.sure(0) == 0
    assert told.told(500)


def test_what_the_books_know_is_forgotten_once_it_is_answered() -> None:
    """What waits is not, whatever the books know."""
    told = removal((0, 2, False), (2, 3, True), (3, 4, False))
    left = told.once_known(3).unanswered
    assert [(one.after, one.through) for one in left] == [(2, 3), (3, 4)]
