"""How X's Ads API is called: addresses, signatures, pages and what an answer holds."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from pydantic import Field, field_validator
from requests_oauthlib import OAuth1

from audience_sync.connector import (
    Answer,
    AudienceRequest,
    ConfigurationError,
    ConnectorSettings,
    Kind,
    PartnerClient,
    RefusedError,
    SecretStr,
    TemporaryPartnerError,
    known_forms,
)

LONGEST = 392  # days; the shortest thirteen months are a day longer
GONE = ("NOT_FOUND", "TAILORED_AUDIENCE_NOT_FOUND")  # or another account's
PAGES = 500  # more pages than any ads account has


class XSettings(ConnectorSettings):
    """A destination at X: one ads account and the four secrets of OAuth 1.0a."""

    base_url: str = "https://ads-api.x.com"
    api_version: str = Field("12", pattern=r"^\d+$", examples=["12"])
    account_id: str = Field(pattern=r"^[0-9a-z]+$", examples=["18ce54d4x5t"])
    consumer_key: SecretStr
    consumer_secret: SecretStr
    access_token: SecretStr
    access_token_secret: SecretStr
    phone_form: str = "phone/digits"  # X documents no rule; "off" sends no phones
    membership_days: int = Field(390, ge=60, le=LONGEST)
    do_not_reach: bool = False  # put people who withdraw on the account's Do Not Reach List
    do_not_reach_days: int = Field(390, ge=1, le=LONGEST)

    @field_validator("phone_form")
    @classmethod
    def _known(cls, value: str) -> str:
        known = (*known_forms(Kind.PHONE), "off")
        if value not in known:
            raise ValueError(f"write one of {', '.join(known)}")
        return value


def signed(settings: XSettings, method: str, url: str, params: Mapping[str, str]) -> dict[str, str]:
    """The headers of OAuth 1.0a, with a nonce and a time of their own; no body is part of them."""
    # oauthlib writes the keys and every signature into its log.
    logging.getLogger("oauthlib").setLevel(logging.CRITICAL)
    oauth = OAuth1(
        settings.consumer_key.get_secret_value(),
        client_secret=settings.consumer_secret.get_secret_value(),
        resource_owner_key=settings.access_token.get_secret_value(),
        resource_owner_secret=settings.access_token_secret.get_secret_value(),
        decoding=None,
    )
    headers: dict[str, str] = oauth.client.sign(url + _query(params), method)[1]
    return headers


def address(
    settings: XSettings, *parts: str, below: str = "accounts", params: Mapping[str, str]
) -> str:
    """The address of something of the account; X wants a space as %20 and never as a plus."""
    path = "/".join((settings.api_version, below, settings.account_id, *parts))
    return path + _query(params)


def pages(
    client: PartnerClient, settings: XSettings, *parts: str, params: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Everything of a collection that was not deleted, page by page."""
    cursor, seen = "", set[str]()
    while cursor not in seen and len(seen) < PAGES:
        seen.add(cursor)
        asked = {**params, **({"cursor": cursor} if cursor else {})}
        answer = client.request("GET", address(settings, *parts, params=asked))
        found = answer.json()
        listed = found.get("data")
        if not isinstance(listed, list):
            raise TemporaryPartnerError("X did not list what there is; try again", answer.status)
        there = (one for one in listed if isinstance(one, dict))
        yield from (one for one in there if one.get("deleted") is not True)
        cursor = str(found.get("next_cursor") or "")


def find(client: PartnerClient, settings: XSettings, audience: AudienceRequest) -> str | None:
    """The list that carries our marker, whatever it is called by now."""
    taken, params = False, {"count": "1000", "permission_scope": "OWNER"}
    for found in pages(client, settings, "custom_audiences", params=params):
        if audience.marker in str(found.get("description", "")):
            return id_of(found)
        taken |= found.get("name") == audience.name
    if taken:
        raise RefusedError(
            "a list of this name is not ours; rename the audience, or adopt the list by its "
            "remote_id"
        )
    return None


def delete(client: PartnerClient, settings: XSettings, number: str) -> None:
    """Delete a list; one that is not found is gone if the account does not list it."""
    asked = {"custom_audience_ids": plain(number)}
    try:
        url = address(settings, "custom_audiences", number, params={})
        shown = data_of(client.request("DELETE", url))
    except RefusedError as error:
        listed = error.code not in GONE or any(
            one.get("id") == number
            for one in pages(client, settings, "custom_audiences", params=asked)
        )
        if listed:
            raise
        return
    if shown.get("deleted") is not True:
        raise TemporaryPartnerError("X did not say that the list is deleted; try again")


def data_of(answer: Answer) -> dict[str, Any]:
    """What an answer is about; the Do Not Reach List wraps it in an array."""
    found = answer.json().get("data")
    if isinstance(found, list) and len(found) == 1:
        found = found[0]
    if not isinstance(found, dict):
        raise TemporaryPartnerError("X's answer cannot be read; try again", answer.status)
    return found


def id_of(found: Mapping[str, Any]) -> str:
    """The id that X gave to something."""
    if not found.get("id"):
        raise TemporaryPartnerError("X did not name the list; try again")
    return str(found["id"])


def plain(remote_id: str) -> str:
    """A list's id, which can lead to no other address."""
    if not (remote_id.isascii() and remote_id.isalnum()):
        raise ConfigurationError("a list at X is named by letters and digits; check remote_id")
    return remote_id


def _query(params: Mapping[str, str]) -> str:
    return f"?{urlencode(params, quote_via=quote)}" if params else ""
