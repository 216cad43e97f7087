"""Pinterest keeps the contract of connectors."""

from __future__ import annotations

from pinterest_fake import PinterestFake

from audience_sync.connector import ConnectorSettings
from audience_sync.testing.builders import FakePartner
from audience_sync.testing.contract import ConnectorContract
from connectors._pinterest_calls import PinterestSettings
from connectors.pinterest import PinterestConnector


class TestPinterest(ConnectorContract):
    """With e-mails and devices in one list, and a refresh token that changes."""

    connector_class = PinterestConnector

    def settings(self) -> ConnectorSettings:
        return PinterestSettings(
            ad_account_id="549756359984",
            app_id="1481",
            app_secret="app-secret-canary",
            refresh_token="pinr.canary-0",
            poll_after=0,
        )

    def partner(self) -> FakePartner:
        return PinterestFake()
