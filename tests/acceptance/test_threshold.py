"""Reports tell no count of fewer people than the project's threshold, as text and as JSON."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from shop import Shop, people


def _open(open_shop: Callable[..., Shop], threshold: str) -> Shop:
    return open_shop(
        people(60),
        destinations="[meta-se]",
        change=lambda text: text.replace("report_threshold: off", threshold),
    )


def test_small_counts_are_not_told_anywhere(
    open_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three people leave: neither their number nor what gives it away is in any report."""
    monkeypatch.setenv("COLUMNS", "80")
    shop = _open(open_shop, "report_threshold: 10")
    shop.must("sync", "everyone")
    shop.sql("UPDATE customers SET consent = 'denied' WHERE id <= 3")
    told = shop.must("plan", "everyone", "--json").json["outcomes"][0]["run"]
    assert told["delta"]["removals"] == "fewer than 10"
    assert told["delta"]["held"] == "hidden"
    assert told["funnel"]["members"] == "hidden" or told["funnel"]["rows_read"] == "hidden"
    assert "fewer than 10" in shop.must("plan", "everyone").out
    run = shop.must("sync", "everyone", "--json").json["outcomes"][0]["run"]["id"]
    shown = shop.must("run", run, "--json").json
    assert {batch["members"] for batch in shown["batches"]} == {"hidden"}
    assert shown["run"]["delta"]["removals"] == "fewer than 10"
    assert "fewer than 10" in shop.must("run", run).out
    assert "< 10" in shop.must("runs").out
    for words in (["status"], ["runs"], ["run", run]):
        assert max(map(len, shop.must(*words).out.splitlines())) <= 80
    members = shop.must("status", "--json").json["lists"][0]["members"]
    assert members == "hidden"  # beside the rows that were read it would tell who left


def test_the_log_stays_exact(open_shop: Callable[..., Shop]) -> None:
    """It is evidence: what was sent is told as it was."""
    shop = _open(open_shop, "report_threshold: 100")
    shop.must("sync", "everyone")
    assert 60 in {entry["line"]["sent"] for entry in shop.must("log", "--json").json["lines"]}
    assert shop.must("status", "--json").json["lists"][0]["members"] == "fewer than 100"


def test_small_counts_are_not_told_unless_the_project_says_so(
    open_shop: Callable[..., Shop],
) -> None:
    """The default protects."""
    shop = _open(open_shop, "")
    shop.must("sync", "everyone")
    shop.sql("DELETE FROM customers WHERE id <= 3")
    told = shop.must("sync", "everyone", "--json").json["outcomes"][0]["run"]["delta"]
    assert told["removals"] == "fewer than 10"
