"""A shop keeps its audience at Pinterest through the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import requests
from shop import PATIENCE, Shop, people
from shop_abroad import held, open_abroad, tell_the_story

from audience_sync.sandbox import RunningSandbox
from audience_sync.sandbox.options import PINTEREST_CREDENTIALS


@pytest.fixture
def shop(tmp_path: Path, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """Thirty customers and one audience, which goes to Pinterest."""
    monkeypatch.setenv("PINTEREST_SECRET", PINTEREST_CREDENTIALS["app_secret"])
    monkeypatch.setenv("PINTEREST_REFRESH_TOKEN", PINTEREST_CREDENTIALS["refresh_token"])
    lines = (
        f"base_url: {sandbox.url}/pinterest/v5",
        'ad_account_id: "549756359984"',
        "app_id: sandbox-app",
        "app_secret: ${PINTEREST_SECRET}",
        "refresh_token: ${PINTEREST_REFRESH_TOKEN}",
        "poll_after: 0.01",
    )
    return open_abroad(tmp_path, sandbox.url, "pinterest", lines)


def _renewals(shop: Shop) -> int:
    asked = {"partner": "pinterest", "operation": "token"}
    found = requests.get(f"{shop.url}/_control/journal", params=asked, timeout=PATIENCE)
    return len(found.json()["requests"])


def _lists(shop: Shop) -> list[dict[str, Any]]:
    state = requests.get(f"{shop.url}/_control/state", timeout=PATIENCE).json()
    return list(state["pinterest"]["lists"])


def _told(shop: Shop) -> str:
    """What `status` shows after asking Pinterest."""
    return shop.must("status", "--poll", "--json").out


def test_the_audience_at_pinterest_is_the_wanted_one(shop: Shop) -> None:
    """First sync, change, withdrawal, removal: record by record, and nobody made up is left."""
    tell_the_story(shop, "pinterest", None, lambda: len(shop.journal("pinterest")))
    assert _renewals(shop) == 1
    [listed] = _lists(shop)
    assert listed["name"] == "corner-shop everyone [audience-sync:corner-shop/everyone/abroad]"
    assert listed["audiences"] == []  # thirty customers are too few


def test_the_audience_on_top_is_made_once_the_list_is_big_enough(shop: Shop) -> None:
    """Below a hundred matched people Pinterest refuses it; the delivery after that makes it."""
    shop.customers(people(120))
    shop.must("sync")
    assert (_lists(shop)[0]["status"], _lists(shop)[0]["audiences"]) == ("TOO_SMALL", [])
    assert "list too small, no audience yet" in _told(shop)
    shop.customers(people(200))
    shop.must("sync")
    _told(shop)
    [top] = _lists(shop)[0]["audiences"]
    shop.customers(people(210))
    shop.must("sync")
    assert "list ready, audience ready" in _told(shop)
    assert _lists(shop)[0]["audiences"] == [top]
    assert len(held(shop, "pinterest")["email"]) == 210


def test_processes_share_the_token_and_a_lost_one_is_told(shop: Shop) -> None:
    """Commands begin with what is kept; only the first one renews, until it is refused."""
    assert shop.in_process("check").code == 0
    for words in (("check",), ("sync",), ("status", "--poll")):
        shop.must(*words)
    assert _renewals(shop) == 1
    secrets = PINTEREST_CREDENTIALS["refresh_token"], "pinr.", "pina."
    kept = [path for path in shop.folder.rglob("credentials/**/*") if path.is_file()]
    assert len(kept) == 1
    assert not any(secret.encode() in kept[0].read_bytes() for secret in secrets)

    shop.fault("expired-token", operation="list", partner="pinterest")
    shop.must("check")
    assert _renewals(shop) == 2

    kept[0].unlink()
    ended = shop.run("check")
    assert ended.code != 0
    assert "authorise the app again and set its refresh_token" in " ".join(ended.out.split())


def test_a_lost_answer_makes_no_twin_and_leaves_nobody_made_up(shop: Shop) -> None:
    """The list was made and we did not hear of it: it is found by its name the next time."""
    shop.fault("fail-after-change", operation="create", partner="pinterest", then="drop")
    assert shop.run("sync").code == 1
    assert len(_lists(shop)) == 1
    shop.must("sync")
    assert len(_lists(shop)) == 1
    assert len(held(shop, "pinterest")["email"]) == 30
