"""What Snapchat's answers mean to us: the HTTP status, the envelope's word, each part's word."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from audience_sync.connector import (
    Answer,
    AuthenticationError,
    PartnerError,
    RefusedError,
    TemporaryPartnerError,
)

TOO_LARGE = 413  # HTTP's own status


class Meaning(NamedTuple):
    """What an HTTP status of Snapchat's means: the error to raise and the operator's sentence."""

    error: type[PartnerError]
    sentence: str


MEANINGS: Mapping[int, Meaning] = {
    400: Meaning(RefusedError, "Snapchat does not accept the request; check the settings"),
    401: Meaning(
        AuthenticationError,
        "Snapchat does not accept the access token; authorise the app again and set refresh_token",
    ),
    403: Meaning(
        AuthenticationError,
        "the app's user may not change segments of this ad account; make it a Data Manager there",
    ),
    404: Meaning(
        RefusedError,
        "Snapchat does not know this segment, or the ad account; check ad_account_id and base_url",
    ),
    TOO_LARGE: Meaning(RefusedError, "the request is larger than Snapchat takes"),
}
_PART = "Snapchat refused the request, though it answered with success"


def explained(answer: Answer, found: Any, fallback: PartnerError | None) -> PartnerError | None:
    """The error that an answer means; `fallback` is what its HTTP status means alone."""
    code = _code(found)
    meaning = MEANINGS.get(answer.status)
    if meaning is not None:
        return meaning.error(meaning.sentence, answer.status, code)
    if isinstance(fallback, TemporaryPartnerError):
        return TemporaryPartnerError(fallback.message, answer.status, code, fallback.retry_after)
    if fallback is not None:
        return type(fallback)(fallback.message, answer.status, code)
    if not isinstance(found, dict) or not ("request_status" in found or "access_token" in found):
        return TemporaryPartnerError("Snapchat's answer cannot be read; try again", answer.status)
    words = [found.get("request_status", "success"), *_words(found)]
    # Seen as SUCCESS and as success.
    if any(str(word).lower() != "success" for word in words):
        return RefusedError(_PART, answer.status, code)
    return None


def _words(found: Mapping[str, Any]) -> Iterator[Any]:
    """What Snapchat says of each part of a request."""
    for parts in found.values():
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, dict) and "sub_request_status" in part:
                yield part["sub_request_status"]


def _code(found: Any) -> str | None:
    """Snapchat's own code; anything else is its text and stays inside."""
    code = str(found.get("error_code", "")) if isinstance(found, dict) else ""
    return code if re.fullmatch(r"E\d{1,6}", code) else None
