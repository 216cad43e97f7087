"""What a destination at Snapchat sets."""

from __future__ import annotations

from pydantic import Field

from audience_sync.connector import ConnectorSettings, SecretStr
from connectors._snapchat_wire import IDENTIFIERS

_UUID = r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"


class SnapchatSettings(ConnectorSettings):
    """A destination at Snapchat: one ad account, and the app that a person authorised for it."""

    base_url: str = "https://adsapi.snapchat.com"
    token_url: str = "https://accounts.snapchat.com/login/oauth2/access_token"  # noqa: S105 - an address
    ad_account_id: str = Field(pattern=_UUID, examples=["422ef6f5-0000-4000-8000-000000000001"])
    client_id: str
    client_secret: SecretStr
    refresh_token: SecretStr
    identifiers_per_request: int = Field(IDENTIFIERS, ge=1, le=IDENTIFIERS)
    retention_days: int | None = Field(None, ge=1, le=9_999)  # None: for ever
