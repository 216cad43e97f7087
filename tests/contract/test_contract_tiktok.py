"""TikTok keeps the contract of connectors, in both of its flows."""

from __future__ import annotations

from typing import Any

from tiktok_fake import TikTokFake

from audience_sync.connector import Connector, ConnectorSettings, Receipt
from audience_sync.testing.builders import FakePartner, identifiers, made_up_upload
from audience_sync.testing.contract import ConnectorContract
from connectors.tiktok import TikTokConnector, TikTokSettings


class TestTikTok(ConnectorContract):
    """Streamed: people with all their identifiers, onto one audience."""

    connector_class = TikTokConnector

    def settings(self) -> ConnectorSettings:
        return TikTokSettings(advertiser_id="7000000000000000001", access_token="tiktok-canary")

    def partner(self) -> FakePartner:
        return TikTokFake()

    def test_counts_add_up_when_members_are_refused(self) -> None:
        """TikTok says that it did a part and not which, so the whole request is in doubt."""
        connector, partner = self._started()
        members = self._members(10)
        partner.refused = identifiers(members.take([3]))
        receipt = connector.add(self._upload(connector, members), members)
        assert (receipt.accepted, receipt.unattributed, receipt.sent) == (0, 10, 10)
        assert receipt.reason == "20001"


class TestTikTokFiles(TestTikTok):
    """From files: each kind of identifier is an audience of its own."""

    def settings(self) -> ConnectorSettings:
        return super().settings().model_copy(update={"flow": "files"})

    def test_doubt_is_of_the_files_that_hold_the_member(self) -> None:
        """The two of one small file are in doubt, the others are not."""
        settings = self.settings().model_copy(update={"lines_per_file": 2})
        connector, partner = self._started(settings)
        members = self._members(10)
        partner.refused = identifiers(members.take([3]))
        receipt = _added(connector, self._ensured(connector), members)
        assert (receipt.accepted, receipt.unattributed) == (8, 2)


def _added(connector: Connector[Any], remote_id: str, members: Any) -> Receipt:
    return connector.add(made_up_upload(remote_id=remote_id), members)
