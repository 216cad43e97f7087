"""The whole story through the command line, against simulated partners."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from shop import Shop, counts, expected, people

from audience_sync.runs.going_on import GoingOn
from audience_sync.sandbox import RunningSandbox


def test_init_demo_gives_a_project_that_works(tmp_path: Path, sandbox: RunningSandbox) -> None:
    """The demonstration in its real form: init, check, plan, approve, sync, status."""
    shop = Shop(tmp_path / "demo", sandbox.url)
    written = shop.must("init", "--demo", "--customers", "6000", "--sandbox", sandbox.url)
    assert "audience-sync check" in written.out
    assert "✗" not in shop.must("check").out

    planned = shop.must("plan", "all-members", "--destination", "meta-se", "--json").json
    [outcome] = planned["outcomes"]
    assert outcome["run"]["state"] == "planned"
    assert outcome["run"]["delta"]["additions"] > 1000
    assert [entry["operation"] for entry in shop.journal() if entry["operation"] == "add"] == []

    approved = shop.must("approve", outcome["run"]["id"], "--json").json
    assert approved["outcomes"][0]["run"]["state"] == "confirmed"
    assert approved["outcomes"][0]["run"]["outbox"] == outcome["run"]["outbox"]
    shop.must("sync", "all-members")
    again = shop.run("init", "--demo", "--customers", "10")
    assert again.code == 2
    assert "exists already" in again.err


def test_only_what_changed_travels_and_a_withdrawal_removes(
    open_shop: Callable[..., Shop],
) -> None:
    """First load, silence, then exactly the difference, at both partners."""
    rows = people(30)
    rows[4] = (5, "person.5@example.com", None, None, "SE")
    rows[5] = (6, "person.6@example.com", None, "denied", "SE")
    shop = open_shop(rows)

    first = shop.must("sync", "--json")
    assert counts(first)["additions"] == 28
    assert shop.held() == expected(rows)
    assert shop.held("swedes") == expected(rows, market="SE")
    assert set(shop.held(partner="google")["phone"]) != set(shop.held()["phone"])
    assert len(shop.held(partner="google")["email"]) == 28

    shop.must("status", "--poll")
    before = len(shop.journal())
    silent = shop.must("sync", "--json")
    assert [o["reached"] for o in silent.json["outcomes"]] == ["unchanged"] * 4
    assert shop.journal()[before:] == []

    rows[0] = (1, "person.1@example.com", rows[0][2], "withdrawn", "SE")
    rows[1] = (2, "new.address@example.com", rows[1][2], "granted", "SE")
    rows.append((99, "newcomer@example.com", "070 555 55 55", "granted", "SE"))
    shop.customers(rows)
    third = shop.must("sync", "--json")
    assert counts(third)["additions"] == 2
    assert counts(third)["removals"] == 2
    assert counts(third)["refused"] == 1
    assert shop.held() == expected(rows)
    assert shop.held("swedes") == expected(rows, market="SE")

    del rows[2]
    shop.customers(rows)
    shop.must("sync")
    assert shop.held() == expected(rows)


def test_the_log_tells_every_transfer_and_tampering_is_found(
    synced_shop: Callable[..., Shop],
) -> None:
    """What the log says was sent is what the partner saw; a changed line is named."""
    shop = synced_shop()
    lines = shop.must("log", "--json").json["lines"]
    outcomes = [entry["line"] for entry in lines if entry["line"]["event"] == "outcome"]
    seen = {entry["body_sha256"] for entry in shop.journal()}
    assert sum(line["batch"] is not None for line in outcomes) == 4
    assert {line["body_sha256"] for line in outcomes} <= seen
    assert all(line["recipient"] and line["recipient_country"] == "IE" for line in outcomes)
    assert all(line["sent"] == line["accepted"] for line in outcomes)
    some = shop.must("log", "--audience", "swedes", "--destination", "meta-se", "--json").json
    assert {entry["line"]["audience"] for entry in some["lines"]} == {"swedes"}
    assert shop.must("log", "--since", "1h", "--json").json["lines"] == lines
    assert shop.must("log", "--since", "2099-01-01", "--json").json["lines"] == []
    assert shop.must("log", "verify", "--json").json["sound"] is True

    with closing(sqlite3.connect(shop.folder / ".audience-sync/ledger.sqlite")) as ledger, ledger:
        for (trigger,) in ledger.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall():
            ledger.execute(f"DROP TRIGGER {trigger}")
        ledger.execute("UPDATE transfer_log SET accepted = accepted + 1 WHERE sequence = 2")
    tampered = shop.run("log", "verify")
    assert tampered.code == 1
    assert "line 2 was changed" in tampered.out


def test_a_dry_run_keeps_nothing(open_shop: Callable[..., Shop]) -> None:
    """No run, no outbox, no request that changes anything."""
    shop = open_shop()
    told = shop.must("sync", "--dry-run", "--json")
    assert counts(told)["additions"] == 24
    assert shop.must("runs", "--json").json["runs"] == []
    assert list((shop.folder / ".audience-sync").glob("**/*.sealed")) == []
    assert shop.journal() == []


def test_every_reading_command_prints_one_json_document(open_shop: Callable[..., Shop]) -> None:
    """Scripts can read stdout as it is; the logs are on stderr."""
    shop = open_shop()
    synced = shop.must("sync", "swedes", "--json").json
    run = synced["outcomes"][0]["run"]["id"]
    for words in (
        ["check"], ["status"], ["runs"], ["run", run], ["log"], ["log", "verify"],
        ["connectors"], ["plan", "everyone"], ["sync", "everyone"],
    ):  # fmt: skip
        assert isinstance(shop.must(*words, "--json").json, dict), words
    wrong = shop.run("run", "nonsense", "--json")
    assert wrong.code == 2
    assert "no run nonsense" in wrong.json["error"]
    shop.must("schema")


def test_people_read_the_same_story(
    open_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables fit into 80 columns and name what was reached."""
    monkeypatch.setenv("COLUMNS", "80")
    shop = open_shop()
    for words in (["sync"], ["status", "--poll"], ["runs"], ["log"], ["connectors"], ["check"]):
        told = shop.must(*words).out
        assert max(len(line.rstrip()) for line in told.splitlines()) <= 80, words
    status = shop.must("status").out
    assert "processed" in status
    assert "10-11" in status  # the size range that Meta tells
    assert "never" not in status


def test_a_list_that_the_project_forgot_is_still_shown(open_shop: Callable[..., Shop]) -> None:
    """Members at a partner do not vanish because a line of the project did."""
    shop = open_shop(destinations="[meta-se]")
    shop.must("sync", "swedes")
    shop.write(destinations="[meta-se]", change=lambda text: text.replace("swedes:", "danes:"))
    told = shop.must("status", "--json").json["lists"]
    assert [(place["audience"], place["members"]) for place in told][-1] == ("swedes", 16)
    assert told[-1]["in_project"] is False
    assert "no longer in" in shop.must("status").out


def test_sync_tells_what_a_poll_has_just_learned(open_shop: Callable[..., Shop]) -> None:
    """A final answer that came within the same command is the one that is shown."""
    shop = open_shop(
        destinations="[google-se]",
        change=lambda text: text.replace("poll_after: 0.01", "poll_after: 0"),
    )
    [outcome] = shop.must("sync", "everyone", "--json").json["outcomes"]
    assert outcome["run"]["state"] == "confirmed"
    assert outcome["reached"] == "processed"
    assert [run["state"] for run in shop.must("runs", "--json").json["runs"]] == ["confirmed"]


def test_a_sync_asks_first_what_became_of_the_last(
    open_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else whoever leaves might still be on the way, and would have to leave once more."""
    shop = open_shop(destinations="[google-se]")
    with monkeypatch.context() as silent:
        silent.setattr(GoingOn, "poll_due", lambda _self, **_how: [])
        [first] = shop.must("sync", "everyone", "--json").json["outcomes"]
    assert first["run"]["state"] == "delivered"
    shop.sql("UPDATE customers SET consent = 'withdrawn' WHERE id = 1")
    [second] = shop.must("sync", "everyone", "--json").json["outcomes"]
    assert second["run"]["delta"]["removals"] == 1
    assert shop.must("run", first["run"]["id"], "--json").json["run"]["state"] == "confirmed"
    [third] = shop.must("sync", "everyone", "--json").json["outcomes"]
    assert third["run"]["delta"]["removals"] == 0
