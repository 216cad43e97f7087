"""Meta keeps the contract of connectors."""

from __future__ import annotations

from meta_fake import MetaFake

from audience_sync.connector import ConnectorSettings
from audience_sync.testing.builders import FakePartner
from audience_sync.testing.contract import ConnectorContract
from connectors.meta import MetaConnector, MetaSettings


class TestMeta(ConnectorContract):
    """With hashed identifiers, our own ids and, where allowed, device IDs in their own column."""

    connector_class = MetaConnector

    def settings(self) -> ConnectorSettings:
        return MetaSettings(
            ad_account_id="1234567890",
            access_token="EAATESTTOKEN",
            app_secret="0123456789abcdef0123456789abcdef",
            allow_unhashed_device_ids=True,
            send_external_id=True,
        )

    def partner(self) -> FakePartner:
        return MetaFake()


class TestMetaByOverride(TestMeta):
    """The same where something on the way drops the body of a DELETE."""

    def settings(self) -> ConnectorSettings:
        return super().settings().model_copy(update={"remove_with": "method-override"})


class TestMetaHashedOnly(TestMeta):
    """The same where no raw device ID may leave."""

    def settings(self) -> ConnectorSettings:
        changes = {"allow_unhashed_device_ids": False, "send_external_id": False}
        return super().settings().model_copy(update=changes)


class TestMetaLimitedDataUse(TestMeta):
    """The same with the columns that limit what Meta may do."""

    def settings(self) -> ConnectorSettings:
        changes = {
            "limited_data_use": True,
            "limited_data_use_country": 1,
            "limited_data_use_state": 1000,
        }
        return super().settings().model_copy(update=changes)


class TestMetaExchanging(TestMeta):
    """The same with a token that is exchanged before it ends."""

    def settings(self) -> ConnectorSettings:
        changes = {"exchange": "system-user", "app_id": "4711"}
        return super().settings().model_copy(update=changes)
