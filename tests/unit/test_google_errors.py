"""Google's reasons become the error that says what to do."""

from __future__ import annotations

from typing import Any

import pytest

from audience_sync.connector import (
    Answer,
    AuthenticationError,
    PartnerError,
    RefusedError,
    TemporaryPartnerError,
)
from audience_sync.testing.builders import FakePartner, answered
from connectors.google import GoogleConnector, GoogleSettings

CONNECTOR = GoogleConnector(GoogleSettings(operating_account="1", credentials="{}"), FakePartner())
AGAIN, STOP, NO = TemporaryPartnerError, AuthenticationError, RefusedError
MIDNIGHT = 1_795_219_200  # seconds; UTC


def _explained(answer: Answer) -> PartnerError | None:
    return CONNECTOR.explain(answer)


def _error(code: int, reason: str | None, status: str, **more: Any) -> Answer:
    details = [] if reason is None else [{"reason": reason, "domain": "x", **more}]
    body = {"code": code, "message": "partner's words", "status": status, "details": details}
    return answered({"error": body}, code)


INVALID = "INVALID_ARGUMENT"
ROWS = [
    *(
        (400, reason, INVALID, NO, "members")
        for reason in (
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
    ),
    *(
        (400, reason, INVALID, NO, "more than")
        for reason in (
            "TOO_MANY_AUDIENCE_MEMBERS",
            "TOO_MANY_USER_IDENTIFIERS",
            "TOO_MANY_DESTINATIONS",
            "TOO_MANY_ELEMENTS",
            "FIELD_VALUE_TOO_LONG",
        )
    ),
    *(
        (400, reason, INVALID, NO, "settings")
        for reason in (
            "INVALID_USER_LIST_ID",
            "INVALID_USER_LIST_TYPE",
            "INVALID_DESTINATION",
            "DESTINATION_ACCOUNT_TYPE_MISMATCH",
            "MULTIPLE_DATA_TYPES_NOT_ALLOWED",
            "OPERATING_ACCOUNT_LOGIN_ACCOUNT_MISMATCH",
            "INVALID_NUMBER_FORMAT",
            "DUPLICATE_DESTINATION_REFERENCE",
            "INVALID_REMOVE_AS_OF_TIME",
        )
    ),
    *(
        (400, reason, INVALID, NO, "such a list")
        for reason in (
            "MEMBERSHIP_DURATION_TOO_LONG",
            "UNSUPPORTED_USER_LIST_UPLOAD_KEY_TYPES",
            "UNSUPPORTED_ACCOUNT_TYPES_FOR_USER_LIST_TYPE",
            "INVALID_DISPLAY_NAME",
            "INVALID_DESCRIPTION",
            "USER_LIST_NAME_RESERVED",
        )
    ),
    (400, "TERMS_AND_CONDITIONS_NOT_SIGNED", INVALID, STOP, "terms"),
    (403, "ADVERTISER_TOS_NOT_ACCEPTED", "PERMISSION_DENIED", STOP, "terms"),
    (403, "NOT_ALLOWLISTED", "PERMISSION_DENIED", STOP, "allowed"),
    (403, "ADVERTISER_NOT_ALLOWLISTED_FOR_UPLOADED_DATA", INVALID, STOP, "allowed"),
    (400, "REQUIRED_PREREQUISITE_LINK_MISSING", INVALID, STOP, "allowed"),
    (400, "EU_POLITICAL_ADVERTISING_DECLARATION_REQUIRED", INVALID, STOP, "allowed"),
    (400, "REQUEST_TOO_OLD", INVALID, NO, "any more"),
    (400, "INVALID_REQUEST_ID", INVALID, NO, "any more"),
    (401, None, "UNAUTHENTICATED", STOP, "credentials"),
    (403, None, "PERMISSION_DENIED", STOP, "access"),
    (403, "PERMISSION_DENIED", "PERMISSION_DENIED", STOP, "access"),
    (403, "ACCESS_TOKEN_SCOPE_INSUFFICIENT", "PERMISSION_DENIED", STOP, "access"),
    (403, "SERVICE_DISABLED", "PERMISSION_DENIED", STOP, "enable"),
    (404, None, "NOT_FOUND", NO, "list"),
    (409, None, "ABORTED", AGAIN, "now"),
    (409, None, "ALREADY_EXISTS", NO, "already"),
    (409, "DISPLAY_NAME_ALREADY_USED", "ALREADY_EXISTS", NO, "already"),
    (400, "DISPLAY_NAME_ALREADY_USED", INVALID, NO, "already"),
    (429, None, "RESOURCE_EXHAUSTED", AGAIN, "quota"),
    (429, "RATE_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED", AGAIN, "quota"),
    (500, None, "INTERNAL", AGAIN, "now"),
    (500, "INTERNAL_ERROR", "INTERNAL", AGAIN, "now"),
    (500, None, "UNKNOWN", AGAIN, "now"),
    (503, None, "UNAVAILABLE", AGAIN, "now"),
    (504, "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", AGAIN, "now"),
    (400, "SOMETHING_NEW", INVALID, NO, "refuses"),
    (500, "SOMETHING_NEW", "SOMETHING", AGAIN, "now"),
    (401, "SOMETHING_NEW", "SOMETHING", STOP, "credentials"),
]


@pytest.mark.parametrize(("status", "reason", "word", "wanted", "said"), ROWS)
def test_a_reason_decides(
    status: int, reason: str | None, word: str, wanted: type[PartnerError], said: str
) -> None:
    """The reason in the details comes first, then the status word, then HTTP's."""
    found = _explained(_error(status, reason, word))
    assert type(found) is wanted
    assert said in found.message
    assert "partner's words" not in str(found)
    assert found.status == status
    assert found.code in (reason, word, None)


@pytest.mark.parametrize(
    ("word", "status", "wanted"),
    [
        ("invalid_grant", 400, STOP),
        ("invalid_client", 401, STOP),
        ("server_error", 500, AGAIN),
        ("internal_failure", 400, AGAIN),
        ("server_error", 400, AGAIN),
        ("temporarily_unavailable", 400, AGAIN),
    ],
)
def test_the_token_endpoint_has_words_of_its_own(
    word: str, status: int, wanted: type[PartnerError]
) -> None:
    """It answers a bare word in place of an object."""
    answer = answered({"error": word, "error_description": "Token has been revoked."}, status)
    assert type(_explained(answer)) is wanted


@pytest.mark.parametrize(
    "path",
    [
        "audience_members.audience_members[7].composite_data.user_data.user_identifiers",
        "audience_members[7].user_data",
        "audienceMembers.audienceMembers[7].mobileData",
    ],
)
def test_bad_rows_are_read_from_their_paths(path: str) -> None:
    """The doubled path and plainer ones name the same row; a row is named once."""
    violations = [{"field": path, "reason": "INVALID_FORMAT"}] * 2 + [{"field": "encoding"}, {}]
    body = {"details": [{"reason": "INVALID_FORMAT"}, {"fieldViolations": violations}, "odd"]}
    found = _explained(answered({"error": body}, 400))
    assert isinstance(found, RefusedError)
    assert found.rows == (7,)


@pytest.mark.parametrize(
    ("code", "reason", "word"),
    [(429, "RATE_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED"), (503, None, "UNAVAILABLE")],
)
def test_a_wait_that_google_names_is_honoured(code: int, reason: str | None, word: str) -> None:
    """It documents none, and a server on the way may."""
    answer = _error(code, reason, word)
    found = _explained(answered(answer.body, code, {"retry-after": "17"}))
    assert isinstance(found, TemporaryPartnerError)
    assert found.retry_after == 17


def test_the_hour_of_the_days_quota_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Google does not document it."""
    monkeypatch.setattr("connectors._google_words.time.time", lambda: float(MIDNIGHT))
    settings = GoogleSettings(operating_account="1", credentials="{}", quota_reset_hour=3)
    metadata = {"quota_limit": "IngestionMutateRequestsPerDayPerProject"}
    answer = _error(429, "RATE_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED", metadata=metadata)
    found = GoogleConnector(settings, FakePartner()).explain(answer)
    assert isinstance(found, TemporaryPartnerError)
    assert found.retry_after == 3 * 3600.0


def test_a_reason_is_found_among_the_violations() -> None:
    """Where the details name none that we know, a violation may."""
    violations = [{"field": "audience_members[0]", "reason": "INVALID_HEX_ENCODING"}]
    body = {"details": [{"reason": "BAD"}, {"fieldViolations": violations}], "status": INVALID}
    found = _explained(answered({"error": body}, 400))
    assert found is not None
    assert found.code == "INVALID_HEX_ENCODING"


@pytest.mark.parametrize(
    ("limit", "seconds_after_midnight", "wait"),
    [
        ("IngestionMutateRequestsPerMinutePerProject", 0, 60.0),
        (None, 0, 60.0),
        ("IngestionMutateRequestsPerDayPerProject", 0, 8 * 3600.0),
        ("IngestionMutateRequestsPerDayPerProject", 7 * 3600, 3600.0),
        ("IngestionMutateRequestsPerDayPerProject", 9 * 3600, 23 * 3600.0),
    ],
)
def test_a_quota_names_its_wait(
    monkeypatch: pytest.MonkeyPatch, limit: str | None, seconds_after_midnight: int, wait: float
) -> None:
    """A minute's quota is back in a minute, a day's at midnight US Pacific at the latest."""
    monkeypatch.setattr(
        "connectors._google_words.time.time", lambda: float(MIDNIGHT + seconds_after_midnight)
    )
    found = _explained(
        _error(429, "RATE_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED", metadata={"quota_limit": limit})
    )
    assert isinstance(found, TemporaryPartnerError)
    assert found.retry_after == wait


@pytest.mark.parametrize(
    ("body", "status", "wanted"),
    [
        (b"<html>502</html>", 502, AGAIN),
        (b"<html>hello</html>", 200, AGAIN),
        (b"", 200, AGAIN),
        (b'{"requestId": "12', 200, AGAIN),
        (b"[]", 200, AGAIN),
        (b"", 401, STOP),
        *((b"<html>no</html>", status, STOP) for status in (400, 403, 404, 405, 407, 411)),
        *((b"<html>later</html>", status, AGAIN) for status in (408, 425, 429)),
        (b"[]", 404, STOP),
        (b"<html>too large</html>", 413, NO),
    ],
)
def test_what_is_not_googles_json_is_somebody_else(
    body: bytes, status: int, wanted: type[PartnerError]
) -> None:
    """A web page or a piece of an answer comes from something in trouble on the way."""
    assert type(_explained(answered(body, status))) is wanted


def test_a_web_page_is_no_proof() -> None:
    """Nobody knows what stood behind it, but where it says that the request is too large."""
    statuses = (400, 401, 403, 404, 408, 413, 429, 503)
    proofs = [CONNECTOR.changed_nothing(answered(b"<html>Sorry</html>", s)) for s in statuses]
    assert proofs == [status in (401, 413) for status in statuses]
    assert CONNECTOR.changed_nothing(answered({"error": {"status": "NOT_FOUND"}}, 404))


def test_a_success_is_no_error() -> None:
    """An answer without an error is none."""
    assert _explained(answered({"requestId": "1"})) is None
