"""What a destination sets for Meta."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from audience_sync.connector import ConnectorSettings, SecretStr


class MetaSettings(ConnectorSettings):
    """A destination at Meta: one ad account."""

    base_url: str = "https://graph.facebook.com"
    api_version: str = Field("v26.0", pattern=r"^v\d+\.\d+$")
    ad_account_id: str
    access_token: SecretStr
    app_id: str | None = Field(None, pattern=r"^\d+$")
    app_secret: SecretStr | None = None  # for a proof with every request, and to exchange tokens
    exchange: Literal["system-user", "user"] | None = None  # whose token of 60 days it is
    timestamped_proof: bool = False
    remove_with: Literal["delete", "method-override"] = "delete"
    customer_file_source: Literal[
        "USER_PROVIDED_ONLY", "PARTNER_PROVIDED_ONLY", "BOTH_USER_AND_PARTNER_PROVIDED"
    ] = "USER_PROVIDED_ONLY"
    minimum_audience: int = Field(100, ge=20)  # undocumented; older reports mention 20
    retention_days: int | None = Field(None, ge=1, le=180)
    business_id: str | None = Field(None, pattern=r"^\d+$")  # on whose behalf, for the terms page
    send_external_id: bool = False  # our customer ids, hashed, beside the other identifiers
    limited_data_use: bool = False  # for every member of this destination
    limited_data_use_country: int | None = Field(None, ge=0)  # 1 is the USA; None: Meta looks
    limited_data_use_state: int | None = Field(None, ge=0)  # 1000 is California
    replace_lost_lists: bool = True  # a list of ours whose members we know no more
    withdraw_everywhere: bool = True  # from lists of the ad account that others keep, too

    @field_validator("ad_account_id")
    @classmethod
    def _digits(cls, value: str) -> str:
        digits = value.removeprefix("act_")
        if not (digits.isascii() and digits.isdigit()):
            raise ValueError('write the ad account as digits, such as "1234567890"')
        return digits

    @model_validator(mode="after")
    def _app(self) -> Self:
        if self.exchange is not None and (self.app_id is None or self.app_secret is None):
            raise ValueError("exchange needs app_id and app_secret, by which Meta knows the app")
        return self

    @model_validator(mode="after")
    def _place(self) -> Self:
        country, state = self.limited_data_use_country, self.limited_data_use_state
        if (country is None) != (state is None):
            raise ValueError(
                "set limited_data_use_country and limited_data_use_state together, or neither to "
                "let Meta look where a person is"
            )
        if country is not None and not self.limited_data_use:
            raise ValueError("limited_data_use_country needs limited_data_use: true")
        return self

    @property
    def account(self) -> str:
        """The ad account as paths name it."""
        return f"act_{self.ad_account_id}"

    @property
    def terms(self) -> str:
        """The end of the address where the terms are accepted."""
        return self.ad_account_id + (f"&business_id={self.business_id}" if self.business_id else "")
