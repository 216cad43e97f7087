"""As much of Pinterest as the contract needs, in memory."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from audience_sync.connector import Answer
from audience_sync.testing.builders import FakePartner, Sent, answered

MOST_RECORDS, MOST_BYTES = 15_000, 1_000_000


class PinterestFake(FakePartner):
    """One ad account whose lists are ready at once; a refresh token is good for one renewal."""

    def __init__(self, *answers: Answer | Exception) -> None:
        super().__init__(*answers)
        self.names: dict[str, str] = {}
        self.counters: dict[str, dict[str, int]] = {}
        self.tops: list[dict[str, Any]] = []
        self.refresh_token = "pinr.canary-0"

    def plant(self, name: str) -> None:
        self._make(f"{name} of somebody else")

    def respond(self, sent: Sent) -> Answer:
        if sent.url == "oauth/token":
            return self._token(sent)
        if not sent.headers.get("Authorization", "").startswith("Bearer pina.canary"):
            return answered({"code": 2, "message": "no"}, 401)
        path = sent.url.removeprefix("ad_accounts/549756359984/")
        return self._audiences(sent) if path == "audiences" else self._lists(sent, path)

    def _lists(self, sent: Sent, path: str) -> Answer:
        if path == "customer_lists" and sent.method == "GET":
            return answered({"items": [self._list(n) for n in self.lists], "bookmark": None})
        if path == "customer_lists":
            made = self._make(sent.json()["name"])
            self.held |= set(sent.json()["records"].split(","))
            return answered(self._list(made))
        number = path.rpartition("/")[2]
        if number not in self.lists:
            return answered({"code": 404, "message": "no"}, 404)
        if sent.method == "PATCH":
            self._changed(number, sent)
        return answered(self._list(number))

    def _token(self, sent: Sent) -> Answer:
        form = parse_qs((sent.body or b"").decode())
        if form["refresh_token"] != [self.refresh_token]:
            return answered({"code": 283, "message": "no"}, 400)
        turn = int(self.refresh_token.rpartition("-")[2]) + 1
        self.refresh_token = f"pinr.canary-{turn}"
        return answered(
            {
                "access_token": f"pina.canary-{turn}",
                "refresh_token": self.refresh_token,
                "expires_in": 2_592_000,
            }
        )

    def _make(self, name: str) -> str:
        number = str(len(self.lists) + 643)
        self.lists[number] = name
        self.counters[number] = {"num_batches": 1, "ADD": 1, "REMOVE": 0}
        return number

    def _list(self, number: str) -> dict[str, Any]:
        counters = self.counters[number]
        return {
            "id": number,
            "name": self.lists[number],
            "status": "READY",
            "num_batches": counters["num_batches"],
            "num_uploaded_user_records": counters["ADD"],
            "num_removed_user_records": counters["REMOVE"],
            "exceptions": {},
        }

    def _changed(self, number: str, sent: Sent) -> None:
        wanted = sent.json()
        records = wanted["records"].split(",")
        if len(records) > MOST_RECORDS or len(sent.body or b"") > MOST_BYTES:
            raise AssertionError("more than Pinterest takes")
        taken = [record for record in records if record not in self.refused]
        if wanted["operation_type"] == "ADD":
            self.held |= set(taken)
        else:
            self.held -= set(taken)
        self.counters[number]["num_batches"] += 1
        self.counters[number][wanted["operation_type"]] += len(taken)

    def _audiences(self, sent: Sent) -> Answer:
        if sent.method == "GET":
            return answered({"items": self.tops, "bookmark": None})
        made = sent.json() | {"id": str(len(self.tops) + 1), "size": 120, "status": "READY"}
        self.tops.append(made)
        return answered(made)
