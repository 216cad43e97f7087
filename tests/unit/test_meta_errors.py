"""Meta's codes become the error that says what to do."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from audience_sync.connector import (
    Answer,
    AuthenticationError,
    PartnerError,
    RefusedError,
    TemporaryPartnerError,
)
from audience_sync.testing.builders import FakePartner, answered
from connectors.meta import MetaConnector, MetaSettings

SETTINGS = MetaSettings(ad_account_id="542676646349772", access_token="EAATESTTOKEN")
CONNECTOR = MetaConnector(SETTINGS, FakePartner())
AGAIN, STOP, NO = TemporaryPartnerError, AuthenticationError, RefusedError


def _explained(answer: Answer) -> PartnerError | None:
    return CONNECTOR.explain(answer)


ROWS = [
    (1, None, AGAIN, "now"),
    (2, None, AGAIN, "down"),
    (4, None, AGAIN, "limit"),
    (17, 2446079, AGAIN, "limit"),
    (32, None, AGAIN, "limit"),
    (341, None, AGAIN, "limit"),
    (613, None, AGAIN, "limit"),
    (613, 1996, AGAIN, "limit"),
    (80000, None, AGAIN, "limit"),
    (80003, 2446079, AGAIN, "limit"),
    (80004, None, AGAIN, "limit"),
    (80014, None, AGAIN, "limit"),
    *((190, subcode, STOP, "token") for subcode in (None, 463, 467, 460, 458, 459, 464, 492)),
    (102, None, STOP, "token"),
    (104, None, STOP, "token"),
    (3, None, STOP, "ads_management"),
    (10, None, STOP, "ads_management"),
    (200, None, STOP, "ads_management"),
    (270, None, STOP, "ads_management"),
    (294, None, STOP, "ads_management"),
    (299, None, STOP, "ads_management"),
    (200, 1870090, STOP, "tos/?act=542676646349772"),
    (2655, None, STOP, "terms"),
    (2663, None, STOP, "terms"),
    (200, 1870050, STOP, "business"),
    (368, None, STOP, "policy"),
    (100, None, NO, "settings"),
    (194, None, NO, "settings"),
    (100, 33, NO, "exist"),
    (100, 1713228, NO, "flagged"),
    (100, 1713230, NO, "flagged"),
    (100, 1713231, NO, "flagged"),
    (105, None, NO, "parameters"),
    (1487301, None, NO, "exist"),
    (1487366, None, NO, "exist"),
    (2635, None, NO, "api_version"),
    (2650, None, NO, "session"),
    (2650, 1870145, AGAIN, "updated"),
    (2650, 1870148, AGAIN, "updated"),
    (2650, 1870158, NO, "session"),
    (2650, 1870147, NO, "session"),
    (2650, 1870159, NO, "session"),
    (2650, 1870144, NO, "100 million"),
    (987654, None, NO, "refuses"),
]


@pytest.mark.parametrize(("code", "subcode", "wanted", "word"), ROWS)
@pytest.mark.parametrize("status", [200, 400])
def test_a_code_decides_whatever_the_status(
    code: int, subcode: int | None, wanted: type[PartnerError], word: str, status: int
) -> None:
    """Throttles and refusals come with the same HTTP status, and errors even with a success."""
    error: dict[str, Any] = {"message": "partner's words", "code": code}
    if subcode is not None:
        error["error_subcode"] = subcode
    found = _explained(answered({"error": error}, status))
    assert type(found) is wanted
    assert word in found.message
    assert found.status == status
    assert found.code == (str(code) if subcode is None else f"{code}/{subcode}")


@pytest.mark.parametrize(
    ("code", "wanted"), [(100, AGAIN), (555, AGAIN), (190, STOP), (368, STOP), (2650, AGAIN)]
)
def test_what_meta_calls_transient_is_tried_again(code: int, wanted: type[PartnerError]) -> None:
    """Except where a person is needed."""
    found = _explained(answered({"error": {"code": code, "is_transient": True}}, 400))
    assert type(found) is wanted


@pytest.mark.parametrize(
    ("status", "wanted"),
    [(400, NO), (401, STOP), (403, NO), (404, NO), (413, NO), (500, AGAIN), (503, AGAIN)],
)
@pytest.mark.parametrize("error", [{}, None, "no", {"code": None}, {"code": "x"}])
def test_without_a_code_the_status_decides(
    status: int, wanted: type[PartnerError], error: Any
) -> None:
    """An error of a shape that we do not know is still the right kind of error."""
    assert type(_explained(answered({"error": error}, status))) is wanted


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (100, "Invalid appsecret_proof provided in the API argument"),
        (100, "API calls from the server require an appsecret_proof argument"),
        (1, "Error validating client secret."),
        (101, "Error validating application. Cannot get application info due to a system error."),
    ],
)
def test_what_is_wrong_with_the_app_stops_the_destination(code: int, message: str) -> None:
    """A person has to set the app right; no removal counts as refused because of it."""
    error = {"message": message, "type": "GraphMethodException", "code": code}
    found = _explained(answered({"error": error}, 400))
    assert isinstance(found, AuthenticationError)
    assert "app_secret" in found.message
    assert found.code == str(code)


@pytest.mark.parametrize(
    ("error", "proof"),
    [
        ({"code": 100}, True),
        ({"code": 190, "error_subcode": 463}, True),
        ({"code": 80003, "error_subcode": 2446079}, True),
        ({"code": 2650, "error_subcode": 1870145}, True),
        ({"code": 2650, "error_subcode": 1870148}, False),
        ({"code": 1}, False),
        ({"code": 2}, False),
        ({"code": 100, "is_transient": True}, False),
    ],
)
def test_a_trouble_of_metas_own_is_no_proof(error: dict[str, Any], proof: bool) -> None:
    """It comes with HTTP 400 as a refusal does, and perhaps after the change was made."""
    assert CONNECTOR.changed_nothing(answered({"error": error}, 400)) is proof
    assert not CONNECTOR.changed_nothing(answered({"error": error}, 200))


def test_a_web_page_is_no_proof() -> None:
    """Nobody knows what stood behind it, but where it says that the request is too large."""
    proofs = [CONNECTOR.changed_nothing(answered(b"<html>Sorry</html>", s)) for s in PAGES]
    assert proofs == [status in (401, 413) for status in PAGES]


PAGES = (400, 401, 403, 404, 405, 408, 413, 429, 503)


def test_success_false_is_no_success() -> None:
    """Meta can answer 200 and say that it failed."""
    assert type(_explained(answered({"success": False}))) is NO
    assert _explained(answered({"success": True})) is None


@pytest.mark.parametrize(
    ("body", "status", "wanted"),
    [
        (b"<html>Sorry, something went wrong.</html>", 200, AGAIN),
        (b"<html>Sorry, something went wrong.</html>", 400, AGAIN),
        (b"Service Unavailable", 200, AGAIN),
        (b"", 200, AGAIN),
        (b'{"id": "2385', 200, AGAIN),
        (b"", 502, AGAIN),
        (b"", 401, STOP),
        *((b"<html>no</html>", status, STOP) for status in (403, 404, 405, 407, 410, 451)),
        *((b"<html>later</html>", status, AGAIN) for status in (408, 425, 429)),
        (b"<html>too large</html>", 413, NO),
    ],
)
def test_what_is_not_json_is_somebody_else(
    body: bytes, status: int, wanted: type[PartnerError]
) -> None:
    """A web page or a piece of an answer comes from something in trouble on the way."""
    assert type(_explained(answered(body, status))) is wanted


def _throttled(headers: dict[str, str]) -> float | None:
    found = _explained(answered({"error": {"code": 80003}}, 400, headers))
    assert isinstance(found, TemporaryPartnerError)
    return found.retry_after


def _business(minutes: float, calls: float = 100, account: str = "542676646349772") -> str:
    entry = {
        "type": "custom_audience",
        "call_count": calls,
        "total_cputime": 3,
        "total_time": 7,
        "estimated_time_to_regain_access": minutes,
    }
    return orjson.dumps({account: [entry]}).decode()


def test_the_wait_of_a_throttle_is_metas() -> None:
    """The audience limit names minutes, the account's own limit seconds."""
    assert _throttled({"x-business-use-case-usage": _business(7)}) == 420.0
    own = '{"acc_id_util_pct":100,"reset_time_duration":90}'
    assert _throttled({"x-ad-account-usage": own}) == 90.0
    unused = '{"acc_id_util_pct":9.67,"reset_time_duration":90}'
    assert _throttled({"x-ad-account-usage": unused}) == 300.0


@pytest.mark.parametrize("header", ["", "{", "[]", "null", '{"1":[]}', '{"1":[{}]}', '{"1": 5}'])
def test_a_throttle_without_a_wait_has_ours(header: str) -> None:
    """A usage header that is absent or strange is no reason to fail."""
    assert _throttled({"x-business-use-case-usage": header}) == 300.0


def test_requests_slow_down_before_the_limit() -> None:
    """From three quarters of an allowance on, each request waits a little longer."""

    def pause(calls: float) -> float:
        headers = {"x-business-use-case-usage": _business(0, calls)}
        return CONNECTOR.slow_down(answered({}, 200, headers))

    assert [pause(calls) for calls in (0, 32, 75)] == [0, 0, 0]
    assert 0 < pause(80) < pause(90) < pause(100) == pause(250) == 15.0
    app = {"x-app-usage": '{"call_count":12,"total_cputime":100,"total_time":6}'}
    assert CONNECTOR.slow_down(answered({}, 200, app)) == 15.0
    assert CONNECTOR.slow_down(answered({})) == 0


def test_another_accounts_allowance_is_not_ours() -> None:
    """Where Meta lists several accounts, ours counts."""
    both = orjson.loads(_business(60, 100, "1")) | orjson.loads(_business(0, 5))
    headers = {"x-business-use-case-usage": orjson.dumps(both).decode()}
    assert CONNECTOR.slow_down(answered({}, 200, headers)) == 0
