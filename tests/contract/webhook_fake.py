"""An endpoint in memory, as the one who receives from a webhook would write it."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Any

from webhook_settings import SECRET

from audience_sync.connector import Answer
from audience_sync.testing.builders import FakePartner, Sent, answered

MOST_ROWS = 1_000


class WebhookFake(FakePartner):
    """Lists by the name that the sender chose; rejected rows are named by their index."""

    def plant(self, name: str) -> None:
        self.lists[f"their/{name}"] = "somebody else's"

    def respond(self, sent: Sent) -> Answer:
        if not _signed(sent) or sent.headers.get("X-Api-Key") != "api-key-canary":
            return answered({}, 401)
        wanted = sent.json()
        if wanted["operation"] == "create":
            self.lists.setdefault(wanted["list"], wanted["title"])
        if wanted["operation"] not in ("add", "remove"):
            return answered({})
        rows = [self.values(row) for row in wanted["members"]]
        if not 0 < len(rows) <= MOST_ROWS:
            return answered({}, 400)
        bad = [at for at, row in enumerate(rows) if self.refused & row]
        for at, row in enumerate(rows):
            if wanted["operation"] == "remove":
                self.held -= row
            elif at not in bad:
                self.held |= row
        return answered(
            {"accepted": len(rows) - len(bad), "rejected": [self.named(rows[at], at) for at in bad]}
        )

    def values(self, row: Any) -> set[str]:
        """The identifiers in a row."""
        return set(row.values())

    def named(self, row: set[str], at: int) -> Any:
        """How a row is rejected."""
        return {"index": at, "code": "UNKNOWN_PERSON"}


class WebhookOtherFake(WebhookFake):
    """Rows say what stands in them, and are rejected by what they hold."""

    def values(self, row: Any) -> set[str]:
        assert row["type"] == "person"
        return {entry["value"] for key, entry in row.items() if key != "type"}

    def named(self, row: set[str], at: int) -> Any:
        return next(iter(row & self.refused))


def _signed(sent: Sent) -> bool:
    found = re.fullmatch(r"t=(\d+),v1=(\w+)", sent.headers["X-Audience-Sync-Signature"])
    assert found
    told = found[1].encode() + b"." + (sent.body or b"")
    return hmac.new(SECRET.encode(), told, hashlib.sha256).hexdigest() == found[2]
