"""Lists that the project no longer names are emptied, when a person has approved it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from shop import Ended, Shop, expected, people

from audience_sync.app import App
from audience_sync.ledger.records.runs import RunState


def _held(ended: Ended) -> dict[tuple[str, str], str]:
    """The held runs of an answer, by list."""
    assert ended.code == 3, ended
    return {
        (found["audience"], found["destination"]): found["run"]["id"]
        for found in ended.json["outcomes"]
        if found["run"]["state"] == "held"
    }


def _renamed(text: str) -> str:
    return text.replace("  everyone:", "  everybody:")


def test_a_renamed_audience_leaves_its_old_list_when_approved(
    synced_shop: Callable[..., Shop],
) -> None:
    """The new list is filled at once; the old one waits for a person, and then holds nobody."""
    rows = people(12)
    shop = synced_shop(rows)
    shop.write(change=_renamed)
    held = _held(shop.run("sync", "--json"))
    assert set(held) == {("everyone", "meta-se"), ("everyone", "google-se")}
    assert shop.held("everybody") == shop.held("everyone") == expected(rows)
    status = shop.must("status", "--json").json["lists"]
    left = [one for one in status if one["title"] == "no longer in the project"]
    assert [one["members"] for one in left] == [12, 12]
    told = shop.must("run", held["everyone", "meta-se"])
    assert "no longer in the project" in told.out
    for run in held.values():
        shop.must("approve", run)
    assert shop.held("everyone") == shop.held("everyone", "google") == {}
    assert shop.held("everybody") == expected(rows)
    before = shop.journal("meta")
    shop.must("sync", "--json")
    assert shop.journal("meta") == before
    assert shop.must("log", "verify").code == 0


@pytest.mark.parametrize("names", [[], ["everyone"]])
def test_a_destination_taken_off_an_audience_is_emptied(
    synced_shop: Callable[..., Shop], names: list[str]
) -> None:
    """The audience stays where it is still named; `plan` shows what would leave."""
    rows = people(12)
    shop = synced_shop(rows)
    shop.write(destinations="[google-se]")
    held = _held(shop.run("plan", "everyone", "--json"))
    assert set(held) == {("everyone", "meta-se")}
    assert shop.held() == expected(rows)
    assert ("everyone", "meta-se") in _held(shop.run("sync", *names, "--json"))
    shop.run("sync", *names, "--force", "--json")
    assert shop.held() == {}
    assert len(shop.held("everyone", "google")) == len(expected(rows))


def test_a_list_that_is_left_can_be_named(synced_shop: Callable[..., Shop]) -> None:
    """A gone audience is unknown as soon as its lists are empty, and not before."""
    shop = synced_shop(people(12), destinations="[meta-se]")
    shop.write(destinations="[meta-se]", change=_renamed)
    [run] = _held(shop.run("plan", "everyone", "--json")).values()
    shop.must("approve", run)
    refused = shop.run("plan", "everyone")
    assert refused.code == 2
    assert "no audience everyone" in refused.err


def test_a_worker_asks_for_approval_once_a_day(synced_shop: Callable[..., Shop]) -> None:
    """No schedule names a gone audience, so its list comes with the others'; the run stays."""
    shop = synced_shop(people(12), destinations="[meta-se]")
    shop.write(destinations="[meta-se]", change=_renamed)
    start = datetime.now(UTC)
    found = []
    for moment in (start, start + timedelta(hours=1), start + timedelta(days=1, hours=2)):
        with App.open(shop.project) as opened:
            app = replace(opened, now=lambda moment=moment: moment)
            found.append([(o.audience, o.run) for o in app.plan_for_later(["swedes"])])
    assert [[name for name, _ in planned] for planned in found] == [
        ["swedes", "everyone"],
        ["swedes"],
        ["swedes", "everyone"],
    ]
    first, last = found[0][1][1], found[2][1][1]
    assert first is not None
    assert last is not None
    assert (first.state, last.state) == (RunState.HELD, RunState.HELD)
    assert first.id != last.id
