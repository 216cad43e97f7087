"""Judging: every rule against a reference that goes row by row and knows no columns."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audience_sync.customers.description import PolicyRules
from audience_sync.customers.policy import (
    NO_REASON,
    NO_TIME,
    Reason,
    Word,
    attribute_reasons,
    bit,
    check_rules,
    decision_reasons,
    first_reason,
    microseconds,
    words,
)
from audience_sync.errors import ConfigurationError
from audience_sync.period import Period

NOW = datetime(2026, 3, 31, 12, 30, tzinfo=UTC)
SAID = {
    "granted": Word.GRANTED, "true": Word.GRANTED, "1": Word.GRANTED, "yes": Word.GRANTED,
    "denied": Word.DENIED, "false": Word.DENIED, "0": Word.DENIED, "no": Word.DENIED,
    "withdrawn": Word.WITHDRAWN, "objected": Word.OBJECTED,
}  # fmt: skip

# Python alone takes these four control characters for blanks.
LETTERS = st.characters(exclude_characters="\x1c\x1d\x1e\x1f", codec="utf-8")

periods = st.builds(Period, st.integers(0, 60), st.just("month")) | st.builds(
    Period, st.integers(0, 400), st.just("day")
)
rules = st.builds(
    PolicyRules,
    consent_max_age=st.none() | periods,
    keep_after_last_activity=st.none() | periods,
    minimum_age=st.none() | st.integers(0, 120),
    origins=st.none() | st.just(("account", "purchase")),
)
moments = st.none() | st.one_of(
    st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)),  # noqa: DTZ001 - naive is UTC here
    st.datetimes(datetime(2020, 1, 1), datetime(2026, 6, 1)),  # noqa: DTZ001 - naive is UTC here
).map(lambda moment: microseconds(moment.replace(tzinfo=UTC)))
customers = st.fixed_dictionaries(
    {
        "origin": st.sampled_from([None, "", "account", " Purchase ", "broker", "acc\x00ount"]),
        "account_status": st.sampled_from([None, "", "active", "Open ", "closed", "true", "?"]),
        "birth_date": st.none() | st.dates(),
        "last_activity_at": moments,
    }
)
SCHEMA = {
    "origin": pl.String,
    "account_status": pl.String,
    "birth_date": pl.Date,
    "last_activity_at": pl.Int64,
}


def months_earlier(moment: datetime, period: Period) -> datetime:
    """The reference: goes back month by month, then to the last day that month has."""
    year, month = moment.year, moment.month
    for _ in range(period.months):
        year, month = (year, month - 1) if month > 1 else (year - 1, 12)
    day = moment.day
    while True:
        try:
            return moment.replace(year=year, month=month, day=day) - timedelta(days=period.days)
        except ValueError:
            day -= 1


def believable(micros: int | None) -> bool:
    return micros is not None and micros <= microseconds(NOW + timedelta(days=1))


def reference_attributes(row: dict[str, Any], rule: PolicyRules) -> set[Reason]:
    found = set()
    origin = (row["origin"] or "").strip().lower()
    if rule.origins is not None and origin not in rule.origins:
        found.add(Reason.THIRD_PARTY_ORIGIN)
    if (row["account_status"] or "").strip().lower() not in {"active", "open"}:
        found.add(Reason.ACCOUNT_CLOSED)
    if rule.minimum_age is not None:
        born = row["birth_date"]
        latest = months_earlier(NOW, Period(rule.minimum_age, "year")).date()
        oldest = months_earlier(NOW, Period(130, "year")).date()
        if born is None or not oldest <= born <= latest:
            found.add(Reason.UNDER_AGE)
    if rule.keep_after_last_activity is not None:
        seen = row["last_activity_at"]
        earliest = microseconds(months_earlier(NOW, rule.keep_after_last_activity))
        if not believable(seen) or seen < earliest:
            found.add(Reason.INACTIVE_TOO_LONG)
    return found


def reference_decision(word: Word, at: int | None, rule: PolicyRules) -> set[Reason]:
    refusals = {
        Word.OBJECTED: Reason.OBJECTED,
        Word.WITHDRAWN: Reason.CONSENT_WITHDRAWN,
        Word.DENIED: Reason.CONSENT_DENIED,
        Word.NONE: Reason.NO_CONSENT,
    }
    if word in refusals:
        return {refusals[word]}
    found = set()
    if at is not None and not believable(at):
        found.add(Reason.NO_CONSENT)
    if rule.consent_max_age is not None:
        earliest = microseconds(months_earlier(NOW, rule.consent_max_age))
        if at is None or at < earliest:
            found.add(Reason.CONSENT_EXPIRED)
    return found


def reasons_of(bits: np.uint16) -> set[Reason]:
    return {reason for reason in Reason if bits & bit(reason)}


@given(st.lists(customers, max_size=30), rules)
def test_attributes_are_judged_as_row_by_row(rows: list[dict[str, Any]], rule: PolicyRules) -> None:
    """The columns say of each customer what a reading of the rules for that customer says."""
    frame = pl.DataFrame(rows, schema=SCHEMA)

    found = attribute_reasons(frame, rule, NOW)

    assert [reasons_of(bits) for bits in found] == [reference_attributes(r, rule) for r in rows]


@given(st.lists(st.tuples(st.sampled_from(Word), moments), max_size=30), rules)
def test_decisions_are_judged_as_row_by_row(
    rows: list[tuple[Word, int | None]], rule: PolicyRules
) -> None:
    """The columns say of each decision what a reading of the rules for that decision says."""
    word = np.array([word for word, _ in rows], dtype=np.uint8)
    at = np.array([NO_TIME if at is None else at for _, at in rows], dtype=np.int64)

    found = decision_reasons(word, at, rule, NOW)

    assert [reasons_of(b) for b in found] == [reference_decision(w, a, rule) for w, a in rows]


@given(
    st.lists(
        st.none() | st.text(LETTERS, max_size=9) | st.sampled_from([*SAID, " TRUE\t", "Unknown"])
    )
)
def test_only_a_known_word_is_a_decision(raw: list[str | None]) -> None:
    """L1: whatever nobody knows is no decision, and is counted."""
    found, unknown = words(pl.Series(raw, dtype=pl.String))

    written = [(value or "").strip().lower() for value in raw]
    assert found.tolist() == [SAID.get(value, Word.NONE) for value in written]
    assert unknown == sum(v not in SAID and v not in {"", "null", "unknown"} for v in written)


@pytest.mark.parametrize("series", [pl.Series([], dtype=pl.String), pl.Series([None, None])])
def test_nothing_said_is_no_decision(series: pl.Series) -> None:
    """L1: an empty or all-null consent column grants nothing, and surprises nobody."""
    found, unknown = words(series)

    assert found.tolist() == [Word.NONE] * len(series)
    assert unknown == 0


@given(st.integers(0, 255).filter(lambda code: code != Word.GRANTED), moments, rules)
def test_nothing_but_granted_grants(code: int, at: int | None, rule: PolicyRules) -> None:
    """L1: every other number is a reason to drop, also one that stands for no word."""
    decided = np.array([NO_TIME if at is None else at], dtype=np.int64)

    assert decision_reasons(np.array([code], dtype=np.uint8), decided, rule, NOW)[0] != 0


@given(st.sets(st.sampled_from(Reason)))
def test_the_first_reason_wins(reasons: set[Reason]) -> None:
    """A row is dropped for the reason that is judged first."""
    bits = np.array([sum(1 << reason for reason in reasons)], dtype=np.uint16)

    assert first_reason(bits).tolist() == [min(reasons, default=NO_REASON)]


def test_the_order_of_judging() -> None:
    """Reasons are judged in the order that the funnel shows."""
    assert [reason.name.lower() for reason in Reason] == [
        "third_party_origin", "account_closed", "under_age", "objected", "consent_withdrawn",
        "consent_denied", "no_consent", "consent_expired", "inactive_too_long", "suppressed",
        "not_in_audience", "no_usable_identifier",
    ]  # fmt: skip


def test_a_rule_without_its_column_drops_everybody() -> None:
    """A rule that cannot be judged is not skipped."""
    rule = PolicyRules(
        minimum_age=18, origins=("account",), keep_after_last_activity=Period(36, "month")
    )

    found = attribute_reasons(pl.DataFrame({"customer_id": ["a"]}), rule, NOW)

    assert reasons_of(found[0]) == {
        Reason.THIRD_PARTY_ORIGIN, Reason.UNDER_AGE, Reason.INACTIVE_TOO_LONG,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "column"),
    [
        (PolicyRules(minimum_age=18), "birth_date"),
        (PolicyRules(origins=("account",)), "origin"),
        (PolicyRules(keep_after_last_activity=Period(1, "month")), "last_activity_at"),
        (PolicyRules(consent_max_age=Period(1, "month")), "consent_at"),
    ],
)
def test_a_rule_without_its_column_is_refused_beforehand(rule: PolicyRules, column: str) -> None:
    """The operator is told which column a rule needs."""
    with pytest.raises(ConfigurationError, match=column):
        check_rules(rule, {"customer_id", "consent"})

    check_rules(rule, {column})


def test_a_decisions_source_brings_its_own_times() -> None:
    """With a decisions source, consent may expire without a consent_at column."""
    check_rules(PolicyRules(consent_max_age=Period(1, "month")), set(), decisions=True)


@pytest.mark.parametrize(
    ("moment", "period", "earlier"),
    [
        (datetime(2026, 3, 31, tzinfo=UTC), Period(1, "month"), datetime(2026, 2, 28, tzinfo=UTC)),
        (datetime(2028, 2, 29, tzinfo=UTC), Period(12, "month"), datetime(2027, 2, 28, tzinfo=UTC)),
        (datetime(2026, 1, 1, tzinfo=UTC), Period(1, "day"), datetime(2025, 12, 31, tzinfo=UTC)),
        (datetime(2026, 1, 1, tzinfo=UTC), Period(10**6, "month"), datetime(1, 1, 1, tzinfo=UTC)),
        (datetime(2026, 1, 1, tzinfo=UTC), Period(10**7, "day"), datetime(1, 1, 1, tzinfo=UTC)),
    ],
)
def test_periods_follow_the_calendar(moment: datetime, period: Period, earlier: datetime) -> None:
    """A month is a month of the calendar, whatever its length."""
    assert period.before(moment) == earlier


def test_eighteen_begins_on_the_birthday() -> None:
    """A person is of age on the birthday itself, and one born on 29 February on 1 March."""
    frame = pl.DataFrame({"birth_date": [date(2008, 3, 1), date(2008, 3, 2), date(2008, 2, 29)]})
    rule = PolicyRules(minimum_age=18)

    def of_age(now: datetime) -> list[bool]:
        return [not bits for bits in attribute_reasons(frame, rule, now)]

    assert of_age(datetime(2026, 3, 1, tzinfo=UTC)) == [True, False, True]
    assert of_age(datetime(2026, 2, 28, tzinfo=UTC)) == [False, False, False]
