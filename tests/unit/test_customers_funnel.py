"""L3: counts from rows read to members add up, or the run stops."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audience_sync.customers.funnel import Funnel
from audience_sync.customers.policy import Reason
from audience_sync.errors import StateError

counts = st.integers(0, 10**9)


@st.composite
def funnels(draw: st.DrawFn) -> Funnel:
    drops = draw(st.dictionaries(st.sampled_from(Reason), counts))
    merged, members = draw(counts), draw(counts)
    return Funnel(
        rows=sum(drops.values()) + merged + members,
        drops=drops,
        merged=merged,
        members=members,
        unknown_consent_values=draw(counts),
    )


@given(funnels(), funnels())
def test_sums_of_funnels_add_up(one: Funnel, other: Funnel) -> None:
    """L3: two parts that add up make a whole that adds up."""
    both = one + other

    assert both.verify() is both
    assert both.rows == one.rows + other.rows
    assert both.unknown_consent_values == one.unknown_consent_values + other.unknown_consent_values


@given(funnels(), st.integers(1, 5))
def test_a_lost_row_is_loud(funnel: Funnel, lost: int) -> None:
    """L3: one row more or less than counted stops the run."""
    for rows in (funnel.rows + lost, funnel.rows - lost):
        wrong = Funnel(rows=rows, drops=funnel.drops, merged=funnel.merged, members=funnel.members)
        with pytest.raises(StateError, match="does not add up"):
            wrong.verify()


def test_negative_counts_never_add_up() -> None:
    """A count under zero is a mistake even where the sum happens to fit."""
    assert not Funnel(rows=0, merged=1, members=-1).adds_up()


@given(funnels())
def test_counts_can_be_written_down_and_read(funnel: Funnel) -> None:
    """What a run stores of its funnel is the funnel."""
    written = funnel.as_counts()
    read = Funnel.from_counts(written)

    assert read.as_counts() == written
    assert list(written)[1:13] == [reason.name.lower() for reason in Reason]
    assert (
        sum(n for k, n in written.items() if k not in {"rows_read", "unknown_consent_values"})
        == (written["rows_read"])
    )
