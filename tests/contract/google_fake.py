"""As much of Google as the contract needs, in memory."""

from __future__ import annotations

import re
from typing import Any

from audience_sync.connector import Answer
from audience_sync.testing.builders import FakePartner, Sent, answered

MOST_MEMBERS, MOST_IDENTIFIERS = 10_000, 10


class GoogleFake(FakePartner):
    """One account whose requests are done at once; `names_rows` says whether 400 names rows."""

    def __init__(self, *answers: Answer | Exception, names_rows: bool = True) -> None:
        super().__init__(*answers)
        self.names_rows = names_rows
        self.names: dict[str, str] = {}
        self.owners: dict[str, str] = {}  # where each list is, by its number
        self.sizes: dict[str, tuple[int, int]] = {}  # rows and destinations by request

    def plant(self, name: str) -> None:
        lists = "v1/accountTypes/GOOGLE_ADS/accounts/1234567890/userLists"
        self._make(lists, name, "somebody else's list")

    def respond(self, sent: Sent) -> Answer:
        if sent.url == "https://tokens.example/token":
            return answered({"access_token": "ya29.canary", "expires_in": 3599})
        if sent.headers.get("Authorization") != "Bearer ya29.canary":
            return _refused("UNAUTHENTICATED", 401)
        if "userLists" in sent.url:
            return self._lists(sent)
        if sent.url.endswith("requestStatus:retrieve"):
            return self._status(sent.params["requestId"])
        return self._changed(sent, sent.json())

    def _lists(self, sent: Sent) -> Answer:
        if sent.method == "DELETE":
            return self._deleted(*sent.url.rsplit("/", 1))
        if sent.method == "GET" and sent.url.endswith("userLists"):
            wanted = re.fullmatch(r'display_name="(.*)"', sent.params.get("filter", ""))
            return answered(
                {
                    "userLists": [
                        self._list(n)
                        for n in self.lists
                        if self.owners[n] == sent.url
                        and (wanted is None or self.names[n] == wanted[1])
                    ]
                }
            )
        if sent.method == "GET":
            return answered(self._list(sent.url.rpartition("/")[2]))
        asked = sent.json()
        if (sent.url, asked["displayName"]) in (
            (self.owners[n], self.names[n]) for n in self.lists
        ):
            return _refused("DISPLAY_NAME_ALREADY_USED", 409)
        if sent.params.get("validateOnly") == "true":
            return answered({})
        return answered({"id": self._make(sent.url, asked["displayName"], asked["description"])})

    def _deleted(self, owner: str, number: str) -> Answer:
        if self.owners.get(number) != owner or self.lists.pop(number, None) is None:
            return _refused("NOT_FOUND", 404)
        return answered({})

    def _make(self, owner: str, name: str, description: str) -> str:
        number = str(len(self.owners) + 901)
        self.lists[number], self.names[number], self.owners[number] = description, name, owner
        return number

    def _list(self, number: str) -> dict[str, Any]:
        return {
            "id": number,
            "displayName": self.names[number],
            "description": self.lists[number],
            "membershipStatus": "OPEN",
            "sizeInfo": {"displayNetworkMembersCount": "12000", "gmailMembersCount": "7400"},
            "ingestedUserListInfo": {"contactIdInfo": {"matchRatePercentage": 62}},
        }

    def _changed(self, sent: Sent, wanted: dict[str, Any]) -> Answer:
        rows = [_texts(member) for member in wanted["audienceMembers"]]
        bad = [at for at, row in enumerate(rows) if self.refused & set(row)]
        if bad:
            return _refused("INVALID_HEX_ENCODING", 400, bad if self.names_rows else [])
        if len(rows) > MOST_MEMBERS or max(map(len, rows)) > MOST_IDENTIFIERS:
            return _refused("TOO_MANY_AUDIENCE_MEMBERS", 400)
        if wanted["validateOnly"]:
            return answered({})
        for row in rows:
            if sent.url.endswith(":ingest"):
                self.held |= set(row)
            else:
                self.held -= set(row)
        request = f"126365e1-16d0-4c81-9de9-{len(self.sizes):012}"
        self.sizes[request] = len(rows), len(wanted["destinations"])
        return answered({"requestId": request})

    def _status(self, request: str) -> Answer:
        rows, destinations = self.sizes[request]
        status = {"compositeDataIngestionStatus": {"recordCount": str(rows)}}
        state = {"requestStatus": "SUCCESS", "audienceMembersIngestionStatus": status}
        return answered({"requestStatusPerDestination": [state] * destinations})


def _texts(member: dict[str, Any]) -> list[str]:
    if "mobileData" in member:
        return list(member["mobileData"]["mobileIds"])
    if "userIdData" in member:
        return [member["userIdData"]["userId"]]
    found = member["compositeData"]["userData"]["userIdentifiers"]
    return [text for identifier in found for text in identifier.values()]


def _refused(reason: str, status: int, rows: list[int] | None = None) -> Answer:
    details: list[dict[str, Any]] = [
        {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}
    ]
    if rows:
        path = "audience_members.audience_members[{}].composite_data.user_data.user_identifiers"
        details.append(
            {"fieldViolations": [{"field": path.format(at), "reason": reason} for at in rows]}
        )
    return answered({"error": {"code": status, "details": details}}, status)
