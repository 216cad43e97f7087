"""Decisions from a source of their own reach the customers they are of (L1, L2)."""

from __future__ import annotations

import dataclasses

import pytest
from pipeline_world import World, digest, fast_folder, granted

from audience_sync.errors import SourceError

LATER = "2026-06-01T00:00:00Z"


def decision(customer_id: str | None, word: str = "withdrawn", **values: str) -> dict[str, object]:
    return {"customer_id": customer_id, "decision": word, "decided_at": LATER} | values


@pytest.mark.parametrize(
    "customer_id",
    ["0f" * 32, "A" * 43 + "=", "unknown", "None", "-", "n" * 400, "a\x00b", " 7 "],
)
def test_l2_any_text_is_a_customer_id(customer_id: str) -> None:
    """What could be no identifier at a partner still names the customer who withdrew."""
    here = World(fast_folder())
    here.decisions = [decision(customer_id)]
    here.write([granted(customer_id, email="a@example.com"), granted("B", email="b@example.com")])
    assert here.ran().funnel["consent_withdrawn"] == 1
    assert here.partner.holds == {digest("b@example.com")}


@pytest.mark.parametrize("in_row", [True, False])
def test_l2_a_grant_dated_in_the_future_hides_no_withdrawal(*, in_row: bool) -> None:
    """Neither in the customer's row nor in the consent log; who shares the e-mail is not sent."""
    here = World(fast_folder())
    future = "2999-01-01T00:00:00Z"
    here.decisions = [decision("A")]
    if not in_row:
        here.decisions.append(decision("A", "granted") | {"decided_at": future})
    first = granted("A", email="a@example.com")
    if in_row:
        first["consent_at"] = future
    here.write([first, granted("B", email="a@example.com"), granted("C", email="c@example.com")])
    assert here.ran().funnel["consent_withdrawn"] == 2
    assert here.partner.holds == {digest("c@example.com")}


def test_l2_a_word_about_one_partner_is_no_word_about_another() -> None:
    """Whichever partners are synced together; a name that nobody knows counts for all."""
    here = World(fast_folder())
    here.partners = frozenset({"memory", "meta"})
    here.decisions = [decision("A", partner="Meta"), decision("B", partner="nobody")]
    here.write([granted("A", email="a@example.com"), granted("B", email="b@example.com")])
    meta = dataclasses.replace(here.target, destination="meta-se", partner="meta")
    together = here.sync_all([here.target, meta], deliver=False)
    alone = here.sync_all([here.target], deliver=False)
    wanted = [o.run.delta["wanted"] for o in [*together, *alone] if o.run is not None]
    assert wanted == [1, 0, 1]


@pytest.mark.parametrize("customer_id", [None, "", "  "])
def test_l1_a_refusal_without_a_customer_is_not_lost(customer_id: str | None) -> None:
    """Nothing is sent until somebody tells whom it concerns; a grant without one is no harm."""
    here = World(fast_folder())
    here.decisions = [decision(customer_id, "granted")]
    here.write([granted("B", email="b@example.com")])
    assert here.ran().delta["additions"] == 1
    here.decisions = [decision(customer_id)]
    here.write([granted("B", email="b@example.com")])
    with pytest.raises(SourceError, match="refusals without a customer_id"):
        here.sync()
