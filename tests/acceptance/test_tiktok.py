"""A shop keeps its audience at TikTok, in both flows, through the command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from shop import PATIENCE, Shop, people
from shop_abroad import held, open_abroad, tell_the_story, wanted

from audience_sync.sandbox import RunningSandbox, running_sandbox

SETTINGS = (
    'advertiser_id: "7000000000000000001"',
    "access_token: file:secrets/partner-token",
)


@pytest.mark.parametrize(("flow", "parts"), [("streaming", 1), ("files", 2)])
def test_the_audience_at_tiktok_is_the_wanted_one(
    flow: str, parts: int, tmp_path: Path, sandbox: RunningSandbox
) -> None:
    """First sync, change, withdrawal, removal: identifier by identifier."""
    base = f"base_url: {sandbox.url}/tiktok"
    shop = open_abroad(tmp_path, sandbox.url, "tiktok", [base, f"flow: {flow}", *SETTINGS])
    tell_the_story(shop, "tiktok", "+", lambda: len(shop.journal("tiktok")))
    found = {entry["list"] for entry in shop.journal("tiktok") if entry["operation"] == "remove"}
    assert len(found) == parts  # e-mails and phones are audiences of their own in files


def test_a_revoked_token_stops_tiktok_and_says_so(tmp_path: Path, sandbox: RunningSandbox) -> None:
    """TikTok's refusal is an HTTP 200; nobody is held and nothing is tried for ever."""
    base = f"base_url: {sandbox.url}/tiktok"
    shop = open_abroad(tmp_path, sandbox.url, "tiktok", [base, *SETTINGS])
    shop.fault("expired-token", operation="add", partner="tiktok", times=None)
    ended = shop.run("sync")
    assert ended.code == 1
    assert "authorise the app again" in " ".join((ended.out + ended.err).split())
    assert held(shop, "tiktok") == {}
    assert len([one for one in shop.journal("tiktok") if one["operation"] == "add"]) == 1
    shop.clear_faults()
    shop.must("sync")
    assert len(held(shop, "tiktok")["email"]) == 30


@pytest.mark.parametrize("flow", ["streaming", "files"])
def test_whom_tiktok_refused_with_success_nobody_counts_as_sent(
    flow: str, tmp_path: Path, sandbox: RunningSandbox
) -> None:
    """A refusal in HTTP 200 is certain: nobody is held, and the log says what to mend."""
    base = f"base_url: {sandbox.url}/tiktok"
    shop = open_abroad(tmp_path, sandbox.url, "tiktok", [base, f"flow: {flow}", *SETTINGS])
    shop.customers(people(30))
    shop.fault("conflict", operation="add", partner="tiktok", code=40700)
    assert shop.run("sync").code == 1
    assert _members(shop) == 30  # said in the midst of the work, perhaps
    shop.fault("conflict", operation="add", partner="tiktok", code=40002)
    other = open_abroad(tmp_path / "b", sandbox.url, "tiktok", [base, f"flow: {flow}", *SETTINGS])
    other.customers(people(30))
    assert other.run("sync").code == 1
    assert _members(other) == 0
    other.must("sync")
    assert _members(other) == 30


def _members(shop: Shop) -> int:
    return sum(one["members"] for one in shop.must("status", "--json").json["lists"])


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[Shop]:
    """A shop with lists from files at a TikTok that keeps a thousand people on each."""
    with running_sandbox(tiktok_strict_minimum=True) as sandbox:
        base = f"base_url: {sandbox.url}/tiktok"
        shop = open_abroad(tmp_path, sandbox.url, "tiktok", [base, "flow: files", *SETTINGS])
        shop.customers(people(30))
        shop.must("sync")
        yield shop


def _decide(shop: Shop, policy: str) -> None:
    text = shop.project.read_text()
    shop.project.write_text(f"{text}withdrawals: {{on_refused_removal: {policy}}}\n")


@pytest.mark.parametrize("policy", ["delete", "empty_and_rebuild"])
def test_a_withdrawal_that_tiktok_refuses_takes_the_list_away(strict: Shop, policy: str) -> None:
    """As the project decides; TikTok empties no list from files either, so that both delete it.

    The next sync makes another, without whoever withdrew.
    """
    rows, before = people(30), _ids(strict)
    _decide(strict, policy)
    told = strict.must("withdraw", "--email", rows[0][1])
    assert rows[0][1] not in told.out + told.err
    assert "so the list was deleted (30 members)" in told.out
    assert held(strict, "tiktok") == {}
    assert _ids(strict) == []
    assert "No withdrawal is on its way" in strict.must("withdrawals").out
    strict.must("sync")
    assert held(strict, "tiktok") == wanted(rows[1:], "+")
    assert not set(_ids(strict)) & set(before)
    assert strict.must("log", "verify", "--json").json["sound"] is True


def test_a_withdrawal_that_tiktok_refuses_stays_open_unless_the_project_decides(
    strict: Shop,
) -> None:
    """The operator is told what to do, and nobody counts as gone who is still there."""
    rows, before = people(30), held(strict, "tiktok")
    told = strict.run("withdraw", "--email", rows[0][1])
    assert told.code != 0
    said = " ".join((told.out + told.err).split())
    assert "on_refused_removal" in said
    assert rows[0][1] not in said
    assert held(strict, "tiktok") == before
    _decide(strict, "delete")
    ended = strict.must("withdrawals", "--deliver", "--json").json
    assert [one["deleted"] for one in ended["taken_away"]] == [True]
    assert held(strict, "tiktok") == {}


def test_a_list_that_tiktok_does_not_delete_keeps_the_withdrawal_open(strict: Shop) -> None:
    """An ad group uses it: the operator is told, and the next attempt ends it."""
    rows, before = people(30), held(strict, "tiktok")
    _decide(strict, "delete")
    strict.fault("conflict", operation="delete", partner="tiktok", code=40002)
    told = strict.run("withdraw", "--email", rows[0][1])
    assert told.code != 0
    assert "ad group" in " ".join((told.out + told.err).split())
    assert held(strict, "tiktok") == before
    strict.must("withdrawals", "--deliver")
    assert held(strict, "tiktok") == {}


def _ids(shop: Shop) -> list[str]:
    state = requests.get(f"{shop.url}/_control/state", timeout=PATIENCE).json()
    return [one["id"] for one in state["tiktok"]["lists"]]


def test_a_destination_decides_for_itself_what_a_refusal_leads_to(strict: Shop) -> None:
    """The project's word is for all others."""
    text = strict.project.read_text()
    own = text.replace("flow: files", "flow: files\n    on_refused_removal: delete")
    assert own != text
    strict.project.write_text(f"{own}withdrawals: {{on_refused_removal: alert}}\n")
    strict.must("withdraw", "--email", people(30)[0][1])
    assert held(strict, "tiktok") == {}
    assert _ids(strict) == []
