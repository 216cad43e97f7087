"""As much of Snapchat as the contract needs, in memory."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from audience_sync.connector import Answer
from audience_sync.testing.builders import FakePartner, Sent, answered

ACCOUNT = "422ef6f5-0000-4000-8000-000000000001"
MOST = 100_000


class SnapchatFake(FakePartner):
    """One ad account; refused identifiers are left out and only counted."""

    def __init__(self, *answers: Answer | Exception) -> None:
        super().__init__(*answers)
        self.names: dict[str, str] = {}

    def plant(self, name: str) -> None:
        self._make({"name": name, "description": "somebody else's segment"})

    def respond(self, sent: Sent) -> Answer:
        if sent.anonymous:
            return self._token(sent)
        if sent.headers.get("Authorization") != "Bearer snap-access":
            return answered(b"unauthorized", 401)
        if sent.url == f"v1/adaccounts/{ACCOUNT}/segments":
            return self._account(sent)
        return self._one(sent)

    def _account(self, sent: Sent) -> Answer:
        if sent.method == "POST":
            return self._made(sent.json()["segments"])
        return _segments([self._view(number) for number in self.lists])

    def _one(self, sent: Sent) -> Answer:
        _, _, number, *rest = sent.url.split("/")
        if number not in self.lists:
            return _refused(404)
        if rest == ["users"]:
            return self._changed(sent)
        if rest == ["all_users"]:
            self.held.clear()
        if not rest and sent.method == "DELETE":
            del self.lists[number]
            return _segments([])
        return _segments([self._view(number)])

    def _token(self, sent: Sent) -> Answer:
        form = dict(parse_qsl((sent.body or b"").decode()))
        if form.get("refresh_token") != "snap-refresh-canary":
            return answered({"error": "invalid_grant"}, 400)
        return answered({"access_token": "snap-access", "expires_in": 1800})

    def _made(self, wanted: list[dict[str, Any]]) -> Answer:
        return _segments([self._view(self._make(one)) for one in wanted])

    def _make(self, wanted: dict[str, Any]) -> str:
        number = str(5_677_923_948_298_240 + len(self.names))
        self.lists[number], self.names[number] = wanted["description"], wanted["name"]
        return number

    def _view(self, number: str) -> dict[str, Any]:
        return {
            "id": number,
            "name": self.names[number],
            "description": self.lists[number],
            "status": "ACTIVE",
            "targetable_status": "READY",
            "upload_status": "COMPLETE",
            "approximate_number_users": 8200,
        }

    def _changed(self, sent: Sent) -> Answer:
        [wanted] = sent.json()["users"]
        assert len(wanted["schema"]) == 1
        values = [value for (value,) in wanted["data"]]
        if len(values) > MOST:
            return _refused(400)
        taken = set(values) - self.refused
        if sent.method == "DELETE":
            self.held -= set(values)
        else:
            self.held |= taken
        count = len(values) if sent.method == "DELETE" else len(taken)
        user = {"number_uploaded_users": count}
        return _success(users=[{"sub_request_status": "SUCCESS", "user": user}])


def _segments(found: list[dict[str, Any]]) -> Answer:
    return _success(segments=[{"sub_request_status": "SUCCESS", "segment": one} for one in found])


def _success(**parts: Any) -> Answer:
    return answered({"request_status": "SUCCESS", "request_id": "5f3b", **parts})


def _refused(status: int) -> Answer:
    return answered({"request_status": "ERROR", "error_code": "E1001"}, status)
