"""Snapchat's segments as its answers hold them: made, found, and read back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from audience_sync.connector import (
    AudienceRequest,
    ConfigurationError,
    RefusedError,
    Statistics,
    TemporaryPartnerError,
)

LONGEST_NAME = 375  # characters
PAGE = 1_000  # segments
NOT_FOUND = 404  # HTTP's own status
PAGES = 100  # more than any ad account has
WORDS = {
    "READY": "ready for use",
    "NOT_READY": "in preparation",
    "TOO_FEW_USERS": "too small",
    "NO_UPLOAD": "nothing uploaded",
    "PROCESSING": "upload under way",
    "COMPLETE": "upload complete",
}


def definition(audience: AudienceRequest, account: str, days: int | None) -> bytes:
    """The body that makes a segment; without days its members stay for ever."""
    wanted: dict[str, Any] = {
        "name": audience.name[:LONGEST_NAME],
        "description": f"{audience.title} {audience.marker}",
        "source_type": "FIRST_PARTY",
        "ad_account_id": account,
    }
    if days is not None:
        wanted["retention_in_days"] = days
    return orjson.dumps({"segments": [wanted]})


def ensure(call: Callable[..., dict[str, Any]], url: str, marker: str, body: bytes) -> str:
    """The id of the segment with our marker in its description, made where there is none.

    Not repeated here: after a lost answer the next look-up finds what was made.
    """
    for found in listed(call, url):
        if marker in str(found.get("description", "")):
            return named(found)
    made = segments(call("POST", url, body=body, repeatable=False))
    return named(made[0] if made else {})


def listed(call: Callable[..., dict[str, Any]], url: str) -> Iterator[dict[str, Any]]:
    """Every segment of the ad account, page by page."""
    page = call("GET", url, params={"limit": str(PAGE)})
    for _ in range(PAGES):
        yield from segments(page)
        paging = page.get("paging")
        following = paging.get("next_link") if isinstance(paging, dict) else None
        if not following:
            return
        page = call("GET", str(following))


def delete(call: Callable[..., dict[str, Any]], url: str, remote_id: str) -> None:
    """Delete a segment; one that is not found is gone if the ad account does not list it."""
    try:
        call("DELETE", f"v1/segments/{number(remote_id)}")
    except RefusedError as error:
        missing = error.status == NOT_FOUND
        if not missing or any(named(one) == remote_id for one in listed(call, url)):
            raise


def segments(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The segments within an answer."""
    parts = found.get("segments")
    if not isinstance(parts, list):
        raise TemporaryPartnerError("Snapchat did not list the segments; try again")
    inner = [part.get("segment") for part in parts if isinstance(part, dict)]
    return [segment for segment in inner if isinstance(segment, dict)]


def statistics_of(found: Mapping[str, Any]) -> Statistics:
    """What an answer tells of its one segment."""
    shown = segments(found)
    if not shown:
        raise TemporaryPartnerError("Snapchat did not tell of the segment; try again")
    size, target = shown[0].get("approximate_number_users"), shown[0].get("targetable_status")
    words = [WORDS[word] for word in (target, shown[0].get("upload_status")) if word in WORDS]
    known = size if isinstance(size, int) and size >= 0 else None
    return Statistics(
        size_lower=known,
        size_upper=known,
        status=", ".join(words) or None,
        usable=None if target is None else target == "READY",
    )


def named(found: Mapping[str, Any]) -> str:
    """The id of a segment."""
    if not found.get("id"):
        raise TemporaryPartnerError("Snapchat did not name the segment; try again")
    return str(found["id"])


def number(remote_id: str) -> str:
    """A segment's id, which is all digits."""
    if not (remote_id.isascii() and remote_id.isdigit()):
        raise ConfigurationError("a segment at Snapchat is named by digits; check remote_id")
    return remote_id
