"""What Pinterest's error codes and rate-limit headers mean to us."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from audience_sync.connector import (
    Answer,
    AuthenticationError,
    PartnerError,
    RefusedError,
    TemporaryPartnerError,
)

WINDOW = 60.0  # seconds, when Pinterest does not say when its limit ends
LONGEST_WAIT = 86_400.0  # seconds; apps with trial access are counted by the day
TOO_LARGE = 413  # HTTP's own status

_NOT_FOUND, _TOO_MANY, _SERVER_ERROR = 404, 429, 500  # the same
_EPOCH = 1_000_000_000  # a larger number is a time and no duration


class Meaning(NamedTuple):
    """What one of Pinterest's codes means: the error to raise and the operator's sentence."""

    error: type[PartnerError]
    sentence: str


_SHAPE = Meaning(RefusedError, "Pinterest does not accept the request; check the settings")
_TOKEN = Meaning(AuthenticationError, "Pinterest does not accept the access token")
_RIGHT = Meaning(
    AuthenticationError,
    "Pinterest does not let this app change lists of the ad account; authorise it with ads:read "
    "and ads:write, by a user who may manage the account's audiences",
)
_GONE = Meaning(
    RefusedError,
    "Pinterest does not know this list, or the ad account; check ad_account_id and base_url",
)
_BUSY = Meaning(TemporaryPartnerError, "Pinterest's request limit is reached")
MEANINGS: Mapping[int, Meaning] = {
    **dict.fromkeys((1, 4196, 400), _SHAPE),
    **dict.fromkeys((2, 1104), _TOKEN),
    **dict.fromkeys((3, 29, 403), _RIGHT),
    404: _GONE,
    **dict.fromkeys((8, 30), _BUSY),
    4197: Meaning(TemporaryPartnerError, "Pinterest has slowed this service down"),
}
_BY_STATUS: Mapping[int, Meaning] = {403: _RIGHT, _NOT_FOUND: _GONE, _TOO_MANY: _BUSY}


def explained(answer: Answer, found: Any, plainly: PartnerError | None) -> PartnerError | None:
    """The error that an answer means, or None; `plainly` is what its HTTP status means alone."""
    if plainly is None:
        if isinstance(found, dict):
            return None
        return TemporaryPartnerError("Pinterest's answer cannot be read", answer.status)
    code = found.get("code") if isinstance(found, dict) else None
    code = code if isinstance(code, int) and not isinstance(code, bool) else None
    usual = Meaning(type(plainly), plainly.message)
    meaning = MEANINGS.get(code or 0) or _BY_STATUS.get(answer.status, usual)
    if answer.status >= _SERVER_ERROR and meaning.error is not TemporaryPartnerError:
        meaning = usual
    written = None if code is None else str(code)
    if meaning.error is not TemporaryPartnerError:
        return meaning.error(meaning.sentence, answer.status, written)
    wait = _wait(answer.headers, limited=meaning is _BUSY)
    return TemporaryPartnerError(meaning.sentence, answer.status, written, wait)


def _wait(headers: Mapping[str, str], *, limited: bool) -> float | None:
    """Seconds until Pinterest takes requests again; its page does not say how the reset counts."""
    told = headers.get("retry-after", "")
    if told.isdigit():
        return float(told)
    if not limited:
        return None
    told = headers.get("x-ratelimit-reset", "")
    if not told.isdigit():
        return WINDOW
    seconds = int(told) - (time.time() if int(told) > _EPOCH else 0)
    return min(max(seconds, 1.0), LONGEST_WAIT)
