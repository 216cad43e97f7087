"""How a destination reaches each simulated partner: its address, and what is taken there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from audience_sync.sandbox.options import (
    META_TOKEN,
    PINTEREST_CREDENTIALS,
    WEBHOOK_SECRET,
    X_CREDENTIALS,
)
from audience_sync.sandbox.snapchat.oauth import CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN


@dataclass(frozen=True, slots=True)
class Access:
    """What a destination's settings say; accounts may be any, as far as they look like one."""

    connector: str
    base_url: str
    settings: Mapping[str, str]


def accesses(url: str) -> list[Access]:
    """One for each partner of the sandbox at `url`."""
    google = f"the answer of {url}/_control/google/credentials"
    snapchat = {
        "token_url": f"{url}/snapchat/login/oauth2/access_token",
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "refresh_token": REFRESH_TOKEN,
    }
    return [
        Access("meta", f"{url}/meta", {"access_token": META_TOKEN}),
        Access("google", f"{url}/google", {"credentials": google}),
        Access("tiktok", f"{url}/tiktok", {"access_token": META_TOKEN}),
        Access("snapchat", f"{url}/snapchat", snapchat),
        Access("pinterest", f"{url}/pinterest/v5", PINTEREST_CREDENTIALS),
        Access("x", f"{url}/x", X_CREDENTIALS),
        Access("rakuten", f"{url}/rakuten", {"merchant_id": "one to five digits"}),
        Access("webhook", f"{url}/webhook/anything", {"secret": WEBHOOK_SECRET}),
    ]
