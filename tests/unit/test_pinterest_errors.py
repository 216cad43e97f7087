"""Pinterest's codes become the error that says what to do."""

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
from connectors._pinterest_calls import PinterestSettings
from connectors.pinterest import PinterestConnector

CONNECTOR = PinterestConnector(
    PinterestSettings(ad_account_id="1", app_id="2", app_secret="secret", refresh_token="token"),
    FakePartner(),
)
AGAIN, STOP, NO = TemporaryPartnerError, AuthenticationError, RefusedError
NOW = 1_795_305_600.0

# Every row of the partner sheet: HTTP status, code, what becomes of it, a word of the sentence.
ROWS = [
    (400, 1, NO, "settings"),
    (400, 4196, NO, "settings"),
    (400, 400, NO, "settings"),
    (401, 2, STOP, "access token"),
    (401, 1104, STOP, "access token"),
    (401, 3, STOP, "ads:write"),
    (403, 3, STOP, "ads:write"),
    (401, 29, STOP, "ads:write"),
    (403, 29, STOP, "ads:write"),
    (403, 403, STOP, "ads:write"),
    (404, 404, NO, "ad_account_id"),
    (404, 4711, NO, "list"),
    (413, 4711, NO, "refuses"),
    (429, 8, AGAIN, "limit"),
    (429, 30, AGAIN, "limit"),
    (503, 4197, AGAIN, "slowed"),
    (500, 4711, AGAIN, "now"),
    (502, 4711, AGAIN, "now"),
]


@pytest.fixture(autouse=True)
def _fixed_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors._pinterest_words.time.time", lambda: NOW)


def _explained(answer: Answer) -> PartnerError | None:
    return CONNECTOR.explain(answer)


@pytest.mark.parametrize(("status", "code", "wanted", "word"), ROWS)
def test_a_code_says_what_to_do(
    status: int, code: int, wanted: type[PartnerError], word: str
) -> None:
    """Each row of the sheet."""
    found = _explained(answered({"code": code, "message": "partner's words"}, status))
    assert type(found) is wanted
    assert word in found.message
    assert (found.status, found.code) == (status, str(code))


@pytest.mark.parametrize(
    ("status", "wanted"),
    [(400, NO), (401, STOP), (403, STOP), (404, NO), (408, AGAIN), (413, NO), (429, AGAIN),
     (500, AGAIN), (503, AGAIN)],
)  # fmt: skip
@pytest.mark.parametrize("body", [{}, {"code": None}, {"code": "x"}, {"code": True}, [], None])
def test_without_a_code_the_status_decides(
    status: int, wanted: type[PartnerError], body: Any
) -> None:
    """An error of a shape that we do not know is still the right kind of error."""
    found = _explained(answered(body, status))
    assert type(found) is wanted
    assert found.code is None


@pytest.mark.parametrize("status", [500, 502, 503])
@pytest.mark.parametrize("code", [1, 2, 29, 404])
def test_a_server_in_trouble_is_tried_again_whatever_it_says(status: int, code: int) -> None:
    """A code is part of the trouble then, and no word about the request."""
    found = _explained(answered({"code": code}, status))
    assert type(found) is AGAIN
    assert (found.status, found.code) == (status, str(code))


@pytest.mark.parametrize(
    ("body", "status", "wanted"),
    [
        (b"<html>sorry</html>", 200, AGAIN),
        (b"<html>sorry</html>", 503, AGAIN),
        (b"", 200, AGAIN),
        (b'{"id": "64', 200, AGAIN),
        (b"[]", 200, AGAIN),
        (b"<html>too large</html>", 413, NO),
        (b"", 401, STOP),
    ],
)
def test_what_is_not_json_goes_by_its_status(
    body: bytes, status: int, wanted: type[PartnerError]
) -> None:
    """A web page comes from something in trouble on the way."""
    assert type(_explained(answered(body, status))) is wanted


def test_a_success_is_one() -> None:
    """Whatever a list is called."""
    assert _explained(answered({"id": "1", "code": 8})) is None


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, 60.0),
        ({"retry-after": "17"}, 17.0),
        ({"x-ratelimit-reset": "42"}, 42.0),
        ({"x-ratelimit-reset": f"{NOW + 90:.0f}"}, 90.0),
        ({"x-ratelimit-reset": "1700000000"}, 1.0),
        ({"x-ratelimit-reset": "999999"}, 86_400.0),
        ({"x-ratelimit-reset": "soon"}, 60.0),
        ({"retry-after": "5", "x-ratelimit-reset": "42"}, 5.0),
    ],
)
def test_the_wait_of_a_limit_is_pinterests(headers: dict[str, str], wait: float) -> None:
    """In seconds or as a time, whichever it is; bounded by a day."""
    for code in (8, 30):
        found = _explained(answered({"code": code}, 429, headers))
        assert isinstance(found, TemporaryPartnerError)
        assert found.retry_after == wait


def test_a_failure_waits_as_long_as_it_says() -> None:
    """And else as long as the client's own waits grow."""
    for headers, wait in (({"retry-after": "9"}, 9.0), ({"x-ratelimit-reset": "9"}, None)):
        found = _explained(answered({"code": 4197}, 503, headers))
        assert isinstance(found, TemporaryPartnerError)
        assert found.retry_after == wait


def test_a_refused_token_is_renewed_and_the_request_goes_again() -> None:
    """`refresh` says that another attempt may work."""
    partner = _Renewing()
    connector = PinterestConnector(CONNECTOR.settings, partner)
    partner.bind(connector)
    assert connector.headers() == {"Authorization": "Bearer pina.1"}
    assert not connector.refresh(AuthenticationError("no right", 403, "29"))
    assert connector.headers() == {"Authorization": "Bearer pina.1"}
    assert connector.refresh(AuthenticationError("over", 400, "1104"))
    assert connector.headers() == {"Authorization": "Bearer pina.2"}


class _Renewing(FakePartner):
    def respond(self, sent: Any) -> Answer:
        turn = len(self.requests)
        return answered({"access_token": f"pina.{turn}", "refresh_token": "r", "expires_in": 9e6})
