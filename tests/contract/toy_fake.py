"""The invented partner itself, in memory."""

from __future__ import annotations

from audience_sync.connector import Answer
from audience_sync.testing.builders import FakePartner, Sent, answered

MOST_ROWS = 40


class ToyFake(FakePartner):
    """Lists by number; a row with a refused cell is named and left out."""

    def plant(self, name: str) -> None:
        self.lists[str(len(self.lists) + 500)] = f"somebody else's {name}"

    def respond(self, sent: Sent) -> Answer:
        if sent.headers.get("Authorization") != "Bearer toy-token-canary":
            return answered({}, 401)
        if sent.method == "GET":
            return answered({"lists": self.lists, "size": len(self.held)})
        wanted = sent.json()
        if sent.url == "lists":
            number = str(len(self.lists) + 1)
            self.lists[number] = wanted["description"]
            return answered({"id": number})
        if len(wanted["rows"]) > MOST_ROWS:
            return answered({}, 400)
        bad = [at for at, row in enumerate(wanted["rows"]) if self.refused & set(row)]
        for at, row in enumerate(wanted["rows"]):
            if sent.method == "DELETE":
                self.held -= set(row)
            elif at not in bad:
                self.held |= set(row)
        return answered({"bad": bad})
