"""Guards: a table of facts and what they find (L12)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audience_sync.membership.guard import GuardFacts, GuardLimits, findings

USUAL = GuardFacts(
    rows=1000,
    consenting=800,
    selected=500,
    unusable=0,
    wanted=500,
    held=500,
    additions=10,
    removals=10,
    previous_rows=1000,
    previous_consenting=800,
)
FIRST = replace(
    USUAL, held=0, additions=500, removals=0, previous_rows=None, previous_consenting=None
)
OFF = GuardLimits(
    minimum_members=None,
    maximum_removals=None,
    maximum_growth=None,
    maximum_source_drop=None,
    maximum_unusable=None,
    maximum_consent_drop=None,
)
TABLE: list[tuple[dict[str, Any], list[str]]] = [
    ({}, []),
    ({"rows": 0, "consenting": 0, "selected": 0}, ["the source has no rows"]),
    ({"rows": 500}, []),
    ({"rows": 499, "consenting": 400}, ["shrank from 1,000 to 499 rows"]),
    ({"consenting": 560}, []),
    ({"consenting": 559}, ["fell from 80.0% to 55.9%"]),
    ({"unusable": 100}, []),
    ({"unusable": 101}, ["20.2% of the selected customers have no usable identifier"]),
    ({"wanted": 100}, []),
    ({"wanted": 99}, ["99 members, fewer than 100"]),
    ({"removals": 150}, []),
    ({"removals": 151}, ["151 of 500 members (30.2%) would be removed"]),
    ({"wanted": 2000}, []),
    ({"wanted": 2001}, ["grow from 500 to 2,001 members"]),
    ({"wanted": 2001, "held": 0, "previous_members": 500}, ["grow from 500 to 2,001 members"]),
    ({"wanted": 2001, "held": 0, "previous_members": 0}, []),
    (
        {"rows": 0, "consenting": 0, "selected": 0, "wanted": 0, "removals": 500},
        [
            "the source has no rows",
            "has 0 members",
            "500 of 500 members (100.0%)",
        ],
    ),
    ({"previous_rows": 0, "previous_consenting": 0}, []),
    ({"previous_rows": None, "previous_consenting": None, "consenting": 1}, []),
]


@pytest.mark.parametrize(("changes", "wanted"), TABLE)
def test_what_looks_like_an_accident_is_found(changes: dict[str, Any], wanted: list[str]) -> None:
    """L12: each limit is itself still allowed, one more is not; each finding tells its numbers."""
    found = findings(replace(USUAL, **changes), GuardLimits())
    assert len(found) == len(wanted)
    for phrase, part in zip(found, wanted, strict=True):
        assert part in phrase


def test_the_first_delivery_is_compared_with_nothing() -> None:
    """Growth, removals and drops need a before."""
    assert findings(FIRST, GuardLimits()) == []
    assert findings(replace(FIRST, wanted=10**9), GuardLimits()) == []


COUNTS = st.one_of(st.integers(0, 3), st.integers(0, 10**9))


@given(st.builds(GuardFacts, **dict.fromkeys(GuardFacts.__slots__, COUNTS)))
def test_any_counts_can_be_judged(facts: GuardFacts) -> None:
    """No facts break a guard; all of them switched off find nothing."""
    assert findings(facts, OFF) == []
    for phrase in findings(facts, GuardLimits()):
        assert "\n" not in phrase
        assert not phrase.endswith(".")


def test_each_guard_can_be_switched_off() -> None:
    """None switches off that guard and no other."""
    wrong = replace(
        USUAL, rows=400, consenting=100, unusable=400, wanted=10, removals=490, held=500
    )
    everything = findings(wrong, GuardLimits())
    assert len(everything) == 5
    for name in (
        "maximum_source_drop",
        "maximum_consent_drop",
        "maximum_unusable",
        "minimum_members",
        "maximum_removals",
    ):
        left = findings(wrong, replace(GuardLimits(), **{name: None}))
        assert len(left) == 4
        assert not any(f"({name} is" in phrase for phrase in left)
