"""What X's error codes and rate-limit headers mean to us."""

from __future__ import annotations

import re
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

WINDOW = 60.0  # seconds, when X does not say when its limit ends
LONGEST_WAIT = 3600.0  # seconds; no window of X's is longer
USER = "user"  # our name for a refusal of single users of an operation
TOO_MUCH = "REQUEST_TOO_COMPLEX"
LIMITED = "TOO_MANY_REQUESTS"
NO_ROUTE = "ROUTE_NOT_FOUND"  # mostly told by a web page instead
NOT_FOUND, TOO_LARGE, TOO_MANY, SERVER_ERROR = 404, 413, 429, 500  # HTTP's own statuses
_WINDOWS = ("x-account-rate-limit", "x-rate-limit")
USER_KEYS = frozenset(
    ("users", "email", "phone_number", "device_id", "handle", "twitter_id", "partner_user_id")
)


class Meaning(NamedTuple):
    """What one of X's codes means: the error to raise and the operator's sentence."""

    error: type[PartnerError]
    sentence: str


_SHAPE = Meaning(RefusedError, "X does not accept the request; check the settings")
_RIGHT = Meaning(
    AuthenticationError,
    "X does not let this app and user change audiences; see that the app has access to the Ads "
    "API and audiences, the user may change this account, and the audience terms are accepted",
)
GONE = Meaning(RefusedError, "X does not know this list for this account")
_AGAIN = Meaning(TemporaryPartnerError, "X cannot answer now")
_BUSY = Meaning(TemporaryPartnerError, "X's request limit is reached")
MEANINGS: Mapping[str, Meaning] = {
    **dict.fromkeys(("INVALID_PARAMETER", "MISSING_PARAMETER"), _SHAPE),
    TOO_MUCH: Meaning(RefusedError, "the request holds more than X takes"),
    "UNAUTHORIZED_ACCESS": Meaning(
        AuthenticationError,
        "X does not accept the signature; check this machine's clock, then the four credentials",
    ),
    **dict.fromkeys(
        ("UNAUTHORIZED_CLIENT_APPLICATION", "READONLY_CLIENT_APPLICATION", "ACTION_NOT_ALLOWED"),
        _RIGHT,
    ),
    "ACCOUNT_LOCKED_OUT": Meaning(
        AuthenticationError, "X has locked the user of these credentials; sign in and unlock it"
    ),
    "ACCOUNT_NOT_FOUND": Meaning(
        AuthenticationError, "the user of these credentials has no such ads account; see account_id"
    ),
    **dict.fromkeys(("NOT_FOUND", "TAILORED_AUDIENCE_NOT_FOUND"), GONE),
    NO_ROUTE: Meaning(RefusedError, "X knows no such address; check base_url and api_version"),
    **dict.fromkeys(
        (
            "CANCELLED_REQUEST",
            "LOCK_ACQUISITION_TIMEOUT",
            "INTERNAL_ERROR",
            "SERVICE_UNAVAILABLE",
            "OVER_CAPACITY",
        ),
        _AGAIN,
    ),
    LIMITED: _BUSY,
}


def explained(answer: Answer, found: Any, plainly: PartnerError | None) -> PartnerError | None:
    """The error that an answer means, or None; `plainly` is what its HTTP status means alone."""
    if answer.status == NOT_FOUND and not isinstance(found, dict):
        return RefusedError(MEANINGS[NO_ROUTE].sentence, answer.status)
    if not isinstance(found, dict):
        return plainly or TemporaryPartnerError("X's answer cannot be read", answer.status)
    errors, operations = _objects(found.get("errors")), _operations(found)
    if plainly is None and not errors and not operations:
        return None
    if operations and not errors and all(_of_a_user(error) for error in operations):
        return RefusedError("X does not accept some members of the batch", answer.status, USER)
    code = next((word for error in (*errors, *operations) if (word := _code(error))), None)
    meaning = MEANINGS.get(code or "")
    in_trouble = answer.status >= SERVER_ERROR and meaning not in (_AGAIN, _BUSY)
    if meaning is None or in_trouble:
        other = plainly or RefusedError("X refuses the request")
        meaning = Meaning(type(other), other.message)
    if meaning.error is not TemporaryPartnerError:
        return meaning.error(meaning.sentence, answer.status, code)
    limited = code == LIMITED or answer.status == TOO_MANY
    return TemporaryPartnerError(meaning.sentence, answer.status, code, _wait(answer, limited))


def divides(error: RefusedError, users: int) -> bool:
    """Whether smaller requests may fare better; of a single user only its own fault counts."""
    if error.code == USER:
        return True
    return users > 1 and (error.code == TOO_MUCH or error.status == TOO_LARGE)


def pause(headers: Mapping[str, str]) -> float:
    """Seconds to leave before the next request: to the end of a window that is used up."""
    spent = [name for name in _WINDOWS if headers.get(f"{name}-remaining") == "0"]
    return max((_reset(headers, name) or 0.0 for name in spent), default=0.0)


def _wait(answer: Answer, limited: bool) -> float | None:
    told = answer.headers.get("retry-after", "")
    if told.isdigit():
        return float(told)
    return _reset(answer.headers) or WINDOW if limited else None


def _reset(headers: Mapping[str, str], *windows: str) -> float | None:
    """Seconds to the end of the window: the account's own goes before the user's."""
    for name in windows or _WINDOWS:
        told = headers.get(f"{name}-reset", "")
        if told.isdigit():
            return min(max(int(told) - time.time(), 1.0), LONGEST_WAIT)
    return None


def _of_a_user(error: Mapping[str, Any]) -> bool:
    """Whether an error speaks of a user's own identifiers, not of the operation around them."""
    words = re.findall(r"\w+", str(error.get("parameter")))
    return bool(words) and words[-1] in USER_KEYS and error.get("code") == "INVALID_PARAMETER"


def _code(error: Mapping[str, Any]) -> str | None:
    """X's code; anything that is not one is left out, since it could be anything."""
    word = str(error.get("code") or "")
    return word if re.fullmatch(r"[A-Z_]{1,60}", word) else None


def _operations(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The errors of single operations; X lists them by the operation's place."""
    by_place = found.get("operation_errors")
    if not isinstance(by_place, list):
        return []
    return [error for errors in by_place for error in _objects(errors)]


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
