"""What a destination at TikTok sets."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from audience_sync.connector import ConnectorSettings, SecretStr

FILE_SIZE = 50_000_000  # bytes


class TikTokSettings(ConnectorSettings):
    """A destination at TikTok: one advertiser; TikTok does not publish the limits set here."""

    base_url: str = "https://business-api.tiktok.com"
    api_version: str = Field("v1.3", pattern=r"^v\d+\.\d+$", examples=["v1.3"])
    advertiser_id: str = Field(pattern=r"^\d+$", examples=["7000000000000000001"])
    access_token: SecretStr
    flow: Literal["streaming", "files"] = "streaming"  # of the lists that are still to be made
    people_per_request: int = Field(1_000, ge=1, le=10_000)
    bytes_per_request: int = Field(1_000_000, ge=10_000, le=FILE_SIZE)
    lines_per_file: int = Field(100_000, ge=1, le=700_000)  # 65 bytes each
    requests_per_second: int = Field(10, ge=1)
    requests_per_minute: int = Field(600, ge=1)
    retention_days: int | None = Field(None, ge=1, le=365)

    @model_validator(mode="after")
    def _kept(self) -> Self:
        if self.retention_days is not None and self.flow == "streaming":
            raise ValueError("retention_days needs flow: files; a streaming audience has no end")
        return self
