"""How Pinterest's API is called: the settings, pages, and what an answer holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field

from audience_sync.connector import (
    Answer,
    ConfigurationError,
    ConnectorSettings,
    Grant,
    PartnerClient,
    SecretStr,
    TemporaryPartnerError,
)

PAGE = "250"  # lists asked for at a time; Pinterest's most
PAGES = 500  # more pages than any ad account has


class PinterestSettings(ConnectorSettings):
    """A destination at Pinterest: one ad account and the app that may change its lists."""

    base_url: str = "https://api.pinterest.com/v5"
    ad_account_id: str = Field(pattern=r"^\d+$", examples=["549756359984"])
    app_id: str
    app_secret: SecretStr
    refresh_token: SecretStr  # as it was first granted; Pinterest replaces it with each renewal
    continuous_refresh: bool = False  # for apps made before 2025-09-25
    trial_access: bool = False  # 1,000 requests a day
    records_per_request: int = Field(10_000, ge=1, le=15_000)  # Pinterest documents none
    poll_after: float = Field(1_800.0, ge=0)  # seconds until a list is looked at again

    @property
    def grant(self) -> Grant:
        """What the tokens are made from."""
        form = {"scope": "ads:read,ads:write"}
        return Grant(
            partner="Pinterest",
            url="oauth/token",
            client_id=self.app_id,
            client_secret=self.app_secret,
            refresh_token=self.refresh_token,
            basic=True,
            form=form | ({"continuous_refresh": "true"} if self.continuous_refresh else {}),
        )


def pages(client: PartnerClient, url: str, size: str = PAGE) -> Iterator[dict[str, Any]]:
    """Everything of a collection, page by page."""
    bookmark, seen = "", set[str]()
    while bookmark not in seen and len(seen) < PAGES:
        seen.add(bookmark)
        params = {"page_size": size, **({"bookmark": bookmark} if bookmark else {})}
        answer = client.request("GET", url, params=params)
        found = answer.json()
        if not isinstance(found.get("items"), list):
            raise TemporaryPartnerError("Pinterest did not list what there is; try again")
        yield from (one for one in found["items"] if isinstance(one, dict))
        bookmark = str(found.get("bookmark") or "")


def numbered(answer: Answer) -> dict[str, Any]:
    """A list or an audience, as Pinterest shows it."""
    found = answer.json()
    if not isinstance(found, dict) or not str(found.get("id") or "").isdigit():
        raise TemporaryPartnerError("Pinterest's answer cannot be read; try again", answer.status)
    return found


def numeric(remote_id: str) -> str:
    """A list's id, which can lead to no other address."""
    if not (remote_id.isascii() and remote_id.isdigit()):
        raise ConfigurationError("a list at Pinterest is named by digits; check remote_id")
    return remote_id
