"""A shop keeps its audience at TikTok, in both flows, through the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from shop_abroad import held, open_abroad, tell_the_story

from audience_sync.sandbox import RunningSandbox

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
