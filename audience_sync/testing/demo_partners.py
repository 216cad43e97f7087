"""The demonstration's destinations: every partner, as the sandbox simulates it."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

DESTINATIONS = """\
destinations:
  meta-se:                         # Facebook, Instagram
    connector: meta
    base_url: {sandbox}/meta
    ad_account_id: "1234567890"
    access_token: file:secrets/meta-token
  google-se:                       # Google Ads with YouTube, and Display & Video 360
    connector: google
    base_url: {sandbox}/google
    operating_account: "1234567890"
    further_accounts:
      - {{operating_account: "5551234", account_type: DISPLAY_VIDEO_ADVERTISER}}
    credentials: file:secrets/google.json
    allow_unhashed_device_ids: true   # Google takes no others; into a list for each app
    ios_app_id: "123456789"
    android_app_id: com.example.nordicfashion
    poll_after: {poll_after}                  # seconds; the sandbox answers sooner than Google
  tiktok-se:
    connector: tiktok
    base_url: {sandbox}/tiktok
    advertiser_id: "7000000000000000001"
    access_token: file:secrets/tiktok-token
  snapchat-se:
    connector: snapchat
    base_url: {sandbox}/snapchat
    token_url: {sandbox}/snapchat/login/oauth2/access_token
    ad_account_id: 422ef6f5-0000-4000-8000-000000000001
    client_id: sandbox-client
    client_secret: file:secrets/snapchat-client-secret
    refresh_token: file:secrets/snapchat-refresh-token
  pinterest-se:
    connector: pinterest
    base_url: {sandbox}/pinterest/v5
    ad_account_id: "549756359984"
    app_id: sandbox-app
    app_secret: file:secrets/pinterest-app-secret
    refresh_token: file:secrets/pinterest-refresh-token
    poll_after: {poll_after}
  x-se:
    connector: x
    base_url: {sandbox}/x
    account_id: 18ce54d4x5t
    consumer_key: file:secrets/x-consumer-key
    consumer_secret: file:secrets/x-consumer-secret
    access_token: file:secrets/x-access-token
    access_token_secret: file:secrets/x-access-token-secret
  webhook-se:                      # any partner without a connector of its own
    connector: webhook
    base_url: {sandbox}/webhook/nordic-fashion
    recipient_name: Partner GmbH
    recipient_country: DE
    minimum_audience: 100
    identifiers: {{email: email/plain, phone: phone/e164}}
    secret: file:secrets/webhook-secret
    answer: {{rejected: rejected, key: index, reason: code, accepted: accepted}}
  rakuten-se:                      # is told of orders, not of customers
    connector: rakuten
    base_url: {sandbox}/rakuten
    merchant_id: "37978"
"""


def demo_secrets(sandbox_url: str) -> Mapping[str, str]:
    """What the simulated partners take for credentials, by the file that each stands in."""
    from audience_sync.sandbox import options  # noqa: PLC0415 - only for the demo
    from audience_sync.sandbox.google.oauth import OAuth  # noqa: PLC0415 - the same
    from audience_sync.sandbox.snapchat import oauth as snapchat  # noqa: PLC0415 - the same

    google = orjson.dumps(OAuth.refresh_token(sandbox_url), option=orjson.OPT_INDENT_2)
    pinterest = options.PINTEREST_CREDENTIALS
    found = {
        "meta-token": options.META_TOKEN,
        "google.json": google.decode(),
        "tiktok-token": options.META_TOKEN,
        "snapchat-client-secret": snapchat.CLIENT_SECRET,
        "snapchat-refresh-token": snapchat.REFRESH_TOKEN,
        "pinterest-app-secret": pinterest["app_secret"],
        "pinterest-refresh-token": pinterest["refresh_token"],
        **{f"x-{key.replace('_', '-')}": text for key, text in options.X_CREDENTIALS.items()},
        "webhook-secret": options.WEBHOOK_SECRET,
    }
    return {f"secrets/{name}": text for name, text in found.items()}
