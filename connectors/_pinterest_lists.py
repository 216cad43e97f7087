"""Our list at Pinterest, and the audience on top of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from audience_sync.connector import AudienceRequest, Kind, PartnerClient, Statistics
from connectors._pinterest_calls import numbered, pages
from connectors._pinterest_wire import placeholder


def our_list(client: PartnerClient, account: str, audience: AudienceRequest) -> dict[str, Any]:
    """The list that carries our marker in its name, made where there is none.

    Not repeated here: after a lost answer the next look-up finds what was made.
    """
    url = f"{account}/customer_lists"
    for found in pages(client, url):
        if audience.marker in str(found.get("name")):
            return found
    wanted = {
        "name": f"{audience.name} {audience.marker}",
        "list_type": "EMAIL" if Kind.EMAIL in audience.kinds else "MAID",
        "records": placeholder(audience.marker).decode(),
    }
    body = orjson.dumps(wanted)
    return numbered(client.request("POST", url, body=body, repeatable=False))


def on_top(client: PartnerClient, account: str, number: str) -> dict[str, Any] | None:
    """The audience that is made of a list; ads can use nothing else."""
    for found in pages(client, f"{account}/audiences"):
        rule = found.get("rule")
        if isinstance(rule, dict) and str(rule.get("customer_list_id")) == number:
            return found
    return None


def put_on_top(client: PartnerClient, account: str, listed: dict[str, Any]) -> None:
    """Make the audience of a list, named like it without our marker.

    Not repeated here: after a lost answer the next look-up finds what was made.
    """
    name = str(listed.get("name"))
    wanted = {
        "ad_account_id": account.rpartition("/")[2],
        "name": name.partition(" [")[0],
        "rule": {"customer_list_id": str(listed["id"])},
        "audience_type": "CUSTOMER_LIST",
        "description": name,
    }
    body = orjson.dumps(wanted)
    numbered(client.request("POST", f"{account}/audiences", body=body, repeatable=False))


def statistics_of(listed: Mapping[str, Any], audience: Mapping[str, Any] | None) -> Statistics:
    """What Pinterest tells of a list; the size is the audience's, since a list tells none."""
    status = _words(listed.get("status"))
    if audience is None:
        return Statistics(status=f"list {status}, no audience yet", usable=False)
    told, state = audience.get("size"), audience.get("status")
    size = told if isinstance(told, int) and told >= 0 else None
    return Statistics(
        size_lower=size,
        size_upper=size,
        status=f"list {status}, audience {_words(state)}",
        usable=state == "READY",
    )


def _words(status: Any) -> str:
    return str(status).lower().replace("_", " ")
