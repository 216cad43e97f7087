"""The JSON fields that each request may have; anything else is refused as Google does."""

from __future__ import annotations

import re
from typing import Any

from audience_sync.sandbox.google.errors import GoogleError, unknown_name

TEXT, FLAG, NUMBER = "string", "boolean", "number"
_TYPES: dict[str, type | tuple[type, ...]] = {TEXT: str, FLAG: bool, NUMBER: (int, float, str)}

ACCOUNT = {"accountType": TEXT, "accountId": TEXT, "product": TEXT}
DESTINATION = {
    "reference": TEXT,
    "operatingAccount": ACCOUNT,
    "loginAccount": ACCOUNT,
    "linkedAccount": ACCOUNT,
    "productDestinationId": TEXT,
}
CONSENT = {"adUserData": TEXT, "adPersonalization": TEXT}
ADDRESS = dict.fromkeys(
    (
        "givenName",
        "familyName",
        "regionCode",
        "postalCode",
        "addressLine",
        "city",
        "administrativeArea",
    ),
    TEXT,
)
USER_DATA = {"userIdentifiers": [{"emailAddress": TEXT, "phoneNumber": TEXT, "address": ADDRESS}]}
MEMBER = {
    "destinationReferences": [TEXT],
    "consent": CONSENT,
    "compositeData": {"userData": USER_DATA, "ipData": [{"ipAddress": TEXT}]},
    "userData": USER_DATA,
    "mobileData": {"mobileIds": [TEXT]},
    "userIdData": {"userId": TEXT},
    "pairData": {"pairIds": [TEXT]},
    "ppidData": {"ppids": [TEXT]},
}
REMOVE = {
    "destinations": [DESTINATION],
    "audienceMembers": [],  # read by `members`
    "encoding": TEXT,
    "encryptionInfo": None,
    "validateOnly": FLAG,
}
INGEST = REMOVE | {
    "consent": CONSENT,
    "termsOfService": {"customerMatchTermsOfServiceStatus": TEXT},
}
REMOVE_ALL = {"destinations": [DESTINATION], "removeAsOfTime": TEXT, "validateOnly": FLAG}
USER_LIST = {
    "name": TEXT,
    "id": TEXT,
    "displayName": TEXT,
    "description": TEXT,
    "integrationCode": TEXT,
    "membershipStatus": TEXT,
    "membershipDuration": TEXT,
    "targetNetworkInfo": {"eligibleForSearch": FLAG},
    "ingestedUserListInfo": {
        "uploadKeyTypes": [TEXT],
        "contactIdInfo": {"dataSourceType": TEXT},
        "mobileIdInfo": {"dataSourceType": TEXT, "keySpace": TEXT, "appId": TEXT},
        "userIdInfo": {"dataSourceType": TEXT},
    },
}


def snake(name: str) -> str:
    """A field name as Google's error paths write it."""
    return re.sub("[A-Z]", lambda found: f"_{found.group().lower()}", name)


def check(value: Any, known: Any, path: str = "") -> None:
    """Refuse unknown names and values of the wrong type, as the JSON reader does."""
    if known is None or known == []:
        return
    if isinstance(known, str):
        if not isinstance(value, _TYPES[known]):
            raise _wrong_value(path, known)
    elif isinstance(known, list):
        if not isinstance(value, list):
            raise _wrong_value(path, "list")
        for at, item in enumerate(value):
            check(item, known[0], f"{path}[{at}]")
    elif isinstance(value, dict):
        for name, item in value.items():
            if name not in known:
                raise unknown_name(name, path)
            check(item, known[name], f"{path}.{snake(name)}" if path else snake(name))
    else:
        raise _wrong_value(path, "object")


def _wrong_value(path: str, kind: str) -> GoogleError:
    text = f"Invalid value at '{path}' ({kind})"
    return GoogleError("INVALID_ARGUMENT", text, violations=[(path, text, None)])
