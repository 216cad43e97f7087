"""TikTok's file flow: files of one kind of identifier, each kind an audience of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

from audience_sync.connector import (
    AudienceRequest,
    Cell,
    ConfigurationError,
    Kind,
    Members,
    Receipt,
    RefusedError,
    TemporaryPartnerError,
)
from connectors import _tiktok_audiences as audiences
from connectors._tiktok_calls import Calls, Done, Positions, Sending
from connectors._tiktok_words import PARAMETER, UPLOAD_AGAIN

# Android is GAID here and AAID in the streaming flow.
TYPES = {
    Kind.EMAIL: "EMAIL_SHA256",
    Kind.PHONE: "PHONE_SHA256",
    Kind.IDFA: "IDFA_SHA256",
    Kind.GAID: "GAID_SHA256",
}
# TikTok makes no empty audience: the first file has one line, the hash of this text. Nobody has
# it as an e-mail address, a phone or a device.
NOBODY = hashlib.sha256(b"audience-sync").hexdigest().encode() + b"\n"
SMALLEST = 1_000  # members, under which no list made from files may fall
TOO_FEW = (
    "TikTok does not take these members off, since a list made from files may not fall under "
    f"{SMALLEST:,} members; delete it in Ads Manager, or use the streaming flow"
)


class File(NamedTuple):
    """A file and its audience's type."""

    kind: str
    content: bytes

    def form(self, advertiser: str) -> tuple[bytes, str]:
        """The upload as a form with its content type; the signature is of the very bytes."""
        signature = hashlib.md5(self.content, usedforsecurity=False).hexdigest()
        boundary = f"audience-sync-{signature}"
        texts = {
            "advertiser_id": advertiser,
            "calculate_type": self.kind,
            "file_signature": signature,
        }
        head = "".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
            for name, text in texts.items()
        )
        head += (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; '
            f'filename="{signature}.csv"\r\nContent-Type: text/csv\r\n\r\n'
        )
        body = head.encode() + self.content + f"\r\n--{boundary}--\r\n".encode()
        return body, f"multipart/form-data; boundary={boundary}"


def lines(members: Members, kind: Kind) -> bytes:
    """One identifier a line and no header."""
    rows = members.render_slots([Cell(kind, b"", b"")], before=b"", after=b"")
    return rows.body.replace(b",", b"\n") + b"\n"


def ids(remote_id: str) -> dict[Kind, str]:
    """The audiences within a remote id, by the kind that each takes."""
    found = {}
    for piece in remote_id.split(","):
        name, _, number = piece.strip().partition(":")
        if name not in TYPES or not (number.isascii() and number.isdigit()):
            raise ConfigurationError(
                "a remote_id at TikTok is the id of a streaming audience, or such as "
                '"email:71,phone:72" for audiences made from files'
            )
        found[Kind(name)] = number
    return found


def written(there: Mapping[Kind, str]) -> str:
    """The remote id of these audiences."""
    return ",".join(f"{kind.value}:{there[kind]}" for kind in TYPES if kind in there)


def ensure(
    calls: Calls, audience: AudienceRequest, there: Mapping[Kind, str], days: int | None
) -> str:
    """The ids of our audiences once each kind has one."""
    wanted = [kind for kind in TYPES if kind in audience.kinds and kind not in there]
    if not wanted:
        return written(there)
    found = audiences.ours(calls, audience)
    made = {
        kind: found.get(TYPES[kind]) or _create(calls, audience, TYPES[kind], days)
        for kind in wanted
    }
    return written({**there, **made})


def add(
    calls: Calls, remote_id: str, members: Members, people: int, *, afresh: bool = False
) -> Receipt:
    """Append people: a file and a call for each kind.

    Where nobody of ours is on the list, the first file replaces whatever is; one that is too small
    for that is appended.
    """
    there, sending = ids(remote_id), Sending(len(members))
    for kind, number in there.items():
        column = members.only(kind)
        first = [True] if afresh else []

        def call(
            part: Positions, kind: Kind = kind, number: str = number, first: list[bool] = first
        ) -> Done:
            file = File(TYPES[kind], lines(members.take(part), kind))
            whole = bool(first) and len(part) >= SMALLEST
            done = _apply(calls, "REPLACE" if whole else "APPEND", number, file)
            first.clear()
            return done

        sending.send(column.parts(people), call)
    untaken = [kind for kind in members.kinds if kind not in there and members.has(kind).any()]
    return sending.receipt(", ".join(f"no_list_for_{kind.value}" for kind in untaken) or None)


def remove(calls: Calls, remote_id: str, members: Members, people: int) -> Receipt:
    """Take people off, with a file and a call for each kind."""
    sending = Sending(len(members))
    for kind, number in ids(remote_id).items():
        column = members.only(kind)

        def call(part: Positions, kind: Kind = kind, number: str = number) -> Done:
            return _removed(calls, number, File(TYPES[kind], lines(members.take(part), kind)))

        sending.send(column.parts(people), call)
    return sending.receipt()


def _create(calls: Calls, audience: AudienceRequest, kind: str, days: int | None) -> str:
    kept = {} if days is None else {"retention_in_days": days}
    body = calls.written(
        custom_audience_name=audiences.name_of(audience, kind),
        file_paths=[_uploaded(calls, File(kind, NOBODY))],
        calculate_type=kind,
        audience_sub_type="NORMAL",
        **kept,
    )
    return audiences.made(calls, audience, kind, "dmp/custom_audience/create/", body)


def _removed(calls: Calls, number: str, file: File) -> Done:
    try:
        return _apply(calls, "REMOVE", number, file)
    except RefusedError as error:
        if error.code not in PARAMETER:
            raise
        raise RefusedError(TOO_FEW, error.status, error.code) from None


def _apply(calls: Calls, action: str, number: str, file: File) -> Done:
    """Upload a file and put it to use; once more where it did not arrive whole or has expired."""
    try:
        return _applied(calls, action, number, file)
    except RefusedError as error:
        if error.code not in UPLOAD_AGAIN:
            raise
    return _applied(calls, action, number, file)


def _applied(calls: Calls, action: str, number: str, file: File) -> Done:
    # TikTok takes a missing action for REPLACE, so one is always named.
    body = calls.written(
        custom_audience_id=number, action=action, file_paths=[_uploaded(calls, file)]
    )
    done = calls.post("dmp/custom_audience/update/", body)
    # The path is of this upload alone: only this very call can have come before.
    return done._replace(repeated=False)


def _uploaded(calls: Calls, file: File) -> str:
    body, content_type = file.form(calls.advertiser)
    answer = calls.post("dmp/custom_audience/file/upload/", body, content_type=content_type)
    path = answer.result.get("file_path")
    if not path:
        raise TemporaryPartnerError("TikTok did not name the file; try again")
    return str(path)
