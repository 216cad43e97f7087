"""`purge`: what is older than the project keeps it goes, and the log stays verifiable."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from shop import Shop, expected, people

from audience_sync import app, retention


def _later(monkeypatch: pytest.MonkeyPatch, days: int) -> None:
    """Let so many days pass for everything that an App looks at."""
    real = app.App.open.__func__

    def opened(cls: type, *args: object, **more: object) -> app.App:
        found = real(cls, *args, **more)
        object.__setattr__(found, "now", lambda: datetime.now(UTC) + timedelta(days=days))
        return found

    monkeypatch.setattr(app.App, "open", classmethod(opened))


def _counts(shop: Shop, *more: str) -> dict[str, int]:
    found = shop.must("purge", "--json", *more).json["purged"]
    return {purged["what"]: purged["count"] for purged in found}


def test_nothing_young_goes(synced_shop: Callable[..., Shop]) -> None:
    """A purge right after a sync deletes nothing."""
    shop = synced_shop(people(12), destinations="[meta-se]")
    assert not any(_counts(shop).values())


def test_a_year_later_the_log_is_purged_and_still_verifiable(
    synced_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dry run tells the same and deletes nothing; a new sync goes on where the log ended."""
    shop = synced_shop(people(12), destinations="[meta-se]")
    before = shop.must("log", "verify", "--json").json["lines"]
    _later(monkeypatch, 400)
    told = _counts(shop, "--dry-run")
    assert told["lines of the transfer log"] == before
    assert shop.must("log", "verify", "--json").json["lines"] == before
    gone = _counts(shop)
    del gone["jobs and leases"], told["jobs and leases"]  # purging takes one itself
    assert gone == told
    found = shop.must("log", "verify", "--json").json
    assert found["sound"]
    assert (found["lines"], found["purged"]) == (0, before)
    shop.sql("DELETE FROM customers WHERE id = 1")
    shop.must("sync")
    found = shop.must("log", "verify", "--json").json
    assert found["sound"]
    assert found["lines"] > 0
    assert "were purged" in shop.must("log", "verify").out


def test_a_log_that_was_tampered_with_is_not_purged(
    synced_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The evidence stays."""
    import sqlite3  # noqa: PLC0415 - only here

    shop = synced_shop(people(12), destinations="[meta-se]")
    with sqlite3.connect(shop.folder / ".audience-sync" / "ledger.sqlite") as ledger:
        ledger.execute("DROP TRIGGER transfer_log_no_update")
        ledger.execute("UPDATE transfer_log SET sent = 1 WHERE sequence = 2")
    _later(monkeypatch, 400)
    refused = shop.run("purge")
    assert refused.code == 1
    assert "nothing of it was purged" in refused.err
    assert shop.run("log", "verify", "--json").json["broken_at"] == 2


def test_a_plan_that_nobody_approves_is_cancelled(
    open_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After two weeks its outbox goes, and the run says why."""
    shop = open_shop(people(12), destinations="[meta-se]")
    run = shop.must("plan", "everyone", "--json").json["outcomes"][0]["run"]["id"]
    _later(monkeypatch, 15)
    assert _counts(shop)["plans that waited too long"] == 1
    found = shop.must("run", run, "--json").json["run"]
    assert found["state"] == "cancelled"
    assert "retention.outboxes" in found["reason"]
    assert list((shop.folder / ".audience-sync" / "outbox").glob("*")) == []


def test_every_folder_and_file_of_the_state_has_a_limit(synced_shop: Callable[..., Shop]) -> None:
    """Whatever a sync, a plan and a withdrawal leave is named."""
    shop = synced_shop(people(12), destinations="[meta-se, google-se]")
    shop.must("plan", "everyone")
    named = {limit.name for limit in retention.FILES}
    for found in (shop.folder / ".audience-sync").iterdir():
        name = f"{found.name}/" if found.is_dir() else found.name
        assert name.removesuffix("-wal").removesuffix("-shm") in named, name


def test_withdrawals_go_years_after_every_partner_confirmed(
    synced_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With their files and keys; until then the block holds, and the newest holds on."""
    rows = people(24)
    shop = synced_shop(rows, destinations="[meta-se]")
    shop.must("withdraw", "--email", rows[0][1])
    shop.must("withdraw", "--customer-id", str(rows[1][0]))
    shop.must("withdraw", "--email", rows[2][1])
    folder = shop.folder / ".audience-sync" / "withdrawals"
    assert len(list(folder.iterdir())) == 4  # one more for what the customer was resolved to
    _later(monkeypatch, 2 * 365)
    assert _counts(shop)["withdrawals"] == 0
    assert len(list(folder.iterdir())) == 4
    shop.must("sync")
    assert shop.held("everyone") == expected(rows[3:])
    _later(monkeypatch, 4 * 365)
    assert _counts(shop, "--dry-run")["withdrawals"] == 3
    assert len(list(folder.iterdir())) == 4
    assert _counts(shop)["withdrawals"] == 3
    [left] = folder.iterdir()
    shop.must("sync")
    assert shop.held("everyone") == expected([*rows[:2], *rows[3:]])
    assert [left] == list(folder.iterdir())
