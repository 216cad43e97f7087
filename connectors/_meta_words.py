"""What Meta's error codes and usage headers mean to us."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from audience_sync.connector import (
    Answer,
    AuthenticationError,
    PartnerError,
    RefusedError,
    TemporaryPartnerError,
)

BUSY_WAIT = 300.0  # seconds, when Meta does not say when calls are possible again
SLOW_FROM = 75.0  # percent of an allowance used
SLOWEST = 15.0  # seconds between requests when an allowance is all but used


class Meaning(NamedTuple):
    """What one of Meta's codes means: the error to raise and the operator's sentence."""

    error: type[PartnerError]
    sentence: str


_BUSY = Meaning(TemporaryPartnerError, "Meta's request limit is reached")
_TOKEN = Meaning(
    AuthenticationError, "Meta does not accept the access token; make a new one and set it"
)
_APP = Meaning(AuthenticationError, "Meta does not accept the app; check app_id and app_secret")
_PERMISSION = Meaning(
    AuthenticationError,
    "the access token may not change audiences of this ad account; grant it ads_management",
)
TERMS = Meaning(
    AuthenticationError,
    "the Custom Audience terms are not accepted; accept them as the token's user on "
    "https://business.facebook.com/ads/manage/customaudiences/tos/?act={tos}",
)
_BLOCKED = Meaning(
    RefusedError, "Meta has flagged this audience by its policy; review it in Audience Manager"
)
_GONE = Meaning(RefusedError, "the audience does not exist or is not shared with this ad account")
_SHAPE = Meaning(RefusedError, "Meta does not accept the request; check the settings")
# By code, or by code and subcode, which wins.
MEANINGS: Mapping[int | tuple[int, int], Meaning] = {
    1: Meaning(TemporaryPartnerError, "Meta cannot answer now"),
    2: Meaning(TemporaryPartnerError, "Meta's service is down"),
    **dict.fromkeys((4, 17, 32, 341, 613, *range(80000, 80015)), _BUSY),
    **dict.fromkeys((102, 104, 190), _TOKEN),
    **dict.fromkeys((3, 10, *range(200, 300)), _PERMISSION),
    (200, 1870090): TERMS,
    2655: TERMS,
    2663: TERMS,
    (200, 1870050): Meaning(
        AuthenticationError, "the ad account belongs to no business; add it to one"
    ),
    368: Meaning(
        AuthenticationError, "Meta has blocked this account by its policy; see Account Quality"
    ),
    100: _SHAPE,
    194: _SHAPE,
    (100, 33): _GONE,
    1487301: _GONE,
    1487366: _GONE,
    **dict.fromkeys(((100, 1713228), (100, 1713230), (100, 1713231)), _BLOCKED),
    105: Meaning(RefusedError, "Meta takes fewer parameters in one request"),
    2656: Meaning(RefusedError, "lookalike audiences depend on this audience; delete them first"),
    2635: Meaning(RefusedError, "this API version has ended; set a later api_version"),
    2650: Meaning(RefusedError, "Meta does not accept this upload session"),
    (2650, 1870145): Meaning(TemporaryPartnerError, "the audience is being updated"),
    (2650, 1870148): Meaning(TemporaryPartnerError, "the audience could not be updated"),
    (2650, 1870144): Meaning(RefusedError, "the audience has 100 million members or more"),
}
_OF_THE_APP = ("appsecret_proof", "validating client secret", "validating application")
WAITING = frozenset((4, 17, 32, 341, 613, *range(80000, 80015)))
OVER = frozenset(("2650/1870158", "2650/1870159"))  # the session takes no more batches
UPDATING = "2650/1870145"  # the audience is being updated
TOO_MANY_TO_REPLACE = "2650/1870144"
UNKNOWN = "100/33"  # an object that does not exist, or that the token may not see
TOO_MANY_PARAMETERS = "105"
TOO_MUCH = "1/reduce"  # our name for code 1 with the request to ask for less
TOO_LARGE = 413  # HTTP's own status


def explained(
    answer: Answer, error: Mapping[str, Any], fallback: PartnerError | None, account: str, tos: str
) -> PartnerError:
    """The error that an answer means; `fallback` is what its HTTP status means alone."""
    code, subcode = whole_number(error.get("code")), whole_number(error.get("error_subcode"))
    written = "/".join(str(part) for part in (code, subcode) if part is not None) or None
    said = str(error.get("message")).lower()
    if any(words in said for words in _OF_THE_APP):  # with codes that mean something else, too
        return AuthenticationError(_APP.sentence, answer.status, written)
    if code == 1 and "reduce the amount of data" in said:
        return RefusedError("Meta cannot list so much at once", answer.status, TOO_MUCH)
    if code in WAITING:
        _, wait = usage(answer.headers, account)
        return TemporaryPartnerError(_BUSY.sentence, answer.status, written, wait or BUSY_WAIT)
    meaning = MEANINGS.get((code or 0, subcode or 0)) or MEANINGS.get(code or 0)
    stops = meaning is not None and meaning.error is AuthenticationError
    if error.get("is_transient") is True and not stops:
        meaning = MEANINGS[1]
    if meaning is None:
        found = fallback or RefusedError("Meta refuses the request")
        meaning = Meaning(type(found), found.message)
    return meaning.error(meaning.sentence.format(tos=tos), answer.status, written)


def leaves_doubt(error: PartnerError | None) -> bool:
    """Whether Meta may have done what it was asked, though it answered with an error of 4xx.

    What it calls transient or unknown says nothing of that; a throttle or a busy audience does.
    """
    if not isinstance(error, TemporaryPartnerError):
        return False
    code, _, _ = (error.code or "").partition("/")
    refused = error.code == UPDATING or (code.isdigit() and int(code) in WAITING)
    return not refused


def usage(headers: Mapping[str, str], account: str) -> tuple[float, float]:
    """The largest share used of any allowance, in percent, and the seconds until calls may go on.

    Meta's headers: "estimated_time_to_regain_access" is minutes, "reset_time_duration" seconds.
    """
    used, wait = 0.0, 0.0
    business = _header(headers, "x-business-use-case-usage")
    listed = [business[account]] if account in business else list(business.values())
    entries = [entry for found in listed if isinstance(found, list) for entry in found]
    for entry in filter(_is_object, entries):
        used = max(used, *(_float(entry.get(name)) for name in _SHARES))
        wait = max(wait, 60 * _float(entry.get("estimated_time_to_regain_access")))
    app = _header(headers, "x-app-usage")
    own = _header(headers, "x-ad-account-usage")
    used = max(used, *(_float(app.get(name)) for name in _SHARES))
    spent = _float(own.get("acc_id_util_pct"))
    if spent >= 100:  # noqa: PLR2004 - per cent
        wait = max(wait, _float(own.get("reset_time_duration")))
    return max(used, spent), wait


_SHARES = ("call_count", "total_cputime", "total_time")


def _header(headers: Mapping[str, str], name: str) -> dict[str, Any]:
    try:
        found = orjson.loads(headers.get(name, "{}"))
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _float(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def whole_number(value: Any) -> int | None:
    return int(value) if isinstance(value, int) or str(value).isdigit() else None
