"""What a destination sets for Google, and the accounts that it names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from audience_sync.connector import ConnectorSettings, SecretStr

MOST_ACCOUNTS = 10  # destinations in one request

AccountType = Literal[
    "GOOGLE_ADS",
    "DISPLAY_VIDEO_PARTNER",
    "DISPLAY_VIDEO_ADVERTISER",
    "DATA_PARTNER",
]


class Account(BaseModel):
    """An account whose lists are filled, and the accounts through which it is reached."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    operating_account: str
    account_type: AccountType = "GOOGLE_ADS"
    login_account: str | None = None  # a manager account or Display & Video 360 partner
    login_account_type: AccountType = "GOOGLE_ADS"
    linked_account: str | None = None
    linked_account_type: AccountType = "GOOGLE_ADS"

    @field_validator("operating_account", "login_account", "linked_account")
    @classmethod
    def _digits(cls, value: str | None) -> str | None:
        digits = None if value is None else value.replace("-", "")
        if digits is not None and not (digits.isascii() and digits.isdigit()):
            raise ValueError('write the account as digits, such as "1234567890"')
        return digits

    @property
    def lists(self) -> str:
        """Where its lists are; here the operating account is in the path, the others in headers."""
        return f"v1/accountTypes/{self.account_type}/accounts/{self.operating_account}/userLists"

    def headers(self) -> dict[str, str]:
        """The headers of requests for lists; uploads name their accounts in the body."""
        return {
            f"{role}-account": f"accountTypes/{account_type}/accounts/{account}"
            for role, account_type, account in self._roles()
            if role != "operating"
        }

    def destination(self, list_id: str, *, named: bool) -> dict[str, Any]:
        """The account's list as an upload names it; `named` where there are several."""
        reference = {"reference": self.operating_account} if named else {}
        accounts = {
            f"{role}Account": {"accountType": account_type, "accountId": account}
            for role, account_type, account in self._roles()
        }
        return reference | accounts | {"productDestinationId": list_id}

    def _roles(self) -> Iterator[tuple[str, str, str]]:
        yield "operating", self.account_type, self.operating_account
        if self.login_account is not None:
            yield "login", self.login_account_type, self.login_account
        if self.linked_account is not None:
            yield "linked", self.linked_account_type, self.linked_account


class GoogleSettings(Account, ConnectorSettings):
    """A destination at Google: one account or several, and the credentials that reach them all."""

    base_url: str = "https://datamanager.googleapis.com"
    further_accounts: tuple[Account, ...] = Field((), max_length=MOST_ACCOUNTS - 1)
    credentials: SecretStr  # JSON of a service account or an authorised user
    token_url: str | None = None  # in place of the one in the credentials
    quota_project: str | None = None
    membership_duration_days: int = Field(540, ge=1, le=540)
    ios_app_id: str | None = None
    android_app_id: str | None = None
    user_id_lists: bool = False  # a list of our own customer ids beside the others
    quota_reset_hour: int = Field(8, ge=0, le=23)  # UTC; midnight US Pacific, or an hour after
    poll_after: float = Field(1800.0, ge=0)  # seconds; Google advises half an hour

    @property
    def accounts(self) -> tuple[Account, ...]:
        """Every account whose lists are filled."""
        return (self, *self.further_accounts)

    @model_validator(mode="after")
    def _apps(self) -> Self:
        if self.allow_unhashed_device_ids and not (self.ios_app_id or self.android_app_id):
            raise ValueError(
                "device IDs need ios_app_id, android_app_id or both: Google keeps them in lists "
                "of an app; set them, or take allow_unhashed_device_ids out"
            )
        return self

    @model_validator(mode="after")
    def _once(self) -> Self:
        numbers = [account.operating_account for account in self.accounts]
        if len(set(numbers)) < len(numbers):
            raise ValueError("further_accounts names an account twice; name each account once")
        return self
