"""The pipeline agrees with the laws written in plain Python, whatever customers say and do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pipeline_world import World, fast_folder, granted
from reference import KNOWN, wanted

from audience_sync.errors import RefusedError, TemporaryPartnerError
from audience_sync.ledger.records.runs import RunState

EMAILS = [f"person{i}@example.com" for i in range(4)]
PHONES = [f"+4670123456{i}" for i in range(4)]
IDFAS = [f"{i}8400000-8cf0-11bd-b23e-10b96e40000d" for i in range(1, 3)]
WORDS = ["granted", "granted", "granted", "denied", "withdrawn", "objected"]
TIMES = [f"2026-01-0{day}T00:00:00Z" for day in range(1, 5)]
TIMES += ["2026-11-22T00:00:00Z", "2031-01-01T00:00:00Z"]  # a clock ahead, and no clock at all
CUSTOMERS = ["0", "1", "2", "0f" * 32, "A" * 43 + "=", "unknown", "x" * 400]


def maybe(values: list[str]) -> st.SearchStrategy[str | None]:
    return st.one_of(st.none(), st.sampled_from(values))


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "customer_id": st.sampled_from(CUSTOMERS),
            "email": maybe(EMAILS),
            "phone": maybe(PHONES),
            "idfa": maybe(IDFAS),
            "consent": maybe(WORDS),
            "consent_at": maybe(TIMES),
            "account_status": st.sampled_from(["active", "active", "active", "closed"]),
            "market": st.sampled_from(["SE", "SE", "DE"]),
        }
    ),
    max_size=14,
)
DECISIONS = st.lists(
    st.fixed_dictionaries(
        {
            "customer_id": st.sampled_from(CUSTOMERS),
            "decision": st.sampled_from(WORDS),
            "decided_at": maybe(TIMES),
            "partner": st.sampled_from([None, None, "memory", "absent", "nobody"]),
        }
    ),
    max_size=6,
)
EXAMPLES = int(os.environ.get("AUDIENCE_SYNC_TEST_EXAMPLES", "15"))  # each is several syncs
SLOW = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def world(partitions: int = 4) -> World:
    return World(fast_folder(), partitions=partitions)


def counted(run: Any) -> dict[str, int]:
    return {name: count for name, count in run.funnel.items() if count}


@SLOW
@given(ROWS, st.sampled_from([1, 4, 16]))
def test_the_latest_word_on_each_identifier_decides(rows: Any, partitions: int) -> None:
    """L1, L2, L3: funnel and identifiers are those of the reference, in any partitioning."""
    here = world(partitions)
    here.write(rows)
    run = here.sync().run
    assert run is not None
    identifiers, funnel = wanted(rows, [], "memory")
    assert counted(run) == funnel
    assert here.partner.holds == identifiers


@SLOW
@given(ROWS, DECISIONS)
def test_a_consent_log_speaks_like_the_column(rows: Any, decisions: Any) -> None:
    """Decisions from a source of their own, limited to a partner or not, obey the same law."""
    here = world()
    here.partners = frozenset(KNOWN)
    here.decisions = decisions
    here.write(rows)
    run = here.sync().run
    assert run is not None
    identifiers, funnel = wanted(rows, decisions, "memory")
    assert counted(run) == funnel
    assert here.partner.holds == identifiers


@SLOW
@given(st.lists(ROWS, min_size=2, max_size=4))
def test_the_partner_follows_the_customers(histories: Any) -> None:
    """L4, L8: after each sync the partner holds what is wanted; no change, no request."""
    here = world()
    for rows in histories:
        here.write(rows)
        here.sync()
        identifiers, _ = wanted(rows, [], "memory")
        assert here.partner.holds == identifiers
        calls = list(here.partner.calls)
        here.sync()
        assert here.partner.calls == calls
    assert here.ledger.verify_log().sound


FAULTS = st.lists(
    st.tuples(st.sampled_from(["before", "after", "none"]), st.sampled_from(["busy", "refuse"])),
    max_size=8,
)


@SLOW
@given(st.lists(st.tuples(ROWS, FAULTS), min_size=1, max_size=3), ROWS)
def test_a_failing_partner_ends_in_the_same_membership(histories: Any, last: Any) -> None:
    """L6: whatever fails, before or after the change, a later sync converges; the log is sound."""
    here = world()
    for rows, faults in histories:
        here.write(rows)
        waiting = list(faults)

        def fault(when: str, _operation: str, waiting: list[Any] = waiting) -> None:
            if waiting and waiting[0][0] in (when, "none"):
                at, sort = waiting.pop(0)
                if at == when and sort == "busy":
                    raise TemporaryPartnerError("the partner cannot answer now")
                if at == when:
                    raise RefusedError("the partner refuses the request", 400)

        here.partner.fault = fault
        here.sync()
    here.partner.fault = lambda _when, _operation: None
    here.write(last)
    outcome = here.sync()
    assert outcome.error is None
    identifiers, _ = wanted(last, [], "memory")
    # A refusal after the change was made leaves what we were told was not taken.
    assert here.partner.holds >= identifiers
    refused_after = any(
        at == "after" and sort == "refuse" for _, faults in histories for at, sort in faults
    )
    if not refused_after:
        assert here.partner.holds == identifiers
    assert here.ledger.verify_log().sound
    assert not here.ledger.runs(states=[RunState.DELIVERING, RunState.PLANNED])


@pytest.mark.parametrize("partitions", [1, 8])
def test_partitions_may_change_between_runs(tmp_path: Path, partitions: int) -> None:
    """A membership cut in one number of partitions is read in any other."""
    here = World(tmp_path, partitions=partitions)
    rows = [granted(str(i), email=f"p{i}@example.com") for i in range(50)]
    here.write(rows)
    here.sync()
    calls = list(here.partner.calls)
    here.partitions = 8 if partitions == 1 else 1
    here.sync()
    assert here.partner.calls == calls
    here.write(rows[:40])
    here.sync()
    assert len(here.partner.holds) == 40
