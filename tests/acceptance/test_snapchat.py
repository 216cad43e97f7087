"""A shop keeps its audience at Snapchat through the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from shop import Shop
from shop_abroad import held, open_abroad, tell_the_story

from audience_sync.sandbox import RunningSandbox


@pytest.fixture
def shop(tmp_path: Path, sandbox: RunningSandbox) -> Shop:
    base = f"{sandbox.url}/snapchat"
    settings = (
        f"base_url: {base}",
        f"token_url: {base}/login/oauth2/access_token",
        "ad_account_id: 422ef6f5-0000-4000-8000-000000000001",
        "client_id: sandbox-client",
        "client_secret: file:secrets/client-secret",
        "refresh_token: file:secrets/refresh-token",
    )
    return open_abroad(tmp_path, sandbox.url, "snapchat", settings)


def test_the_audience_at_snapchat_is_the_wanted_one(shop: Shop) -> None:
    """First sync, change, withdrawal, removal: identifier by identifier."""
    tell_the_story(shop, "snapchat", "", lambda: len(shop.journal("snapchat")))


def test_an_expired_token_is_outlived(shop: Shop) -> None:
    """A plain-text 401 in the midst of a delivery costs one refresh, and nobody is missing."""
    shop.fault("expired-token", operation="add", partner="snapchat")
    shop.must("sync")
    assert len(held(shop, "snapchat")["email"]) == 30
    lines = shop.must("log", "--json").json["lines"]
    outcomes = [one["line"] for one in lines if one["line"]["event"] == "outcome"]
    assert [(line["sent"], line["accepted"]) for line in outcomes] == [(30, 30)]
    assert outcomes[0]["recipient_country"] == "NL"
