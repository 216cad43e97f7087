"""What a sandbox may be told when it starts."""

from __future__ import annotations

from dataclasses import dataclass

META_TOKEN = "sandbox-token"  # noqa: S105 - the documented token of a simulated partner
GOOGLE_TOKEN = "sandbox-token"  # noqa: S105 - the same
X_CREDENTIALS = {
    "consumer_key": "sandbox-consumer-key",
    "consumer_secret": "sandbox-consumer-secret",
    "access_token": "sandbox-access-token",
    "access_token_secret": "sandbox-access-token-secret",
}
PINTEREST_CREDENTIALS = {
    "app_id": "sandbox-app",
    "app_secret": "sandbox-app-secret",
    "refresh_token": "sandbox-refresh-token",
}
SNAPCHAT_TOKEN = "sandbox-token"  # noqa: S105 - the same
WEBHOOK_SECRET = "sandbox-webhook-secret"  # noqa: S105 - the same


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxOptions:
    """How strict the simulated partners are and how they behave.

    An empty tuple of accounts or tokens means that any is taken.
    """

    match_share: float = 0.65  # of people that the partners know
    discard: bool = False  # validate and count, keep no member
    strict_quotas: bool = False  # enforce the partners' documented request quotas
    seed: int = 1  # remote ids begin here

    pinterest_accounts: tuple[str, ...] = ()
    pinterest_processing_seconds: float = 0.0  # a list is at work so long after a change
    pinterest_previous_token_seconds: float = 0.0  # a replaced refresh token is good so long
    pinterest_strict_minimum: bool = True  # no audience on top of a list that is too small
    pinterest_bytes_per_request: int = 1_000_000  # more is answered with 413

    x_accounts: tuple[str, ...] = ()
    x_processing_seconds: float = 0.0  # X shows a size so long after a change; really hours

    meta_tokens: tuple[str, ...] = ()
    meta_accounts: tuple[str, ...] = ()
    meta_app_secret: str | None = None  # when set, every call needs an appsecret_proof
    meta_throttle_status: int = 400  # HTTP status of a throttle; some recordings show 429
    meta_matching_seconds: float = 0.0  # a list is "populating" so long after a change

    google_accounts: tuple[str, ...] = ()
    google_logins: tuple[str, ...] = ()  # login accounts that may act for the operating accounts
    google_processing_seconds: float = 3.0
    google_unknown_seconds: float = 0.0  # a fresh request id is 404 for so long

    webhook_secret: str = WEBHOOK_SECRET  # signs what is posted to an endpoint

    tiktok_tokens: tuple[str, ...] = ()
    tiktok_advertisers: tuple[str, ...] = ()
    tiktok_streaming: bool = True  # whether the app may use the segment endpoints
    tiktok_people_per_request: int = 10_000  # in a streaming request
    tiktok_strict_minimum: bool = False  # refuse to take a list from files below 1,000
    tiktok_matching_seconds: float = 0.0  # no size is known so long after a change

    rakuten_merchants: tuple[str, ...] = ()

    snapchat_accounts: tuple[str, ...] = ()
    snapchat_matching_seconds: float = 0.0  # a segment is not ready so long after an upload
