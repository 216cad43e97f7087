"""Google keeps the contract of connectors."""

from __future__ import annotations

from google_fake import GoogleFake

from audience_sync.connector import ConnectorSettings
from audience_sync.testing.builders import FakePartner, Sent
from audience_sync.testing.contract import ConnectorContract
from connectors._google_settings import Account
from connectors.google import GoogleConnector, GoogleSettings

CREDENTIALS = (
    '{"type":"authorized_user","client_id":"1.apps.example","client_secret":"GOCSPX-canary",'
    '"refresh_token":"1//refresh-canary","token_uri":"https://tokens.example/token"}'
)


class TestGoogle(ConnectorContract):
    """With a list of contacts, one for each system's devices, and one of user ids."""

    connector_class = GoogleConnector

    def settings(self) -> ConnectorSettings:
        return GoogleSettings(
            operating_account="123-456-7890",
            login_account="9998887777",
            credentials=CREDENTIALS,
            allow_unhashed_device_ids=True,
            ios_app_id="123456789",
            android_app_id="com.example.app",
            user_id_lists=True,
            poll_after=0,
        )

    def partner(self) -> FakePartner:
        return GoogleFake()

    def harmless(self, sent: Sent) -> bool:
        return super().harmless(sent) or sent.params.get("validateOnly") == "true"


class TestGoogleTwoAccounts(TestGoogle):
    """The same with Display & Video 360 beside Google Ads."""

    def settings(self) -> ConnectorSettings:
        further = Account(
            operating_account="5551234",
            account_type="DISPLAY_VIDEO_ADVERTISER",
            login_account="777001",
            login_account_type="DISPLAY_VIDEO_PARTNER",
        )
        return super().settings().model_copy(update={"further_accounts": (further,)})


class TestGoogleContactsOnly(TestGoogle):
    """The same where no raw device ID may leave, and Google does not name the bad rows."""

    def settings(self) -> ConnectorSettings:
        changes = {"allow_unhashed_device_ids": False, "user_id_lists": False}
        return super().settings().model_copy(update=changes)

    def partner(self) -> FakePartner:
        return GoogleFake(names_rows=False)
