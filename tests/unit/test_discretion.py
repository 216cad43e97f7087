"""No report tells how few people there are, not even by subtraction."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_contract.builders import batch, run

from audience_sync.discretion import HIDDEN, Discretion, _sums
from audience_sync.ledger.records.runs import Run

LEAST = 10
SMALL = f"fewer than {LEAST}"
REASONS = ("no_consent", "withdrawn", "not_in_audience", "no_usable_identifier", "merged")
_counts = st.one_of(st.integers(0, 25), st.integers(0, 5_000))


@st.composite
def runs(draw: st.DrawFn) -> Run:
    """Runs whose sums hold."""
    unchanged, additions, removals = draw(_counts), draw(_counts), draw(_counts)
    drops = {name: draw(_counts) for name in REASONS}
    members = unchanged + additions
    total = sum(drops.values()) + members
    beside = draw(st.integers(0, drops["no_consent"]))
    funnel = {"rows_read": total, **drops, "members": members, "unknown_consent_values": beside}
    delta = {
        "held": unchanged + removals,
        "wanted": members,
        "unchanged": unchanged,
        "additions": additions,
        "removals": removals,
        "refused": draw(st.integers(0, removals)),
        "batches": 3,
    }
    return run(funnel=funnel, delta=delta)


def possible(shown: dict[str, object], parts: tuple[str, ...], total: str) -> dict[str, range]:
    """What a reader of one sum can tell of each small part of it."""
    least = dict.fromkeys(parts, 0)
    most: dict[str, float] = {}
    for part in parts:
        value = shown[part]
        if value == SMALL:
            least[part], most[part] = 1, LEAST - 1
        elif value == HIDDEN:
            least[part], most[part] = LEAST, float("inf")
        else:
            least[part] = most[part] = int(str(value))
    if not str(shown[total]).isdigit():
        return {part: range(1, LEAST) for part in parts if shown[part] == SMALL}
    whole, told = int(str(shown[total])), {}
    for part in parts:
        if shown[part] == SMALL:
            low = whole - sum(most[other] for other in parts if other != part)
            high = whole - sum(least[other] for other in parts if other != part)
            told[part] = range(int(max(1, low)), int(min(LEAST - 1, high)) + 1)
    return told


@given(runs())
def test_no_small_count_is_shown_or_follows_from_a_sum(found: Run) -> None:
    """Every small number stays possible for every count that is not shown as it is."""
    shown = Discretion(LEAST).run(found)
    told = {**shown.delta, **shown.funnel}
    exact = {**found.delta, **found.funnel}
    for name, count in exact.items():
        if name != "batches" and 0 < count < LEAST:
            assert told[name] == SMALL
        else:
            assert told[name] in {count, HIDDEN}
    assert told["members"] == shown.delta["wanted"]
    if SMALL in {told["additions"], told["removals"]}:
        assert not str(told["held"]).isdigit(), "held - wanted is removals - additions"
    for parts, total in _sums(found.funnel, found.delta):
        for part, left in possible(told, parts, total).items():
            assert left == range(1, LEAST), (part, told)


@given(runs())
def test_what_needs_no_hiding_is_shown(found: Run) -> None:
    """A run without small counts is shown as it is, and so is any without a threshold."""
    assert Discretion(None).run(found) is found
    exact = {**found.delta, **found.funnel}
    if not any(0 < count < LEAST for name, count in exact.items() if name != "batches"):
        assert Discretion(LEAST).run(found) == found


def test_orders_that_count_otherwise_are_masked_too() -> None:
    """Sums that do not hold give nothing away."""
    orders = run(funnel={"rows_read": 50, "order_lines": 3}, delta={"additions": 2, "wanted": 90})
    shown = Discretion(LEAST).run(orders)
    assert shown.funnel["order_lines"] == SMALL
    assert shown.delta["additions"] == SMALL


def test_batches_tell_nothing_where_one_is_small() -> None:
    """The others and their sum would tell it."""
    many, few = batch(position=0, members=5_000, accepted=5_000), batch(position=1, members=3)
    assert [one.members for one in Discretion(LEAST).batches([many, few])] == [HIDDEN, HIDDEN]
    assert Discretion(LEAST).batches([many]) == [many]
    assert Discretion(None).batches([many, few]) == [many, few]


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("it has 7 members, fewer than 100", f"it has {SMALL} members, fewer than 100"),
        (
            "5 of 1,010 members (0.5%) would be removed (maximum_removals is 30%)",
            f"{SMALL} of 1,010 members would be removed (maximum_removals is 30%)",
        ),
        ("50 of 1,010 members (5.0%) left", "50 of 1,010 members (5.0%) left"),
        ("nothing changed", "nothing changed"),
        (None, None),
    ],
)  # fmt: skip
def test_sentences_tell_no_small_number(told: str | None, shown: str | None) -> None:
    """Nor a share from which it could be computed."""
    assert Discretion(LEAST).text(told) == shown


def test_a_count_by_itself() -> None:
    """None is none: nobody can be found in it."""
    discreet = Discretion(LEAST)
    assert [discreet.count(count) for count in (0, 1, 9, 10)] == [0, SMALL, SMALL, 10]
    for low, high in pairwise((0, 1, 9, 10)):
        assert Discretion(0).count(low) == low < high


def _one_of_a_source(rows: int, small: int, audience: str) -> Run:
    """A run that nobody is left out of but some few, and those outside the audience."""
    members = rows - small if audience == "all" else small
    funnel = {
        "rows_read": rows,
        "withdrawn": small,
        "not_in_audience": rows - small - members,
        "members": members,
    }
    delta = {"held": 0, "wanted": members, "unchanged": 0, "additions": members, "removals": 0}
    return run(funnel=funnel, delta=delta, audience=audience)


def test_no_run_tells_what_one_of_the_same_source_hides() -> None:
    """The rows that were read are the same for every audience, so they are hidden in all."""
    runs = [_one_of_a_source(1_000, 3, "all"), _one_of_a_source(1_000, 12, "few")]
    alone = [Discretion(LEAST).run(one).funnel["rows_read"] for one in runs]
    together = [one.funnel["rows_read"] for one in Discretion(LEAST).runs(runs)]
    assert len(set(together)) == 1
    assert HIDDEN in together or HIDDEN not in alone
    assert Discretion(None).runs(runs) == runs


def test_a_list_tells_no_more_than_its_run() -> None:
    """Its members are hidden where the run hides the same count; a small one is told as small."""
    here = Discretion(LEAST)
    one = _one_of_a_source(60, 3, "all")
    shown = here.run(one)
    assert shown.delta["wanted"] == HIDDEN
    assert here.beside(57, one, shown) == HIDDEN
    assert here.beside(30, one, shown) == 30
    assert here.beside(4, one, shown) == here.beside(4, None, None) == SMALL
    assert here.counts({"people": 4, "open": 5, "all": 60}, "people", "all", "gone") == {
        "people": SMALL,
        "open": 5,
        "all": 60,
    }


@given(st.lists(runs(), min_size=1, max_size=4))
def test_runs_together_hide_at_least_what_each_hides(several: list[Run]) -> None:
    """And rows of one source are told of all of them or of none; what is hidden is so twice."""
    here = Discretion(LEAST)
    for one, alone, shown in zip(several, map(here.run, several), here.runs(several), strict=True):
        for name, count in alone.funnel.items():
            assert shown.funnel[name] == count or isinstance(count, int)
            assert isinstance(shown.funnel[name], str) or shown.funnel[name] == one.funnel[name]
        for name, count in alone.delta.items():
            assert shown.delta[name] == count or isinstance(count, int)
        assert shown.delta["wanted"] == shown.funnel["members"]
    rows = {one.funnel["rows_read"] for one in several}
    told = {one.funnel["rows_read"] for one in here.runs(several)}
    assert len(told - {HIDDEN, SMALL}) <= len(rows)


def test_a_drop_that_audiences_share_is_told_by_none_where_one_hides_it() -> None:
    """Else the column beside gives the small count of this one away."""
    shared = {"rows_read": 10_100, "no_consent": 3_000}
    first = run(
        funnel={**shared, "not_in_audience": 0, "no_usable_identifier": 4, "members": 7_096},
        delta={},
    )
    second = run(
        funnel={**shared, "not_in_audience": 6_900, "no_usable_identifier": 3, "members": 197},
        delta={},
    )
    shown = Discretion(LEAST).runs([first, second])
    assert [one.funnel["no_consent"] for one in shown] == [HIDDEN, HIDDEN]
    assert [one.funnel["no_usable_identifier"] for one in shown] == [SMALL, SMALL]
    alone = Discretion(LEAST).runs([second])
    assert alone[0].funnel["no_consent"] == 3_000
