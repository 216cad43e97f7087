"""What holds a report of orders for a person."""

from __future__ import annotations

from typing import Any

import pytest

from audience_sync.membership.guard import GuardLimits
from audience_sync.runs.orders.guard import OrderFacts, findings


def facts(**changes: Any) -> OrderFacts:
    """An ordinary report; name what should differ."""
    usual: dict[str, Any] = {
        "rows": 1_000,
        "unreadable": 0,
        "held": 1_000,
        "taken_back": 0,
        "fresh": 10,
        "customers": 100,
        "granted": 50,
        "previous_rows": 1_000,
        "previous_customers": 100,
        "previous_granted": 50,
    }
    return OrderFacts(**(usual | changes))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"rows": 499}, "shrank from 1,000 to 499 rows"),
        ({"rows": 0}, "has no rows"),
        ({"granted": 34}, "fell from 50.0% to 34.0%"),
        ({"unreadable": 201}, "20.1% of the order lines"),
        ({"taken_back": 301}, "301 of 1,000 reported orders"),
        ({"fresh": 3_001}, "3,001 orders would be reported on top of 1,000"),
    ],
)
def test_an_accident_is_named(changes: dict[str, int], told: str) -> None:
    """With its numbers and the limit that it passed; switched off, it goes."""
    [found] = findings(facts(**changes), GuardLimits())
    assert told in found
    off = GuardLimits(
        maximum_removals=None,
        maximum_growth=None,
        maximum_source_drop=None,
        maximum_unusable=None,
        maximum_consent_drop=None,
    )
    assert findings(facts(**changes), off) == []


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rows": 500},
        {"granted": 35},
        {"unreadable": 200},
        {"taken_back": 300},
        {"fresh": 3_000},
        {"held": 0, "fresh": 90_000, "previous_rows": None, "previous_customers": None},
        {"rows": 20, "unreadable": 20, "held": 20, "taken_back": 20, "previous_rows": 20},
        {"rows": 1, "held": 1, "fresh": 20, "previous_rows": 20},
    ],
)
def test_the_ordinary_goes(changes: dict[str, Any]) -> None:
    """At the limit, at the beginning, and wherever only a few are concerned."""
    assert findings(facts(**changes), GuardLimits()) == []
