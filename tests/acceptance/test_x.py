"""A shop keeps its audience at X through the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from shop import Shop
from shop_abroad import held, open_abroad, tell_the_story

from audience_sync.sandbox import RunningSandbox
from audience_sync.sandbox.options import X_CREDENTIALS

DAY = 86_400


@pytest.fixture
def shop(tmp_path: Path, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """Thirty customers and one audience, which goes to X."""
    lines = [f"base_url: {sandbox.url}/x", "account_id: 18ce54d4x5t"]
    for name, value in X_CREDENTIALS.items():
        monkeypatch.setenv(f"X_{name.upper()}", value)
        lines.append(f"{name}: ${{X_{name.upper()}}}")
    return open_abroad(tmp_path, sandbox.url, "x", lines)


def test_the_audience_at_x_is_the_wanted_one(shop: Shop) -> None:
    """First sync, change, withdrawal, removal: identifier by identifier."""
    tell_the_story(shop, "x", "", lambda: len(shop.journal("x")))
    operations = {entry["operation"] for entry in shop.journal("x")}
    assert operations >= {"list", "create", "add", "remove", "get"}
    assert "withdraw" not in operations  # nobody asked for the Do Not Reach List


def test_a_wrong_secret_stops_x_and_says_so(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signature that X does not accept is nothing to try again."""
    monkeypatch.setenv("X_ACCESS_TOKEN_SECRET", "canary-secret")
    ended = shop.run("sync")
    assert ended.code == 1
    said = " ".join((ended.out + ended.err).split())
    assert "check this machine's clock, then the four credentials" in said
    assert "canary-secret" not in said
    assert len(shop.journal("x")) == 1
    monkeypatch.setenv("X_ACCESS_TOKEN_SECRET", X_CREDENTIALS["access_token_secret"])
    shop.must("sync")
    assert len(held(shop, "x")["email"]) == 30


def test_members_at_x_end_with_their_time(shop: Shop) -> None:
    """The expiry is on each upload, so that X forgets whom nobody sends again."""
    shop.must("sync")
    assert held(shop, "x")
    shop.control("clock", advance_seconds=389 * DAY)
    assert held(shop, "x")
    shop.control("clock", advance_seconds=2 * DAY)
    assert held(shop, "x") == {}
