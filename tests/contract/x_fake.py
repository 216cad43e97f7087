"""As much of X as the contract needs, in memory."""

from __future__ import annotations

from urllib.parse import parse_qs

from audience_sync.connector import Answer
from audience_sync.testing.builders import FakePartner, Sent, answered

MOST_OPERATIONS, MOST_BYTES = 2_500, 5_000_000


class XFake(FakePartner):
    """One ads account; a request that holds a refused identifier changes nothing."""

    def __init__(self, *answers: Answer | Exception) -> None:
        super().__init__(*answers)
        self.names: dict[str, str] = {}

    def plant(self, name: str) -> None:
        self._make(name, "somebody else's list")

    def respond(self, sent: Sent) -> Answer:
        if 'oauth_token="token-canary"' not in sent.headers.get("Authorization", ""):
            return _refused("UNAUTHORIZED_ACCESS", 401)
        path, _, query = sent.url.partition("?")
        what = path.rpartition("/")[2]
        if what == "users":
            return self._changed(sent)
        if what == "custom_audiences":
            return self._lists(sent, query)
        if sent.method == "DELETE":
            known = self.lists.pop(what, None) is not None
            gone = answered({"data": {"id": what, "deleted": True}})
            return gone if known else _refused("NOT_FOUND", 404)
        found = {"id": what, "audience_size": 1200}
        return answered({"data": [found] if what == "do_not_reach_lists" else found})

    def _lists(self, sent: Sent, query: str) -> Answer:
        asked = {name: values[0] for name, values in parse_qs(query).items()}
        if sent.method == "GET":
            found = self.lists.items()
            listed = [{"id": n, "name": self.names[n], "description": d} for n, d in found]
            return answered({"data": listed, "next_cursor": None})
        if asked["name"] in self.names.values():
            return _refused("INVALID_PARAMETER", 400)
        return answered({"data": {"id": self._make(asked["name"], asked["description"])}})

    def _make(self, name: str, description: str) -> str:
        number = f"2906{len(self.names)}"
        self.lists[number], self.names[number] = description, name
        return number

    def _changed(self, sent: Sent) -> Answer:
        operations = sent.json()
        if len(operations) > MOST_OPERATIONS or len(sent.body or b"") > MOST_BYTES:
            return _refused("REQUEST_TOO_COMPLEX", 400)
        users = [
            (operation["operation_type"], [v for key in user.values() for v in key])
            for operation in operations
            for user in operation["params"]["users"]
        ]
        if any(self.refused & set(values) for _, values in users):
            return answered({"operation_errors": [[_error("INVALID_PARAMETER", "email")]]}, 400)
        for verb, values in users:
            if verb == "Update":
                self.held |= set(values)
            else:
                self.held -= set(values)
        return answered({"data": {"success_count": len(users), "total_count": len(users)}})


def _error(code: str, parameter: str) -> dict[str, str]:
    return {"code": code, "message": "no", "parameter": parameter}


def _refused(code: str, status: int) -> Answer:
    return answered({"errors": [_error(code, "name")]}, status)
