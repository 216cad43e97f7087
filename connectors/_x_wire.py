"""What goes to X's lists, and what X says to it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import numpy as np

from audience_sync.connector import (
    Cell,
    Kind,
    Members,
    PartnerClient,
    Receipt,
    RefusedError,
    Rejection,
    Statistics,
    TemporaryPartnerError,
)
from connectors._x_calls import data_of
from connectors._x_words import GONE, divides

Verb = Literal["Update", "Delete"]

DEVICES = (Kind.IDFA, Kind.GAID)  # one key at X
LISTED = (Kind.EMAIL, Kind.PHONE, Kind.IDFA)  # what is left once the devices are one column
UNREACHED = (Kind.EMAIL, Kind.PHONE)  # all that the Do Not Reach List takes
PROBES = 300  # requests spent on one batch to leave bad users out
_CELLS = (
    Cell(Kind.EMAIL, b'"email":["', b'"]'),
    Cell(Kind.PHONE, b'"phone_number":["', b'"]'),
    Cell(Kind.IDFA, b'"device_id":["', b'"]'),
)


def body_of(verb: Verb, users: Members, until: str | None = None) -> tuple[bytes, int]:
    """One operation with all users, and how many they are: a second e-mail is a second user."""
    rows = users.render_slots(_CELLS, before=b"{", after=b"}")
    expiry = b"" if until is None else b'"expires_at":"' + until.encode() + b'",'
    body = b"".join(
        (
            b'[{"operation_type":"',
            verb.encode(),
            b'","params":{',
            expiry,
            b'"users":[',
            rows.body,
            b"]}}]",
        )
    )
    return body, len(rows.positions)


def change(
    client: PartnerClient,
    url: str,
    verb: Verb,
    members: Members,
    kinds: tuple[Kind, ...] = LISTED,
    until: str | None = None,
) -> Receipt:
    """Send members at once; what is too much, or wrong for some of them, goes by halves."""
    users = members.merged(*DEVICES).only(*kinds)
    usable = users.has(*kinds) if users.kinds else np.zeros(len(members), dtype=np.bool_)
    reasons = dict.fromkeys(np.flatnonzero(~usable).tolist(), "no_usable_identifier")
    waiting, probes = [np.flatnonzero(usable)], iter(range(PROBES))
    while waiting:
        part = waiting.pop()
        try:
            _send(client, url, verb, users.take(part), until)
        except RefusedError as error:
            if not divides(error, len(part)) or next(probes, None) is None:
                raise
            if len(part) > 1:
                waiting += np.array_split(part, 2)
            else:
                reasons[int(part[0])] = "invalid_user"
    rejected = tuple(Rejection(position=at, reason=why) for at, why in sorted(reasons.items()))
    return Receipt(accepted=len(members) - len(rejected), rejected=rejected)


def statistics_of(found: Mapping[str, Any]) -> Statistics:
    """What X tells of a list, which is one size and why ads cannot use it."""
    if found.get("deleted") is True:
        raise RefusedError(GONE.sentence)
    told, reasons = str(found.get("audience_size")), found.get("reasons_not_targetable")
    size = int(told) if told.isdigit() else None
    words = [str(reason).lower().replace("_", " ") for reason in reasons or ()]
    usable = found.get("targetable") is True
    status = "targetable" if usable else ", ".join(["not targetable", *words])
    return Statistics(size_lower=size, size_upper=size, status=status, usable=usable)


def day_after(days: int) -> str:
    """The midnight after so many days; whole days, so that a batch sent again is the same."""
    return f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%d}T00:00:00Z"


def _send(client: PartnerClient, url: str, verb: Verb, users: Members, until: str | None) -> None:
    body, count = body_of(verb, users, until)
    if not count:
        return
    told = data_of(client.request("POST", url, body=body))
    if (told.get("success_count"), told.get("total_count")) != (count, count):
        raise TemporaryPartnerError("X did not take the whole batch; it is sent again")
