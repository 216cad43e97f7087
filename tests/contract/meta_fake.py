"""As much of Meta as the contract needs, in memory."""

from __future__ import annotations

from typing import Any

from audience_sync.connector import Answer
from audience_sync.testing.builders import FakePartner, Sent, answered

MOST_ROWS = 10_000


class MetaFake(FakePartner):
    """One ad account; a session that was finished takes no second batch."""

    def __init__(self, *answers: Answer | Exception) -> None:
        super().__init__(*answers)
        self.finished: set[int] = set()

    def plant(self, name: str) -> None:
        self.lists[str(len(self.lists) + 500)] = f"somebody else's {name}"

    def respond(self, sent: Sent) -> Answer:
        if sent.anonymous:
            return answered({"access_token": "EAATESTTOKEN", "expires_in": 5_183_944})
        if sent.headers.get("Authorization") != "Bearer EAATESTTOKEN":
            return _refused(190, 463)
        path = sent.url.removeprefix("v26.0/")
        if path.endswith("/customaudiences"):
            return self._made(sent) if sent.method == "POST" else self._listed()
        if path.endswith("/users"):
            return self._changed(sent)
        if sent.method == "DELETE":
            known = self.lists.pop(path, None) is not None
            return answered({"success": True}) if known else _refused(100, 33)
        return answered({"id": path, "tos_accepted": {"custom_audience_tos": 1}} | _SIZES)

    def _listed(self) -> Answer:
        return answered({"data": [{"id": k, "description": v} for k, v in self.lists.items()]})

    def _made(self, sent: Sent) -> Answer:
        number = str(len(self.lists) + 1)
        self.lists[number] = sent.json()["description"]
        return answered({"id": number})

    def _changed(self, sent: Sent) -> Answer:
        wanted = sent.json()
        session, schema = wanted["session"], wanted["payload"]["schema"]
        columns = [schema] if isinstance(schema, str) else schema
        people = sum(not name.startswith("DATA_PROCESSING") for name in columns)
        rows = [
            [row] if isinstance(row, str) else row[:people] for row in wanted["payload"]["data"]
        ]
        if session["session_id"] in self.finished:
            return _refused(2650, 1870159)
        if len(rows) > MOST_ROWS:
            return _refused(100, None)
        if session["last_batch_flag"]:
            self.finished.add(session["session_id"])
        samples = [_bad(row, self.refused) for row in rows]
        leaves = sent.method == "DELETE" or sent.params.get("method") == "DELETE"
        for row, bad in zip(rows, samples, strict=True):
            if leaves:
                self.held -= set(row)
            elif not bad:
                self.held |= set(row) - {""}
        bad = [sample for sample in samples if sample]
        return answered(
            {
                "session_id": str(session["session_id"]),
                "num_received": len(rows),
                "num_invalid_entries": len(bad),
                "invalid_entry_samples": bad[:100],
            }
        )


_SIZES = {
    "approximate_count_lower_bound": 8200,
    "approximate_count_upper_bound": 9600,
    "operation_status": {"code": 200, "description": "Normal"},
    "delivery_status": {"code": 200, "description": "This audience is ready for use."},
}


def _bad(row: list[str], refused: set[str]) -> str:
    return next((cell for cell in row if cell in refused), "")


def _refused(code: int, subcode: int | None) -> Answer:
    error: dict[str, Any] = {"message": "no", "code": code, "error_subcode": subcode}
    return answered({"error": error}, 400)
