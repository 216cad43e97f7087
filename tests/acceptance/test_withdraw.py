"""Somebody withdraws at the command line, and both partners' lists lose them at once."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from shop import Shop, expected, people


def test_a_withdrawal_reaches_every_list_without_a_sync(
    open_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its value is read from stdin and shown nowhere; the person is added by no later sync."""
    rows = people(12)
    shop = open_shop(rows)
    shop.must("sync")
    email = rows[3][1]
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{email}\n"))
    told = shop.run("withdraw", "--email", "-")
    assert told.code == 0, told
    assert email not in told.out + told.err

    left = [row for row in rows if row is not rows[3]]
    for audience in ("everyone", "swedes"):
        chosen = left if audience == "everyone" else [row for row in left if row[4] == "SE"]
        assert shop.held(audience) == expected(chosen)
        assert shop.held(audience, "google")["email"] == expected(chosen)["email"]
    shop.must("sync")
    assert shop.held("everyone") == expected(left)
    found = shop.must("withdrawals", "--deliver", "--json").json
    assert found["clock"]["late"] == found["clock"]["near"] == 0
    assert found["clock"]["p95"] is not None
    assert "withdraw" in shop.must("log").out
    assert shop.must("log", "verify").code == 0


def test_a_file_and_a_customer_id(open_shop: Callable[..., Shop]) -> None:
    """Many at once by any column, and one by the shop's own key."""
    rows = people(12)
    shop = open_shop(rows)
    shop.must("sync")
    written = "".join(f"{row[1]},\n" for row in rows[:3]) + f",{rows[3][2]}\n,nonsense\n"
    (shop.folder / "leaving.csv").write_text("email,phone\n" + written)
    told = shop.run("withdraw", "--file", str(shop.folder / "leaving.csv"), "--json")
    assert told.code == 4, told  # one row cannot be read: somebody should look at it
    assert (told.json["people"], told.json["unusable"]) == (4, 1)
    assert shop.run("withdraw", "--customer-id", str(rows[4][0])).code == 0
    assert shop.held("everyone") == expected(rows[5:])
    assert shop.held("everyone", "google")["email"] == expected(rows[5:])["email"]


def test_one_partner_only(open_shop: Callable[..., Shop]) -> None:
    """The other keeps the person, now and after a sync."""
    rows = people(12)
    shop = open_shop(rows)
    shop.must("sync")
    assert shop.run("withdraw", "--email", rows[0][1], "--partner", "meta").code == 0
    shop.must("sync")
    assert shop.held("everyone") == expected(rows[1:])
    assert shop.held("everyone", "google")["email"] == expected(rows)["email"]
    wrong = shop.run("withdraw", "--email", rows[0][1], "--partner", "mata")
    assert wrong.code == 2
    assert shop.run("withdraw").code == 2
