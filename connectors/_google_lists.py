"""The user lists of an audience: looked for, made and read, in each account."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from audience_sync.connector import (
    AudienceRequest,
    ConfigurationError,
    Kind,
    PartnerClient,
    RefusedError,
    Statistics,
    TemporaryPartnerError,
)
from connectors._google_settings import Account, GoogleSettings
from connectors._google_wire import ANDROID, CONTACT, IOS, PARTS, USER, Part, Place
from connectors._google_words import DAY, TAKEN

SMALLEST_USABLE = 100  # matched members
NOT_FOUND = "NOT_FOUND"  # Google's word
_STATES = {"OPEN": "open", "CLOSED": "closed"}


@dataclass(frozen=True, slots=True, repr=False)
class Lists:
    """The lists that a destination keeps, through its client."""

    client: PartnerClient
    settings: GoogleSettings

    def check(self) -> None:
        """Prove that lists can be read, and that one could be made, in each account."""
        for account in self.settings.accounts:
            self._get(account, "", {"pageSize": "1"})
            body = self._definition(CONTACT, "audience-sync check", "never made")
            try:
                self._post(account, body, {"validateOnly": "true"})
            except RefusedError as error:
                if error.code not in TAKEN:
                    raise

    def missing(self, kinds: tuple[Kind, ...], there: list[Place]) -> Iterator[tuple[Part, str]]:
        """The lists that these kinds need, by part and account, without those that are there."""
        known = {(place.part, place.account) for place in there}
        for account in ("", *(one.operating_account for one in self.settings.further_accounts)):
            for part in PARTS.values():
                if self._wanted(part, kinds) and (part, account) not in known:
                    yield part, account

    def ensure(self, part: Part, account: str, audience: AudienceRequest) -> Place:
        """A list of ours, which is looked for by its name before it is made."""
        owner, name = self.owner(account), audience.name + part.suffix
        found = self._find(owner, name, audience.marker)
        if found is None:
            body = self._definition(part, name, f"{audience.title} {audience.marker}")
            try:
                found = _id(self._post(owner, body))
            except RefusedError as error:
                # An earlier attempt made it and its answer was lost, or another run was faster.
                found = self._find(owner, name, audience.marker) if error.code in TAKEN else None
                if found is None:
                    raise
        return Place(part, account, found)

    def delete(self, place: Place) -> None:
        """Take a list away with all on it; one that its account has no more is gone already."""
        owner = self.owner(place.account)
        try:
            self.client.request(
                "DELETE", f"{owner.lists}/{place.number}", headers=owner.headers()
            ).json()
        except RefusedError as error:
            if error.code != NOT_FOUND or self._shown(owner, place.number):
                raise

    def owner(self, account: str) -> Account:
        """The account by its number; empty for the first."""
        for one in self.settings.accounts:
            if account in ("", one.operating_account):
                return one
        raise ConfigurationError(
            f"account {account} holds members of this audience and is no longer in "
            "further_accounts; put it back, and rename the audience to have its lists emptied"
        )

    def statistics(self, places: list[Place]) -> Statistics:
        """What Google tells of the contact lists, or of the first part where there is none."""
        found = [
            self._get(self.owner(place.account), place.number)
            for place in places
            if place.part is places[0].part
        ]
        sizes = [
            [int(n) for n in (one.get("sizeInfo") or {}).values() if str(n).isdigit()]
            for one in found
        ]
        every = [size for some in sizes for size in some]
        states = [str(one.get("membershipStatus", "")) for one in found]
        large = [max(some) >= SMALLEST_USABLE for some in sizes if some]
        rates = [rate for rate in map(_match_rate, found) if rate]
        words = {_STATES[state]: None for state in states if state in _STATES}
        return Statistics(
            size_lower=min(every, default=None),
            size_upper=max(every, default=None),
            match_range=", ".join(dict.fromkeys(rates)) or None,
            status=", ".join(words) or None,
            usable=set(states) == {"OPEN"} and all(large) if len(large) == len(found) else None,
        )

    def _wanted(self, part: Part, kinds: tuple[Kind, ...]) -> bool:
        if not set(part.kinds) & set(kinds):
            return False
        if part is USER:
            return self.settings.user_id_lists
        allowed = self.settings.allow_unhashed_device_ids
        return part is CONTACT or (allowed and self._app(part) is not None)

    def _app(self, part: Part) -> str | None:
        return {IOS: self.settings.ios_app_id, ANDROID: self.settings.android_app_id}.get(part)

    def _find(self, owner: Account, name: str, marker: str) -> str | None:
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        asked = {"filter": f'display_name="{quoted}"', "pageSize": "1000"}
        token, seen = "", set[str]()
        while token not in seen:
            seen.add(token)
            page = self._get(owner, "", asked | ({"pageToken": token} if token else {}))
            for found in page.get("userLists") or ():
                if found.get("displayName") != name:
                    continue
                if marker not in str(found.get("description", "")):
                    raise RefusedError(
                        "a list of this name is not ours; rename the audience, or adopt the list "
                        "by its remote_id"
                    )
                return _id(found)
            token = str(page.get("nextPageToken", ""))
        return None

    def _shown(self, owner: Account, number: str) -> bool:
        """Whether the account still lists it; asked so that no other 404 passes for a deletion."""
        found = self._get(owner, "", {"filter": f"id={number}"}).get("userLists") or ()
        return any(str(one.get("id")) == number for one in found)

    def _definition(self, part: Part, name: str, description: str) -> bytes:
        source = {"dataSourceType": "DATA_SOURCE_TYPE_FIRST_PARTY"}
        app = {"keySpace": part.name.upper(), "appId": self._app(part)}
        kinds: dict[Part, tuple[str, dict[str, Any]]] = {
            CONTACT: ("CONTACT_ID", {"contactIdInfo": source}),
            USER: ("USER_ID", {"userIdInfo": source}),
        }
        key, info = kinds.get(part, ("MOBILE_ID", {"mobileIdInfo": source | app}))
        return orjson.dumps(
            {
                "displayName": name,
                "description": description,
                "integrationCode": name,
                "membershipStatus": "OPEN",
                "membershipDuration": f"{self.settings.membership_duration_days * DAY}s",
                "ingestedUserListInfo": {"uploadKeyTypes": [key], **info},
            }
        )

    def _get(
        self, owner: Account, path: str, params: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        url = f"{owner.lists}/{path}".rstrip("/")
        found: dict[str, Any] = self.client.request(
            "GET", url, params=params, headers=owner.headers()
        ).json()
        return found

    def _post(
        self, owner: Account, body: bytes, params: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        found: dict[str, Any] = self.client.request(
            "POST", owner.lists, body=body, params=params, headers=owner.headers()
        ).json()
        return found


def _match_rate(found: Mapping[str, Any]) -> str:
    info = (found.get("ingestedUserListInfo") or {}).get("contactIdInfo") or {}
    rate = info.get("matchRatePercentage")
    return f"{int(rate)} %" if rate else ""


def _id(found: Mapping[str, Any]) -> str:
    if not found.get("id"):
        raise TemporaryPartnerError("Google did not name the list; try again")
    return str(found["id"])
