"""Snapchat keeps the contract of connectors."""

from __future__ import annotations

from snapchat_fake import ACCOUNT, SnapchatFake

from audience_sync.connector import ConnectorSettings
from audience_sync.testing.builders import FakePartner
from audience_sync.testing.contract import ConnectorContract
from connectors.snapchat import SnapchatConnector, SnapchatSettings


class TestSnapchat(ConnectorContract):
    """One schema a request, several requests a batch."""

    connector_class = SnapchatConnector

    def settings(self) -> ConnectorSettings:
        return SnapchatSettings(
            ad_account_id=ACCOUNT,
            client_id="snap-app",
            client_secret="snap-secret-canary",
            refresh_token="snap-refresh-canary",
        )

    def partner(self) -> FakePartner:
        return SnapchatFake()


class TestSnapchatInSmallRequests(TestSnapchat):
    """The same where a request is to hold less than Snapchat takes."""

    def settings(self) -> ConnectorSettings:
        return super().settings().model_copy(update={"identifiers_per_request": 7})
