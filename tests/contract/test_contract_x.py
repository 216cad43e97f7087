"""X keeps the contract of connectors."""

from __future__ import annotations

from x_fake import XFake

from audience_sync.connector import ConnectorSettings
from audience_sync.testing.builders import FakePartner
from audience_sync.testing.contract import ConnectorContract
from connectors._x_calls import XSettings
from connectors.x import XConnector


class TestX(ConnectorContract):
    """With all kinds of identifiers, each request signed."""

    connector_class = XConnector

    def settings(self) -> ConnectorSettings:
        return XSettings(
            account_id="18ce54d4x5t",
            consumer_key="consumer-canary",
            consumer_secret="consumer-secret-canary",
            access_token="token-canary",
            access_token_secret="token-secret-canary",
        )

    def partner(self) -> FakePartner:
        return XFake()
