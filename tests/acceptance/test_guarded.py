"""Runs that a guard holds: a person decides, and the log says who did."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from datetime import timedelta

import pytest
from shop import Ended, Shop, expected, people

from audience_sync.runs import permits


def _run_of(ended: Ended) -> str:
    return str(ended.json["outcomes"][0]["run"]["id"])


def test_a_held_run_waits_and_approve_delivers_what_was_shown(
    open_shop: Callable[..., Shop],
) -> None:
    """Exit 3 and no upload; the approved outbox is the one that was shown, whatever came since."""
    rows = people(12)
    shop = open_shop(rows, guards="{minimum_members: 50}", destinations="[meta-se]")
    held = shop.run("sync", "everyone", "--json")
    assert held.code == 3
    assert shop.journal() == []
    told = shop.run("sync", "everyone")
    assert told.code == 3
    assert "fewer than" in told.out
    assert "audience-sync approve r" in told.out

    waiting = _run_of(shop.run("sync", "everyone", "--json"))
    shop.customers([*rows, (50, "late@example.com", None, "granted", "SE")])
    approved = shop.must("approve", waiting, "--json").json["outcomes"][0]["run"]
    assert approved["id"] == waiting
    assert approved["approved_by"] == getpass.getuser()
    assert shop.held() == expected(rows)
    assert "approved" in {
        entry["line"]["event"] for entry in shop.must("log", "--json").json["lines"]
    }
    again = shop.run("approve", waiting)
    assert again.code == 2
    assert "nothing to approve" in again.err


@pytest.mark.parametrize("command", ["approve", "resume"])
def test_what_the_project_no_longer_names_is_not_sent(
    open_shop: Callable[..., Shop], command: str
) -> None:
    """An old plan for a destination that was taken out of the audience cannot be delivered."""
    shop = open_shop(people(12), destinations="[meta-se]")
    planned = _run_of(shop.must("plan", "everyone", "--json"))
    shop.write(destinations="[google-se]")
    refused = shop.run(command, planned)
    assert refused.code == 2
    assert "audience everyone no longer names meta-se" in refused.err
    assert shop.journal() == []
    assert shop.must("log", "--json").json["lines"] == []
    shop.must("cancel", planned)


def test_an_old_plan_is_not_delivered(
    open_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a week too many may have changed their minds; before, the plan's age is told."""
    shop = open_shop(people(12), destinations="[meta-se]")
    planned = _run_of(shop.must("plan", "everyone", "--json"))
    with monkeypatch.context() as patch:
        patch.setattr(permits, "LONGEST_WAIT", timedelta(0))
        refused = shop.run("approve", planned)
    assert refused.code == 2
    assert "plan again" in refused.err
    assert shop.journal() == []
    approved = shop.must("approve", planned)
    assert "planned just now" in approved.out


def test_force_sends_at_once_and_says_so(open_shop: Callable[..., Shop]) -> None:
    """The log names who sent what a guard would have held."""
    shop = open_shop(guards="{minimum_members: 50}", destinations="[meta-se]")
    shop.must("sync", "everyone", "--force")
    forced = [
        entry["line"]
        for entry in shop.must("log", "--json").json["lines"]
        if entry["line"]["event"] == "forced"
    ]
    assert [line["actor"] for line in forced] == [getpass.getuser()]
    assert "fewer than" in forced[0]["note"]


def test_cancel_drops_a_held_run(open_shop: Callable[..., Shop]) -> None:
    """Nothing was sent and nothing of it stays; resuming it is refused."""
    shop = open_shop(guards="{minimum_members: 50}", destinations="[meta-se]")
    run = _run_of(shop.run("sync", "everyone", "--json"))
    assert shop.run("resume", run).code == 3
    assert shop.must("cancel", run, "--json").json["outcomes"][0]["run"]["state"] == "cancelled"
    assert shop.journal() == []
    assert list((shop.folder / ".audience-sync/outbox").glob("*")) == []
    assert shop.run("approve", run).code == 2
    assert shop.run("resume", run).code == 2


def test_too_many_removals_are_held_but_withdrawals_are_not(
    open_shop: Callable[..., Shop],
) -> None:
    """Half the rows missing is an accident; half the people withdrawing is their right."""
    rows = people(20)
    shop = open_shop(
        rows,
        guards="{minimum_members: off, maximum_consent_drop: off, maximum_growth: off}",
        destinations="[meta-se]",
    )
    shop.must("sync", "everyone")
    shop.customers(rows[:11])
    accident = shop.run("sync", "everyone")
    assert accident.code == 3
    assert "would be removed" in accident.out
    assert shop.held() == expected(rows)

    withdrawn = [(*row[:3], "withdrawn", row[4]) if row[0] > 8 else row for row in rows]
    shop.customers(withdrawn)
    shop.must("sync", "everyone")
    assert shop.held() == expected(withdrawn)
    assert len(shop.held()["email"]) == 8


@pytest.mark.parametrize("kind", ["email", "phone", "idfa"])
def test_a_refusal_by_any_identifier_is_never_held(
    open_shop: Callable[..., Shop], kind: str
) -> None:
    """Other accounts refuse with the same address, number or device: no guard counts that."""
    rows = people(10)
    shop = open_shop(
        rows,
        guards="{minimum_members: off, maximum_consent_drop: off, maximum_growth: off}",
        destinations="[meta-se]",
        change=lambda text: text.replace("phone: phone, ", "phone: phone, idfa: idfa, "),
    )
    shop.sql("ALTER TABLE customers ADD COLUMN idfa TEXT")
    shop.sql("UPDATE customers SET idfa = '6d92078a-8246-4ba4-ae5b-' || printf('%012d', id)")
    shop.must("sync", "everyone")
    assert shop.held() == expected(rows)
    others = {"email": "NULL", "phone": "NULL", "idfa": "NULL"} | {kind: kind}
    shop.sql(
        "INSERT INTO customers SELECT id + 100, "  # noqa: S608 - our own columns
        f"{others['email']}, {others['phone']}, 'denied', market, {others['idfa']} "
        "FROM customers WHERE id > 3"
    )
    shop.must("sync", "everyone")
    assert shop.held() == expected(rows[:3])


def test_an_empty_source_is_held(open_shop: Callable[..., Shop]) -> None:
    """No rows at all is never taken for everybody having left."""
    rows = people(20)
    shop = open_shop(rows, guards="{}", destinations="[meta-se]")
    shop.run("sync", "everyone", "--force")
    shop.sql("DELETE FROM customers")
    empty = shop.run("sync", "everyone")
    assert empty.code == 3
    assert "the source has no rows" in empty.out
    assert shop.held() == expected(rows)
