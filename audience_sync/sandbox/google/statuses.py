"""What became of the requests: PROCESSING for a while, then the result of each destination."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from audience_sync.sandbox.google.errors import GoogleError, missing, wrong
from audience_sync.sandbox.world import World

REMEMBERED = 50 * 86_400  # seconds
SMALLEST_UPLOAD = 100  # matched rows that make a match rate known
NOT_ELIGIBLE = "MATCH_RATE_RANGE_NOT_ELIGIBLE"


@dataclass(slots=True)
class Outcome:
    """What one destination will tell of a request; `errors` are rows by reason."""

    destination: dict[str, Any]
    rows: int
    block: dict[str, Any]
    errors: dict[str, list[int]] = field(default_factory=dict)
    name_rows: bool = False

    def view(self) -> dict[str, Any]:
        """The final status of the destination."""
        failed = sum(map(len, self.errors.values()))
        status = "SUCCESS"
        if failed:
            status = "FAILED" if failed >= self.rows else "PARTIAL_SUCCESS"
        shown = {"destination": self.destination, "requestStatus": status, **self.block}
        counts = [self._count(reason, rows) for reason, rows in self.errors.items() if rows]
        return shown | ({"errorInfo": {"errorCounts": counts}} if counts else {})

    def _count(self, reason: str, rows: list[int]) -> dict[str, Any]:
        count: dict[str, Any] = {
            "recordCount": str(len(rows)),
            "reason": f"PROCESSING_ERROR_REASON_{reason}",
        }
        return count | ({"recordIndices": rows} if self.name_rows else {})


@dataclass(slots=True)
class _Asked:
    made: float
    ready: float
    outcomes: list[Outcome]
    validate_only: bool


class Statuses:
    """Every request by its id."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._by_id: dict[str, _Asked] = {}

    def keep(
        self, outcomes: list[Outcome], *, validate_only: bool = False, slower: float = 0.0
    ) -> str:
        """Remember a request; the id to ask with."""
        request, now = str(uuid.uuid4()), self._world.clock.now()
        wait = self._world.options.google_processing_seconds + slower
        self._by_id[request] = _Asked(now, now + wait, outcomes, validate_only)
        return request

    def view(self, request: str | None) -> dict[str, Any]:
        """What is known of a request now."""
        if not request:
            raise missing("request_id")
        asked, now = self._by_id.get(request), self._world.clock.now()
        unknown = self._world.options.google_unknown_seconds
        if asked is None or (now < asked.made + unknown):
            raise GoogleError("NOT_FOUND", "Requested entity was not found.", "NOT_FOUND")
        if asked.validate_only:
            raise wrong("INVALID_REQUEST_ID", "request_id", "The request was only validated.")
        if now > asked.made + REMEMBERED:
            raise wrong("REQUEST_TOO_OLD", "request_id", "The request is too old.")
        if now < asked.ready:
            shown = [_processing(outcome) for outcome in asked.outcomes]
        else:
            shown = [outcome.view() for outcome in asked.outcomes]
        return {"requestStatusPerDestination": shown}


def _processing(outcome: Outcome) -> dict[str, Any]:
    return {"destination": outcome.destination, "requestStatus": "PROCESSING"}


def match_range(matched: float, share: float) -> str:
    """A match rate as Google writes it, from so many matched rows."""
    if matched < SMALLEST_UPLOAD:
        return NOT_ELIGIBLE
    percent = round(share * 100)
    if percent < 20:  # noqa: PLR2004 - Google's lowest range
        return "MATCH_RATE_RANGE_LESS_THAN_20"
    if percent <= 30:  # noqa: PLR2004 - the one range of eleven
        return "MATCH_RATE_RANGE_20_TO_30"
    low = (percent - 1) // 10 * 10 + 1
    return f"MATCH_RATE_RANGE_{low}_TO_{low + 9}"
