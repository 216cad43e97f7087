"""X's codes become the error that says what to do."""

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
from connectors._x_calls import XSettings
from connectors._x_words import divides
from connectors.x import XConnector

CONNECTOR = XConnector(
    XSettings(
        account_id="18ce54d4x5t",
        consumer_key="ckey",
        consumer_secret="csecret",
        access_token="tkey",
        access_token_secret="tsecret",
    ),
    FakePartner(),
)
AGAIN, STOP, NO = TemporaryPartnerError, AuthenticationError, RefusedError
NOW = 1_795_305_600.0

# Every row of the partner sheet: HTTP status, code, what becomes of it, a word of the sentence.
ROWS = [
    (400, "INVALID_PARAMETER", NO, "settings"),
    (400, "MISSING_PARAMETER", NO, "settings"),
    (400, "REQUEST_TOO_COMPLEX", NO, "more than X takes"),
    (401, "UNAUTHORIZED_ACCESS", STOP, "clock"),
    (403, "UNAUTHORIZED_CLIENT_APPLICATION", STOP, "access to the Ads API"),
    (403, "READONLY_CLIENT_APPLICATION", STOP, "access to the Ads API"),
    (403, "ACCOUNT_LOCKED_OUT", STOP, "unlock"),
    (403, "ACTION_NOT_ALLOWED", STOP, "terms"),
    (403, "ACCOUNT_NOT_FOUND", STOP, "account_id"),
    (404, "NOT_FOUND", NO, "list"),
    (404, "TAILORED_AUDIENCE_NOT_FOUND", NO, "list"),
    (404, "ROUTE_NOT_FOUND", NO, "api_version"),
    (408, "CANCELLED_REQUEST", AGAIN, "now"),
    (423, "LOCK_ACQUISITION_TIMEOUT", AGAIN, "now"),
    (429, "TOO_MANY_REQUESTS", AGAIN, "limit"),
    (500, "INTERNAL_ERROR", AGAIN, "now"),
    (503, "SERVICE_UNAVAILABLE", AGAIN, "now"),
    (503, "OVER_CAPACITY", AGAIN, "now"),
]


@pytest.fixture(autouse=True)
def _fixed_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors._x_words.time.time", lambda: NOW)


def _explained(answer: Answer) -> PartnerError | None:
    return CONNECTOR.explain(answer)


def _error(code: Any, **more: Any) -> dict[str, Any]:
    return {"errors": [{"code": code, "message": "partner's words", "value": "echo"} | more]}


@pytest.mark.parametrize(("status", "code", "wanted", "word"), ROWS)
@pytest.mark.parametrize("answered_with", [None, 200])
def test_a_code_decides_whatever_the_status(
    status: int, code: str, wanted: type[PartnerError], word: str, answered_with: int | None
) -> None:
    """Each row of the sheet, also where an error comes with a success."""
    found = _explained(answered(_error(code), answered_with or status))
    assert type(found) is wanted
    assert word in found.message
    assert (found.status, found.code) == (answered_with or status, code)


@pytest.mark.parametrize(
    ("status", "wanted"),
    [(400, NO), (401, STOP), (403, NO), (404, NO), (408, AGAIN), (413, NO), (429, AGAIN),
     (500, AGAIN), (502, AGAIN), (503, AGAIN)],
)  # fmt: skip
@pytest.mark.parametrize(
    "body", [{}, {"errors": None}, {"errors": "no"}, {"errors": [5]}, _error("strange code"), []]
)
def test_without_a_code_the_status_decides(
    status: int, wanted: type[PartnerError], body: Any
) -> None:
    """An error of a shape that we do not know is still the right kind of error."""
    found = _explained(answered(body, status))
    assert type(found) is wanted
    assert found.code is None


@pytest.mark.parametrize("status", [500, 502, 503])
@pytest.mark.parametrize("code", ["INVALID_PARAMETER", "NOT_FOUND", "UNAUTHORIZED_ACCESS"])
def test_a_server_in_trouble_is_tried_again_whatever_it_says(status: int, code: str) -> None:
    """What it says of the request may be part of the trouble; no list counts as gone by it."""
    found = _explained(answered(_error(code), status))
    assert type(found) is AGAIN
    assert (found.status, found.code) == (status, code)


@pytest.mark.parametrize(
    ("body", "status", "wanted"),
    [
        (b"<html>no such page</html>", 404, NO),
        (b"<html>sorry</html>", 200, AGAIN),
        (b"<html>sorry</html>", 503, AGAIN),
        (b"", 401, STOP),
        (b"", 200, AGAIN),
        (b'{"data": {"suc', 200, AGAIN),
        (b"[]", 200, AGAIN),
    ],
)
def test_what_is_not_json_goes_by_its_status(
    body: bytes, status: int, wanted: type[PartnerError]
) -> None:
    """A wrong address answers with a web page, and so does a proxy in trouble."""
    assert type(_explained(answered(body, status))) is wanted


def test_a_wrong_address_says_so() -> None:
    """X tells it by a web page, without a code."""
    found = _explained(answered(b"<html>no such page</html>", 404))
    assert type(found) is NO
    assert "base_url" in found.message


def test_a_success_is_one() -> None:
    """Empty lists of errors are no errors."""
    body = {"data": {"success_count": 1}, "errors": [], "operation_errors": [[], []]}
    assert _explained(answered(body)) is None


def test_an_operations_error_is_an_error() -> None:
    """The request failed as a whole, even where the status says otherwise."""
    inner = [{"code": "MISSING_PARAMETER", "parameter": "users", "message": "no"}]
    for status in (200, 400):
        found = _explained(answered({"errors": [], "operation_errors": [inner, []]}, status))
        assert type(found) is NO
        assert found.code == "MISSING_PARAMETER"
        assert not divides(found, 10)


@pytest.mark.parametrize("parameter", ["email", "users", "users[3].phone_number", "device_id"])
def test_a_fault_of_users_is_told_apart(parameter: str) -> None:
    """Only then may a batch be searched for the users who are the cause."""
    inner = [{"code": "INVALID_PARAMETER", "parameter": parameter}]
    found = _explained(answered({"operation_errors": [inner]}, 400))
    assert type(found) is NO
    assert divides(found, 1)
    named = _explained(answered(_error("INVALID_PARAMETER", parameter=parameter), 400))
    assert type(named) is NO
    assert not divides(named, 10)


def _wait(status: int, code: str, headers: dict[str, str]) -> float | None:
    found = _explained(answered(_error(code), status, headers))
    assert isinstance(found, TemporaryPartnerError)
    return found.retry_after


def test_the_wait_of_a_limit_is_xs() -> None:
    """The account's window goes before the user's; without a header it is a minute."""
    account, user = f"{NOW + 90:.0f}", f"{NOW + 500:.0f}"
    both = {"x-account-rate-limit-reset": account, "x-rate-limit-reset": user}
    assert _wait(429, "TOO_MANY_REQUESTS", both) == 90.0
    assert _wait(429, "TOO_MANY_REQUESTS", {"x-rate-limit-reset": user}) == 500.0
    assert _wait(429, "TOO_MANY_REQUESTS", {}) == 60.0
    assert _wait(429, "strange", {"x-rate-limit-reset": user}) == 500.0
    assert _wait(429, "TOO_MANY_REQUESTS", {"x-rate-limit-reset": "soon"}) == 60.0


def test_a_window_that_is_over_or_absurd_is_bounded() -> None:
    """A clock that is wrong neither hurries us nor stops us for a day."""
    past, far = {"x-rate-limit-reset": "1"}, {"x-rate-limit-reset": f"{NOW + 1e6:.0f}"}
    assert _wait(429, "TOO_MANY_REQUESTS", past) == 1.0
    assert _wait(429, "TOO_MANY_REQUESTS", far) == 3600.0


def test_the_wait_of_an_overload_is_its_header() -> None:
    """X sends retry-after with 503; without it the client's own waits grow."""
    assert _wait(503, "OVER_CAPACITY", {"retry-after": "17"}) == 17.0
    assert _wait(503, "SERVICE_UNAVAILABLE", {"x-rate-limit-reset": "9"}) is None


def test_requests_rest_when_a_window_is_used_up() -> None:
    """The last request of a window is followed by a pause to its end."""

    def pause(**headers: str) -> float:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return CONNECTOR.slow_down(answered({}, 200, named))

    end = f"{NOW + 42:.0f}"
    assert pause(x_rate_limit_remaining="0", x_rate_limit_reset=end) == 42.0
    assert pause(x_account_rate_limit_remaining="0", x_account_rate_limit_reset=end) == 42.0
    assert pause(x_rate_limit_remaining="3", x_rate_limit_reset=end) == 0.0
    both = {"x_account_rate_limit_reset": f"{NOW + 900:.0f}", "x_rate_limit_reset": end}
    spent = {"x_account_rate_limit_remaining": "5", "x_rate_limit_remaining": "0"}
    assert pause(**both, **spent) == 42.0  # of the window that is used up, not of the other
    assert pause(**both, **dict.fromkeys(spent, "0")) == 900.0
    assert pause() == 0.0
