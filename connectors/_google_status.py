"""What became of uploads to Google: the reference that is polled, and the states it answers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from audience_sync.connector import Receipt

_FINAL = ("SUCCESS", "PARTIAL_SUCCESS", "FAILED")
_BLOCKS = ("audienceMembersIngestionStatus", "audienceMembersRemovalStatus")


class Request(NamedTuple):
    """One request of an upload: its members, its id, and to how many destinations it went."""

    members: int
    id: str
    destinations: int = 1


class Reference(NamedTuple):
    """What `poll` needs: when it was sent, how many members, and the requests."""

    at: int
    members: int
    requests: tuple[Request, ...]

    @property
    def written(self) -> str:
        """The reference as one word."""
        return ";".join((str(self.at), str(self.members), *map(_request_text, self.requests)))

    @classmethod
    def read(cls, text: str) -> Reference:
        """A reference from its text."""
        at, members, *requests = text.split(";")
        pieces = (request.split(":") for request in requests)
        found = (
            Request(int(size), name, *map(int, destinations))
            for size, name, *destinations in pieces
        )
        return cls(int(at), int(members), tuple(found))

    def pending(self, poll_after: float) -> Receipt:
        """The receipt while Google is at work."""
        return Receipt(
            accepted=self.members, reference=self.written, pending=True, poll_after=poll_after
        )


class Outcome(NamedTuple):
    """What became of one request at one destination; `failed` are records by reason."""

    failed: Mapping[str, int]
    ranges: frozenset[str]  # of match rates, in words
    lost: bool  # the request failed as a whole


def outcomes_of(states: Sequence[Mapping[str, Any]], request: Request) -> list[Outcome] | None:
    """What became of a request at each destination; None while Google works on any."""
    found = [_outcome(state, request.members) for state in states]
    final = [outcome for outcome in found if outcome is not None]
    return final if len(final) == len(found) >= request.destinations else None


def receipt_of(sent: Reference, done: Sequence[list[Outcome]]) -> Receipt:
    """The final receipt; a member that failed in two lists is still one member.

    One destination that failed as a whole loses the batch, whatever the others took: its members
    count as held, so that a removal reaches all of them, and are sent again.
    """
    pairs = list(zip(sent.requests, done, strict=True))
    failed = min(sum(_failed(request, outcomes) for request, outcomes in pairs), sent.members)
    every = [outcome for outcomes in done for outcome in outcomes]
    reasons = {reason for outcome in every for reason in outcome.failed if reason}
    ranges = frozenset[str]().union(*(outcome.ranges for outcome in every))
    return Receipt(
        accepted=sent.members - failed,
        unattributed=failed,
        reference=sent.written,
        match_range=", ".join(sorted(ranges)) or None,
        reason=", ".join(sorted(reasons)) or None,
        lost=any(outcome.lost for outcome in every),
    )


def _request_text(request: Request) -> str:
    several = f":{request.destinations}" if request.destinations > 1 else ""
    return f"{request.members}:{request.id}{several}"


def _failed(request: Request, outcomes: Sequence[Outcome]) -> int:
    """How many members failed anywhere; what is wrong with a record is wrong everywhere."""
    worst: dict[str, int] = {}
    for outcome in outcomes:
        if outcome.lost:
            return request.members
        for reason, count in outcome.failed.items():
            worst[reason] = max(worst.get(reason, 0), count)
    return min(sum(worst.values()), request.members)


def _outcome(state: Mapping[str, Any], members: int) -> Outcome | None:
    """What became of one request at one destination; None while Google works on it."""
    status = state.get("requestStatus")
    if status not in _FINAL:
        return None
    errors = (state.get("errorInfo") or {}).get("errorCounts") or []
    blocks = [block for name in _BLOCKS for block in (state.get(name) or {}).values()]
    records = sum(int(block.get("recordCount", 0)) for block in blocks)  # failures included
    failed: dict[str, int] = {}
    for error in errors:
        reason = _word(error.get("reason"), "PROCESSING_ERROR_REASON_")
        failed[reason] = failed.get(reason, 0) + int(error.get("recordCount", 0))
    missing = max(members - records, 0) if records else 0
    failed |= {"": failed.get("", 0) + missing} if missing else {}
    if status == "PARTIAL_SUCCESS" and not any(failed.values()):
        failed = {"": members}  # some failed, and nobody is told how many
    ranges = {_range(block.get("uploadMatchRateRange")) for block in blocks} - {""}
    return Outcome(failed, frozenset(ranges), status == "FAILED")


def _word(text: Any, prefix: str) -> str:
    """A code of Google's without its prefix; anything that is not a code is left out."""
    word = str(text or "").removeprefix(prefix)
    return word if re.fullmatch(r"[A-Z0-9_]+", word) else ""


def _range(text: Any) -> str:
    word = _word(text, "MATCH_RATE_RANGE_")
    if word == "LESS_THAN_20":
        return "under 20 %"
    lower, _, upper = word.partition("_TO_")
    return f"{lower}-{upper} %" if upper else ""
