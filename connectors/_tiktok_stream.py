"""TikTok's streaming flow: people with all their identifiers, straight onto one audience."""

from __future__ import annotations

import orjson

from audience_sync.connector import AudienceRequest, Cell, Kind, Members, Receipt
from connectors import _tiktok_audiences as audiences
from connectors._tiktok_calls import Calls, Done, Positions, Sending

# Android is AAID here and GAID in files.
COLUMNS = {
    Kind.EMAIL: "EMAIL_SHA256",
    Kind.PHONE: "PHONE_SHA256",
    Kind.IDFA: "IDFA_SHA256",
    Kind.GAID: "AAID_SHA256",
}
AROUND = 40  # bytes around an identifier and an audience id
DIGITS = 64  # of a hash


def ensure(calls: Calls, audience: AudienceRequest) -> str:
    """The id of our audience, made where there is none."""
    found = audiences.ours(calls, audience).get("")
    if found is not None:
        return found
    body = calls.written(custom_audience_name=audiences.name_of(audience), action="create")
    return audiences.made(calls, audience, "", "segment/audience/", body)


def change(
    calls: Calls, action: str, remote_id: str, members: Members, people: int, size: int
) -> Receipt:
    """Add people, or delete them, in requests of so many people and bytes at most."""
    columns = members.only(*(kind for kind in COLUMNS if members.has(kind).any()))
    row = len(columns.kinds) * (DIGITS + len(remote_id) + AROUND) + 3

    def call(part: Positions) -> Done:
        body = mapping(calls.advertiser, action, remote_id, columns.take(part))
        return calls.post("segment/mapping/", body)

    sending = Sending(len(members))
    sending.send(columns.parts(max(1, min(people, (size - 1_000) // row))), call)
    return sending.receipt()


def mapping(advertiser: str, action: str, remote_id: str, members: Members) -> bytes:
    """One person an array, matched to the schema by position: an absent identifier is `{}`."""
    kinds = [kind for kind in COLUMNS if kind in members.kinds]
    head = {
        "advertiser_ids": [advertiser],
        "action": action,
        "id_schema": [COLUMNS[kind] for kind in kinds],
    }
    after = b'","audience_ids":["' + remote_id.encode() + b'"]}'
    rows = members.render_slots(
        [Cell(kind, b'{"id":"', after, b"{}") for kind in kinds], before=b"[", after=b"]"
    )
    return orjson.dumps(head)[:-1] + b',"batch_data":[' + rows.body + b"]}"
