"""What goes to Google's uploads and what comes back from them, as plain values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from audience_sync.connector import (
    Cell,
    ConfigurationError,
    Consent,
    Kind,
    Members,
    Receipt,
    Rendered,
)


class Part(NamedTuple):
    """One of the lists that an audience becomes: hashes and each system's devices stay apart."""

    name: str
    kinds: tuple[Kind, ...]
    suffix: str = ""


CONTACT = Part("contact", (Kind.EMAIL, Kind.PHONE))
IOS = Part("ios", (Kind.IDFA,), " (iOS)")
ANDROID = Part("android", (Kind.GAID,), " (Android)")
PARTS = {part.name: part for part in (CONTACT, IOS, ANDROID)}
CELLS = (
    Cell(Kind.EMAIL, b'{"emailAddress":"', b'"}'),
    Cell(Kind.PHONE, b'{"phoneNumber":"', b'"}'),
)


def consent_words(consent: Consent) -> dict[str, Any]:
    """What an upload says about consent and terms."""
    words = {True: "CONSENT_GRANTED", False: "CONSENT_DENIED"}
    return {
        "consent": {
            "adUserData": words[consent.ad_user_data],
            "adPersonalization": words[consent.ad_personalization],
        },
        "termsOfService": {"customerMatchTermsOfServiceStatus": "ACCEPTED"},
    }


def list_ids(remote_id: str) -> dict[str, str]:
    """The list ids within a remote id, by the name of the part."""
    found = {}
    for piece in remote_id.split(","):
        name, colon, number = piece.strip().rpartition(":")
        name = name if colon else CONTACT.name
        if name not in PARTS or not (number.isascii() and number.isdigit()):
            raise ConfigurationError(
                'a remote_id at Google is a list id, or such as "contact:98,ios:12,android:13"'
            )
        found[name] = number
    return found


class Envelope(NamedTuple):
    """Everything of an upload's body but its members."""

    verb: str
    part: Part
    destination: dict[str, Any]
    extra: Mapping[str, Any]

    def rows(self, batch: Members) -> Rendered:
        """One member an object, with all its identifiers."""
        if self.part is CONTACT:
            return batch.render(
                CELLS, before=b'{"compositeData":{"userData":{"userIdentifiers":[', after=b"]}}}"
            )
        cells = [Cell(kind) for kind in self.part.kinds]
        return batch.render(cells, before=b'{"mobileData":{"mobileIds":[', after=b"]}}")

    def around(self, rows: bytes, *, validate_only: bool) -> bytes:
        """The whole body."""
        encoding = {"encoding": "HEX"} if self.part is CONTACT else {}
        rest = {**self.extra, **encoding, "validateOnly": validate_only}
        return b"".join(
            (
                b'{"destinations":[',
                orjson.dumps(self.destination),
                b'],"audienceMembers":[',
                rows,
                b"],",
                orjson.dumps(rest)[1:],
            )
        )


class Reference(NamedTuple):
    """What `poll` needs: when it was sent, how many members, and the requests with their sizes."""

    at: int
    members: int
    requests: tuple[tuple[int, str], ...]

    @property
    def written(self) -> str:
        """The reference as one word."""
        return ";".join(
            (str(self.at), str(self.members), *(f"{size}:{name}" for size, name in self.requests))
        )

    @classmethod
    def read(cls, text: str) -> Reference:
        """A reference from its text."""
        at, members, *requests = text.split(";")
        pairs = (request.partition(":") for request in requests)
        return cls(int(at), int(members), tuple((int(size), name) for size, _, name in pairs))


class Outcome(NamedTuple):
    """What became of one request: members that failed, why, and match ranges in words."""

    failed: int
    reasons: set[str]
    ranges: set[str]
    lost: bool  # the request failed as a whole


def outcome(state: Mapping[str, Any], members: int) -> Outcome | None:
    """What became of one request at one destination; None while Google works on it."""
    status = state.get("requestStatus")
    if status not in ("SUCCESS", "PARTIAL_SUCCESS", "FAILED"):
        return None
    errors = (state.get("errorInfo") or {}).get("errorCounts") or []
    blocks = [
        block
        for name in ("audienceMembersIngestionStatus", "audienceMembersRemovalStatus")
        for block in (state.get(name) or {}).values()
    ]
    records = sum(int(block.get("recordCount", 0)) for block in blocks)  # failures included
    failed = sum(int(error.get("recordCount", 0)) for error in errors)
    failed += max(members - records, 0) if records else 0
    return Outcome(
        members if status == "FAILED" else min(failed, members),
        {_word(error.get("reason"), "PROCESSING_ERROR_REASON_") for error in errors} - {""},
        {_range(block.get("uploadMatchRateRange")) for block in blocks} - {""},
        status == "FAILED",
    )


def receipt_of(sent: Reference, outcomes: list[Outcome]) -> Receipt:
    """The final receipt; a member that failed in two lists is still one member."""
    failed = min(sum(outcome.failed for outcome in outcomes), sent.members)
    reasons = set[str]().union(*(outcome.reasons for outcome in outcomes))
    ranges = set[str]().union(*(outcome.ranges for outcome in outcomes))
    return Receipt(
        accepted=sent.members - failed,
        unattributed=failed,
        reference=sent.written,
        match_range=", ".join(sorted(ranges)) or None,
        reason=", ".join(sorted(reasons)) or None,
        lost=any(outcome.lost for outcome in outcomes),
    )


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
