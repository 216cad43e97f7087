"""What Google's errors mean to us: a table of reasons, and how an answer is read against it."""

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

DAY = 86_400  # seconds
PER_MINUTE_WAIT = 60.0  # seconds; Google sends no Retry-After


class Meaning(NamedTuple):
    """What a reason of Google's means: the error to raise and the operator's sentence."""

    error: type[PartnerError]
    sentence: str


_ROW = Meaning(RefusedError, "Google does not accept some members of the batch")
_REQUEST = "Google does not accept the request; check the destination's settings"
_SIZE = Meaning(RefusedError, "the request holds more than Google takes")
_SETTING = Meaning(
    RefusedError,
    "Google does not know this list for this account; check the destination's settings",
)
_TERMS = Meaning(
    AuthenticationError,
    "the account has not accepted Google's Customer Match terms; accept them in the account",
)
_ALLOWED = Meaning(
    AuthenticationError, "Google has not allowed this account to upload members; ask Google"
)
_OLD = Meaning(RefusedError, "Google does not tell the state of this upload any more")
_RIGHT = Meaning(
    AuthenticationError, "the credentials may not use this account; grant them access to it"
)
_LOGIN = Meaning(
    AuthenticationError, "Google does not accept the credentials; make new ones and set them"
)
_LIST = Meaning(
    RefusedError,
    "Google does not make such a list; check the audience's name and the destination's settings",
)
_TAKEN = Meaning(RefusedError, "a list of this name is there already")
_BUSY = Meaning(TemporaryPartnerError, "Google's request quota is used up")
_AGAIN = Meaning(TemporaryPartnerError, "Google cannot answer now")
ROW_REASONS = frozenset(
    (
        "INVALID_HEX_ENCODING",
        "INVALID_BASE64_ENCODING",
        "INVALID_SHA256_FORMAT",
        "INVALID_FORMAT",
        "INVALID_POSTAL_CODE",
        "INVALID_COUNTRY_CODE",
        "INVALID_REGION_CODE",
        "INVALID_MOBILE_ID_FORMAT",
        "REQUIRED_FIELD_MISSING",
        "INVALID_ENUM_VALUE",
        "NO_IDENTIFIERS_PROVIDED",
        "INVALID_AUDIENCE_MEMBER",
    )
)
# By the reason in the details, else by the status word of the error.
MEANINGS: Mapping[str, Meaning] = {
    **dict.fromkeys(ROW_REASONS, _ROW),
    **dict.fromkeys(
        (
            "TOO_MANY_AUDIENCE_MEMBERS",
            "TOO_MANY_USER_IDENTIFIERS",
            "TOO_MANY_DESTINATIONS",
            "TOO_MANY_ELEMENTS",
            "FIELD_VALUE_TOO_LONG",
        ),
        _SIZE,
    ),
    **dict.fromkeys(
        (
            "INVALID_USER_LIST_ID",
            "INVALID_USER_LIST_TYPE",
            "INVALID_DESTINATION",
            "DESTINATION_ACCOUNT_TYPE_MISMATCH",
            "MULTIPLE_DATA_TYPES_NOT_ALLOWED",
            "OPERATING_ACCOUNT_LOGIN_ACCOUNT_MISMATCH",
            "INVALID_NUMBER_FORMAT",
            "DUPLICATE_DESTINATION_REFERENCE",
            "INVALID_REMOVE_AS_OF_TIME",
            "NOT_FOUND",
        ),
        _SETTING,
    ),
    **dict.fromkeys(
        (
            "MEMBERSHIP_DURATION_TOO_LONG",
            "UNSUPPORTED_USER_LIST_UPLOAD_KEY_TYPES",
            "UNSUPPORTED_ACCOUNT_TYPES_FOR_USER_LIST_TYPE",
            "INVALID_DISPLAY_NAME",
            "INVALID_DESCRIPTION",
            "USER_LIST_NAME_RESERVED",
        ),
        _LIST,
    ),
    **dict.fromkeys(("TERMS_AND_CONDITIONS_NOT_SIGNED", "ADVERTISER_TOS_NOT_ACCEPTED"), _TERMS),
    **dict.fromkeys(
        (
            "NOT_ALLOWLISTED",
            "ADVERTISER_NOT_ALLOWLISTED_FOR_UPLOADED_DATA",
            "REQUIRED_PREREQUISITE_LINK_MISSING",
            "EU_POLITICAL_ADVERTISING_DECLARATION_REQUIRED",
        ),
        _ALLOWED,
    ),
    **dict.fromkeys(("REQUEST_TOO_OLD", "INVALID_REQUEST_ID"), _OLD),
    **dict.fromkeys(("PERMISSION_DENIED", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"), _RIGHT),
    "SERVICE_DISABLED": Meaning(
        AuthenticationError, "enable the Data Manager API in the credentials' Cloud project"
    ),
    **dict.fromkeys(("UNAUTHENTICATED", "invalid_grant", "invalid_client"), _LOGIN),
    **dict.fromkeys(("ALREADY_EXISTS", "DISPLAY_NAME_ALREADY_USED"), _TAKEN),
    **dict.fromkeys(("RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED"), _BUSY),
    **dict.fromkeys(
        (
            "ABORTED",
            "INTERNAL",
            "INTERNAL_ERROR",
            "UNKNOWN",
            "UNAVAILABLE",
            "DEADLINE_EXCEEDED",
            "CANCELLED",
            "internal_failure",  # the token endpoint's words, whatever its HTTP status
            "server_error",
            "temporarily_unavailable",
        ),
        _AGAIN,
    ),
}
TAKEN = frozenset(("ALREADY_EXISTS", "DISPLAY_NAME_ALREADY_USED"))


def explained(
    answer: Answer, error: Any, fallback: PartnerError | None, reset_hour: int
) -> PartnerError:
    """The error that an answer means; `fallback` is what its HTTP status means alone.

    A day's quota is back at `reset_hour`, UTC.
    """
    if not isinstance(error, dict):
        error = {"status": str(error)}  # the token endpoint answers with a bare word
    details = [detail for detail in error.get("details") or () if isinstance(detail, dict)]
    violations = [
        violation for detail in details for violation in detail.get("fieldViolations") or ()
    ]
    said = [found.get("reason") for found in (*details, *violations)] + [error.get("status")]
    code = next((str(word) for word in said if word in MEANINGS), None)
    if code is None:
        return fallback or RefusedError("Google refuses the request", answer.status)
    meaning = MEANINGS[code]
    named = fallback.retry_after if isinstance(fallback, TemporaryPartnerError) else None
    if meaning is _BUSY:
        wait = named or _quota_wait(details, reset_hour)
        return TemporaryPartnerError(meaning.sentence, answer.status, code, wait)
    if code in ROW_REASONS:
        rows = _rows(violations)
        if not rows and any(violation.get("field") for violation in violations):
            return RefusedError(_REQUEST, answer.status, f"{code} in the request")
        return RefusedError(meaning.sentence, answer.status, code, rows)
    if meaning is _AGAIN:
        return TemporaryPartnerError(meaning.sentence, answer.status, code, named)
    return meaning.error(meaning.sentence, answer.status, code)


def _rows(violations: list[dict[str, Any]]) -> tuple[int, ...]:
    """The rows that Google names; its paths say "audience_members" twice (checked 2026-11)."""
    found = (
        re.match(
            r"(?:audience_?members\.)?audience_?members\[(\d+)\]",
            str(v.get("field")),
            re.IGNORECASE,
        )
        for v in violations
    )
    return tuple(sorted({int(match[1]) for match in found if match}))


def _quota_wait(details: list[dict[str, Any]], reset_hour: int) -> float:
    limits = [str((detail.get("metadata") or {}).get("quota_limit")) for detail in details]
    if any("PerDay" in limit for limit in limits):
        return (reset_hour * 3600 - time.time()) % DAY
    return PER_MINUTE_WAIT
