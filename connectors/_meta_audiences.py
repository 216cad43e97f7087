"""Custom audiences of an ad account: looked for by marker, made, and read back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from audience_sync.connector import (
    AudienceRequest,
    RefusedError,
    Statistics,
    TemporaryPartnerError,
)
from connectors._meta_graph import Graph, numeric
from connectors._meta_words import TOO_MUCH, UNKNOWN, whole_number

PAGE = 100  # lists asked for at a time; Meta advises few
PAGES = 500  # more pages than any ad account has

FIELDS = (
    "id,approximate_count_lower_bound,approximate_count_upper_bound,operation_status,"
    "delivery_status"
)
NORMAL, REPLACING, REPLACE_FAILED, FLAGGED = 200, 414, 415, 471
OPERATION = {
    0: "unknown",
    100: "expiring",
    NORMAL: "normal",
    400: "warning",
    410: "nothing uploaded",
    411: "low match rate",
    412: "many invalid rows",
    REPLACING: "being replaced",
    REPLACE_FAILED: "replacement failed",
    441: "populating",
    442: "out of date",
    450: "out of date",
    FLAGGED: "flagged by policy",
    500: "error",
}
READY = 200
DELIVERY = {READY: "ready for use", 300: "too small"}


def ensure(graph: Graph, audience: AudienceRequest) -> str:
    """The id of our list; names are not unique at Meta, so the marker decides."""
    for found in _audiences(graph):
        if audience.marker in str(found.get("description", "")):
            return _id(found)
    settings = graph.settings
    wanted = {
        "name": audience.name,
        "subtype": "CUSTOM",
        "description": f"{audience.title} {audience.marker}",
        "customer_file_source": settings.customer_file_source,
        "enable_fetch_or_create": True,
    }
    if settings.retention_days is not None:
        wanted["retention_days"] = settings.retention_days
    # Not repeated here: after a lost answer the next look-up finds what was made.
    path = f"{settings.account}/customaudiences"
    return _id(graph.send("POST", path, orjson.dumps(wanted), repeatable=False))


def delete(graph: Graph, remote_id: str) -> None:
    """Take a list away with all on it; Meta must say so, or show that the account has it no more.

    Its word for a list that is gone is also its word for one that the token may not see.
    """
    try:
        found = graph.send("DELETE", numeric(remote_id))
    except RefusedError as error:
        if error.code != UNKNOWN or any(_id(one) == remote_id for one in _audiences(graph)):
            raise
        return
    if found.get("success") is not True:
        raise TemporaryPartnerError("Meta did not say that the audience is deleted; try again")


def statistics(graph: Graph, remote_id: str) -> Statistics:
    """A size range and Meta's states in our words; it never shows a match rate."""
    found = graph.get(numeric(remote_id), fields=FIELDS)
    operation, delivery = operation_of(found), (found.get("delivery_status") or {}).get("code")
    words = [
        table.get(code, f"code {code}")
        for table, code in ((OPERATION, operation), (DELIVERY, delivery))
        if code is not None
    ]
    return Statistics(
        size_lower=_size(found.get("approximate_count_lower_bound")),
        size_upper=_size(found.get("approximate_count_upper_bound")),
        status=", ".join(words) or None,
        usable=None if delivery is None else delivery == READY and operation != FLAGGED,
    )


def operation_of(found: Mapping[str, Any]) -> int | None:
    """Meta's code for what goes on with an audience."""
    code = (found.get("operation_status") or {}).get("code")
    return None if code is None else whole_number(code)


def _audiences(graph: Graph) -> Iterator[dict[str, Any]]:
    """Every list of the ad account, page by page; smaller pages when Meta cannot take it."""
    limit, after, seen = PAGE, "", {""}
    for _ in range(PAGES):
        asked = {"fields": "id,name,description", "limit": str(limit)}
        try:
            page = graph.get(
                f"{graph.settings.account}/customaudiences",
                **asked,
                **({"after": after} if after else {}),
            )
        except RefusedError as error:
            if error.code != TOO_MUCH or limit == 1:
                raise
            limit //= 2
            continue
        if not isinstance(page.get("data"), list):
            raise TemporaryPartnerError("Meta did not list the audiences; try again")
        yield from page["data"]
        paging = page.get("paging") or {}
        after = str((paging.get("cursors") or {}).get("after", ""))
        if not paging.get("next") or after in seen:
            return
        seen.add(after)


def _size(value: Any) -> int | None:
    """A size bound; Meta writes -1 for one that it does not tell."""
    found = whole_number(value)
    return None if found is None or found < 0 else found


def _id(found: Mapping[str, Any]) -> str:
    if not found.get("id"):
        raise TemporaryPartnerError("Meta did not name the audience; try again")
    return str(found["id"])
