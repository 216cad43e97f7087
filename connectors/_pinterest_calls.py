"""How Pinterest's API is called: settings, pages, and the audience on top of a list."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
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
    ad_account_id: str = Field(pattern=r"^\d+$")
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


def on_top(client: PartnerClient, account: str, number: str) -> dict[str, Any] | None:
    """The audience that is made of a list; ads can use nothing else."""
    for found in pages(client, f"{account}/audiences"):
        rule = found.get("rule")
        if isinstance(rule, dict) and str(rule.get("customer_list_id")) == number:
            return found
    return None


def put_on_top(client: PartnerClient, account: str, listed: dict[str, Any]) -> None:
    """Make the audience of a list, named like it without our marker.

    Not repeated here: after a lost answer the next look-up finds what was made.
    """
    name = str(listed.get("name"))
    wanted = {
        "ad_account_id": account.rpartition("/")[2],
        "name": name.partition(" [")[0],
        "rule": {"customer_list_id": str(listed["id"])},
        "audience_type": "CUSTOMER_LIST",
        "description": name,
    }
    body = orjson.dumps(wanted)
    numbered(client.request("POST", f"{account}/audiences", body=body, repeatable=False))
