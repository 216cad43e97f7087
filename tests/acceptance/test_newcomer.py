"""What somebody new to the product runs into: each sentence names the next step."""

from __future__ import annotations

import base64
import os
import pwd
from collections.abc import Callable

import pytest
from shop import Shop, expected, people

Open = Callable[..., Shop]


def test_a_list_that_vanished_is_forgotten_on_advice(open_shop: Open) -> None:
    """The failing sync names the cure itself, and the cure works and stands in the log."""
    rows = people(3)
    shop = open_shop(rows, destinations="[meta-se]")
    shop.must("sync", "everyone")
    shop.control("reset")
    shop.sql("DELETE FROM customers WHERE id = 3")
    told = shop.run("sync", "everyone")
    assert told.code == 1
    assert "audience-sync forget everyone meta-se" in " ".join(told.out.split())
    shop.must("forget", "everyone", "meta-se")
    last = shop.must("log", "--json").json["lines"][-1]["line"]
    assert (last["event"], last["audience"], last["destination"]) == (
        "forgotten",
        "everyone",
        "meta-se",
    )
    assert last["actor"]
    assert last["reference"]
    assert "forgotten" in shop.must("log").out
    assert "none changed" in shop.must("log", "verify").out
    shop.must("sync", "everyone")
    assert shop.held() == expected(rows[:2])


def test_a_secret_of_serve_stops_no_other_command(
    open_shop: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who syncs need not know the key of who sends withdrawals; `check` and `serve` ask for it."""
    monkeypatch.delenv("WEBHOOK_KEY", raising=False)
    section = '\nwebhooks: {keys: {shop: "${WEBHOOK_KEY}"}}\n'
    shop = open_shop(people(3), change=lambda text: text + section, destinations="[meta-se]")
    shop.must("sync", "everyone")
    shop.must("withdraw", "--customer-id", "1")
    shop.must("status")
    for command in (["check"], ["serve", "--port", "0"]):
        told = shop.run(*command)
        assert told.code != 0
        assert "variable WEBHOOK_KEY is not set; set it" in " ".join((told.out + told.err).split())


def test_a_refusal_with_the_list_in_place_advises_nothing(open_shop: Open) -> None:
    """Only a list that its partner no longer has is worth forgetting."""
    shop = open_shop(people(3), destinations="[meta-se]")
    shop.must("sync", "everyone")
    shop.sql("DELETE FROM customers WHERE id = 3")
    shop.fault("terms-not-accepted", operation="remove", times=5)
    told = shop.run("sync", "everyone")
    assert told.code == 1
    assert "forget" not in told.out


def test_status_says_how_an_interrupted_delivery_goes_on(open_shop: Open) -> None:
    """The hint that Ctrl-C gave is still there when somebody looks later."""
    shop = open_shop(people(3), destinations="[meta-se]")
    shop.fault("5xx", times=50)
    shop.run("sync", "everyone")
    [run] = shop.must("runs", "--json").json["runs"]
    assert run["state"] == "delivering"
    assert f"audience-sync resume {run['id']}" in shop.must("status").out
    shop.clear_faults()
    shop.must("resume", run["id"])
    assert "resume" not in shop.must("status").out


def test_a_sync_says_that_it_takes_the_place_of_an_older_plan(open_shop: Open) -> None:
    """A plan that somebody waits to approve does not vanish silently."""
    shop = open_shop(people(3), destinations="[meta-se]")
    planned = shop.must("plan", "everyone", "--json").json["outcomes"][0]["run"]["id"]
    told = " ".join(shop.must("sync", "everyone").out.split())
    assert f"The older plan {planned} of everyone at meta-se was cancelled" in told
    assert "older plan" not in shop.must("sync", "everyone").out


def test_plans_that_a_sync_replaces_are_told_in_one_sentence(open_shop: Open) -> None:
    """However many lists had a plan."""
    shop = open_shop(people(3), destinations="[meta-se, google-se]")
    plans = shop.must("plan", "everyone", "--json").json["outcomes"]
    told = " ".join(shop.must("sync", "everyone").out.split())
    assert "2 older plans were cancelled for newer ones: " in told
    assert told.count("older plan") == 1
    assert all(plan["run"]["id"] in told for plan in plans)


def test_who_cancelled_a_run_is_told(open_shop: Open) -> None:
    """By the login, as an approval is."""
    shop = open_shop(people(3), destinations="[meta-se]")
    [plan] = shop.must("plan", "everyone", "--json").json["outcomes"]
    shop.must("cancel", plan["run"]["id"])
    [run] = shop.must("runs", "--json").json["runs"]
    assert run["reason"] == f"cancelled by {pwd.getpwuid(os.getuid()).pw_name}"


@pytest.mark.parametrize("columns", ["80", ""])
def test_the_log_names_the_run_however_narrow(
    open_shop: Open, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    """The run is what the other commands ask for; a long sentence makes its own line long."""
    monkeypatch.setenv("COLUMNS", columns)
    shop = open_shop(people(3), destinations="[meta-se]")
    [plan] = shop.must("plan", "everyone", "--json").json["outcomes"]
    run = plan["run"]["id"]
    shop.must("approve", run)
    told = shop.must("log", "--run", run).out.splitlines()
    assert sum(run in line for line in told) == len(
        shop.must("log", "--run", run, "--json").json["lines"]
    )
    if columns:
        assert max(map(len, told)) <= int(columns)
    else:
        assert sum(len(line) > 110 for line in told) <= 1


def test_times_tell_their_zone(open_shop: Open) -> None:
    """Once, in the header."""
    shop = open_shop(people(3), destinations="[meta-se]")
    shop.must("sync", "everyone")
    [run] = shop.must("runs", "--json").json["runs"]
    assert "planned UTC" in shop.must("runs").out
    assert "when UTC" in shop.must("log").out
    assert " UTC" in shop.must("run", run["id"]).out
    shop.write(
        destinations="[meta-se]",
        change=lambda text: text.replace("policy:", "timezone: Europe/Stockholm\npolicy:"),
    )
    for command in ("runs", "log"):  # the zone is folded where it would widen the times
        told = shop.must(command).out
        assert ("Europe/" in told, "Stockholm" in told) == (True, True)


@pytest.mark.parametrize(
    ("written", "instead", "key"),
    [
        ("email: email", "email: mail", "source.columns.email"),
        ("table: customers", "table: clients", "source.table"),
        ("sqlite:///customers.db", "sqlite:///clients.db", "source.url"),
    ],
)
def test_what_the_source_does_not_have_names_file_and_line(
    open_shop: Open, written: str, instead: str, key: str
) -> None:
    """The mistake stands in the project file, so the sentence begins with its place there."""
    shop = open_shop(people(3), change=lambda text: text.replace(written, instead))
    [line] = [
        number
        for number, text in enumerate(shop.project.read_text().splitlines(), start=1)
        if instead in text
    ]
    told = shop.run("sync", "everyone")
    assert told.code == 2, told
    assert f"audience-sync: audience-sync.yaml:{line}: " in told.err
    assert key in told.err
    [wrong] = [f for f in shop.run("check", "--json").json["findings"] if not f["ok"]]
    assert wrong["detail"].startswith(f"audience-sync.yaml:{line}: ")


def test_a_missing_file_is_a_wrong_project(open_shop: Open) -> None:
    """Of files as of databases: 2, as the manual says, with file and line."""
    shop = open_shop(
        people(3),
        change=lambda text: text.replace("sqlite:///customers.db", "gone-*.csv").replace(
            "  table: customers\n", ""
        ),
    )
    told = shop.run("sync", "everyone")
    assert told.code == 2, told
    assert "audience-sync.yaml:4: source.url: no file matches gone-*.csv" in told.err


def test_a_wrong_state_key_is_told_as_such(
    open_shop: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`cancel` must not take a delivery that it cannot decrypt for one that is lost."""
    right, fingerprint = (base64.b64encode(os.urandom(32)).decode() for _ in range(2))
    monkeypatch.setenv("AUDIENCE_SYNC_STATE_KEYS", f"one:{right}")
    monkeypatch.setenv("AUDIENCE_SYNC_FINGERPRINT_KEY", fingerprint)
    shop = open_shop(people(3), destinations="[meta-se]")
    shop.fault("5xx", times=50)
    shop.run("sync", "everyone")
    [run] = shop.must("runs", "--json").json["runs"]
    wrong = base64.b64encode(os.urandom(32)).decode()
    for keys in (f"one:{wrong}", f"two:{wrong}", f"two:{wrong},one:{wrong}"):
        monkeypatch.setenv("AUDIENCE_SYNC_STATE_KEYS", keys)
        for words in (["cancel", run["id"]], ["resume", run["id"]], ["sync"]):
            told = shop.run(*words)
            assert told.code == 2, told
            assert "AUDIENCE_SYNC_STATE_KEYS" in told.err
            assert "audience-sync cancel" not in told.err
    monkeypatch.setenv("AUDIENCE_SYNC_STATE_KEYS", f"two:{wrong},one:{right}")
    assert shop.must("cancel", run["id"]).code == 0
    shop.clear_faults()
    shop.must("sync", "everyone")
    monkeypatch.setenv("AUDIENCE_SYNC_STATE_KEYS", f"two:{wrong}")
    shop.must("check")  # by now every file was written with the new key
    monkeypatch.setenv("AUDIENCE_SYNC_STATE_KEYS", f"three:{right}")
    [told] = [f for f in shop.run("check", "--json").json["findings"] if not f["ok"]]
    assert told["subject"] == "state"
    assert "AUDIENCE_SYNC_STATE_KEYS" in told["detail"]


def test_a_dry_run_advises_nothing_about_a_plan_that_it_forgets(open_shop: Open) -> None:
    """A held one is told with its reason, but there is no run to approve."""
    shop = open_shop(people(3), destinations="[meta-se]", guards="{minimum_members: 10}")
    told = shop.run("sync", "everyone", "--dry-run")
    assert told.code == 3
    assert "is held" in told.out
    assert "audience-sync approve" not in told.out
    assert "audience-sync approve" in shop.run("sync", "everyone").out
