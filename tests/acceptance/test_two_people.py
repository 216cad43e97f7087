"""Two people decide about a held run, where the project asks for it; nobody overrules a partner."""

from __future__ import annotations

import pwd
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from shop import Shop, people

from audience_sync import app, targeting
from audience_sync.addresses import is_here

TWO = "approval: {two_people: true}\n"


def _held(shop: Shop) -> str:
    held = shop.run("sync", "everyone", "--json")
    assert held.code == 3, held
    return str(held.json["outcomes"][0]["run"]["id"])


def _as(patch: pytest.MonkeyPatch, name: str) -> None:
    patch.setattr(pwd, "getpwuid", lambda _user: SimpleNamespace(pw_name=name))


def _open(open_shop: Callable[..., Shop], change: Callable[[str], str]) -> Shop:
    return open_shop(
        people(12), guards="{minimum_members: 50}", destinations="[meta-se]", change=change
    )


def test_whoever_planned_a_held_run_may_not_approve_it(
    open_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sent, the sentence says what to do; another person may, and the log names both."""
    shop = _open(open_shop, lambda text: text + TWO)
    _as(monkeypatch, "anna")
    run = _held(shop)
    refused = shop.run("approve", run)
    assert refused.code == 2
    assert "anna planned run" in refused.err
    assert "another person has to approve it" in refused.err
    assert shop.journal() == []
    assert shop.must("run", run, "--json").json["run"]["planned_by"] == "anna"
    _as(monkeypatch, "bob")
    approved = shop.must("approve", run, "--json").json["outcomes"][0]["run"]
    assert (approved["planned_by"], approved["approved_by"]) == ("anna", "bob")
    [line] = [
        entry["line"]
        for entry in shop.must("log", "--json").json["lines"]
        if entry["line"]["event"] == "approved"
    ]
    assert line["actor"] == "bob"
    assert line["note"].startswith("planned by anna; ")


def test_force_is_refused_where_two_people_decide(
    open_shop: Callable[..., Shop],
) -> None:
    """Before anything is read or sent."""
    shop = _open(open_shop, lambda text: text + TWO)
    refused = shop.run("sync", "everyone", "--force")
    assert refused.code == 2
    assert "sync without --force" in refused.err
    assert shop.journal() == []
    assert shop.must("runs", "--json").json["runs"] == []


def test_a_run_that_no_guard_held_needs_one_person(
    open_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two people are for what looks wrong."""
    shop = open_shop(people(12), destinations="[meta-se]", change=lambda text: text + TWO)
    _as(monkeypatch, "anna")
    planned = shop.must("plan", "everyone", "--json").json["outcomes"][0]["run"]["id"]
    shop.must("approve", planned)


def test_a_held_run_of_unknown_origin_is_planned_anew(
    open_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that an older version planned proves no second person."""
    shop = _open(open_shop, lambda text: text + TWO)
    monkeypatch.setattr(app.App, "planner", None)
    refused = shop.run("approve", _held(shop))
    assert refused.code == 2
    assert "nobody knows who planned" in refused.err


def test_without_the_setting_one_person_decides(open_shop: Callable[..., Shop]) -> None:
    """As before; the log names who planned all the same."""
    shop = _open(open_shop, str)
    shop.must("approve", _held(shop))


@pytest.mark.parametrize("guards", ["{minimum_members: off}", "{minimum_members: 1}"])
def test_nobody_overrules_a_partners_minimum(
    open_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch, guards: str
) -> None:
    """Neither the project's guards nor force nor an approval sends so few people."""
    monkeypatch.setattr(targeting, "is_here", lambda _url: False)
    shop = open_shop(people(12), guards=guards, destinations="[meta-se]")
    run = _held(shop)
    for words in (["approve", run], ["sync", "everyone", "--force"]):
        refused = shop.run(*words)
        assert refused.code != 0
        told = refused.out + refused.err
        assert "fewer members than the 100 that meta-se takes" in told, told
    assert not [entry for entry in shop.journal() if entry["operation"] == "add"]


def test_who_leaves_a_list_may_leave_however_few_stay(
    open_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A partner's minimum keeps nobody on a list."""
    rows = people(12)
    shop = open_shop(rows, destinations="[meta-se]")
    shop.must("sync", "everyone")
    monkeypatch.setattr(targeting, "is_here", lambda _url: False)
    shop.customers([(*row[:3], "withdrawn", row[4]) if row[0] > 9 else row for row in rows])
    held = _held(shop)
    shop.must("approve", held)
    assert len(shop.held()["email"]) == 9


@pytest.mark.parametrize(
    ("url", "simulated"),
    [
        ("http://127.0.0.1:8600/meta", True),
        ("http://localhost:8600", True),
        ("http://[::1]:8600", True),
        ("https://graph.facebook.com", False),
        ("https://127.0.0.1.example.com", False),
        ("http://10.0.0.7", False),
        ("", False),
    ],
)
def test_only_this_machine_simulates(url: str, simulated: bool) -> None:
    """A minimum is the partner's own wherever people's data would leave this machine."""
    assert is_here(url) is simulated
