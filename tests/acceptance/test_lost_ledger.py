"""A ledger that is lost: the lists are found again, and whoever nobody remembers leaves them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta

import pytest
from shop import Shop, expected, people


def test_nobody_stays_on_a_list_whose_ledger_was_lost(
    open_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meta replaces whoever is there, Google drops whoever was not sent again."""
    rows = people(150)
    shop = open_shop(rows)
    shop.must("sync", "everyone")
    shop.must("status", "--poll")
    # Between the two syncs lie an hour and more in earnest; here ten seconds at the partners.
    shop.control("clock", advance_seconds=10)
    monkeypatch.setattr("audience_sync.runs.whole._CLOCKS", timedelta(seconds=-5))
    before = shop.held(partner="google")["email"]
    assert len(before) == 150
    shutil.rmtree(shop.folder / ".audience-sync")

    left = rows[30:]
    shop.customers(left)
    shop.must("sync", "everyone")
    shop.must("status", "--poll")
    assert shop.held() == expected(left)
    assert len(shop.held(partner="google")["email"]) == 120
    assert shop.held(partner="google")["email"] < before
    done = [(entry["partner"], entry["operation"]) for entry in shop.journal()]
    assert ("meta", "replace") in done
    assert ("google", "remove_all") in done
    assert shop.must("log", "verify", "--json").json["sound"] is True
    again = shop.must("sync", "everyone", "--json").json["outcomes"]
    assert {outcome["reached"] for outcome in again} == {"unchanged"}


def test_an_adopted_list_keeps_whoever_was_there(open_shop: Callable[..., Shop]) -> None:
    """L15: a list that is not ours is neither replaced nor emptied, whatever we know of it."""
    rows = people(150)
    shop = open_shop(rows, destinations="[meta-se]")
    shop.must("sync", "everyone")
    entry = next(entry for entry in shop.journal() if entry["operation"] == "add")
    shutil.rmtree(shop.folder / ".audience-sync")
    shop.customers(rows[30:])
    shop.write(destinations=f'{{meta-se: {{remote_id: "{entry["list"]}"}}}}', change=_one_audience)
    shop.must("sync")
    assert shop.held() == expected(rows)


def _one_audience(text: str) -> str:
    return text[: text.index("  swedes:")]


def test_another_account_is_another_destination(open_shop: Callable[..., Shop]) -> None:
    """Lists of one account are never believed to be those of another, by no command."""
    shop = open_shop(destinations="[meta-se]")
    shop.must("sync", "everyone")
    sent = len(shop.journal("meta"))
    shop.write(
        destinations="[meta-se]", change=lambda text: text.replace("1234567890", "2234567890", 1)
    )

    for words in (["sync", "everyone"], ["forget", "everyone", "meta-se"], ["check"]):
        ended = shop.run(*words)
        assert ended.code in (1, 2), ended
        assert "put 1234567890 back" in " ".join((ended.out + ended.err).split())
    assert len(shop.journal("meta")) == sent

    shop.write(destinations="[meta-se]")
    shop.must("sync", "everyone")
