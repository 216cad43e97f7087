"""A destination behind a webhook, for tests."""

from __future__ import annotations

from typing import Any

from connectors.webhook import WebhookSettings

SECRET = "webhook-secret-canary"


def webhook_settings(**changes: Any) -> WebhookSettings:
    """The usual settings; name what should differ."""
    usual: dict[str, Any] = {
        "base_url": "https://partner.example/audiences?tenant=7",
        "recipient_name": "Partner GmbH",
        "recipient_country": "DE",
        "minimum_audience": 100,
        "identifiers": {"email": "email/plain", "phone": "phone/e164"},
        "secret": SECRET,
        "headers": {"X-Api-Key": "api-key-canary"},
    }
    return WebhookSettings(**(usual | changes))
