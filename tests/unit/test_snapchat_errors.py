"""Snapchat's answers become the error that says what to do."""

from __future__ import annotations

from typing import Any

import pytest

from audience_sync.connector import (
    Answer,
    AuthenticationError,
    Kind,
    PartnerError,
    RefusedError,
    TemporaryPartnerError,
)
from audience_sync.testing.builders import (
    FakePartner,
    Sent,
    answered,
    made_up_members,
    made_up_upload,
)
from connectors.snapchat import SnapchatConnector, SnapchatSettings

SETTINGS = SnapchatSettings(
    ad_account_id="422ef6f5-0000-4000-8000-000000000001",
    client_id="snap-app",
    client_secret="snap-secret-canary",
    refresh_token="snap-refresh-canary",
)
AGAIN, STOP, NO = TemporaryPartnerError, AuthenticationError, RefusedError
REFUSED = {
    "request_status": "ERROR",
    "request_id": "5f3c",
    "debug_message": "partner's words",
    "display_message": "partner's words",
    "error_code": "E3002",
}


class Partner(FakePartner):
    """Gives a new access token each time."""

    def __init__(self, *answers: Answer | Exception) -> None:
        super().__init__(*answers)
        self.given = 0

    def respond(self, sent: Sent) -> Answer:
        assert sent.anonymous, "no answer is left"
        self.given += 1
        return answered({"access_token": f"snap-{self.given}", "expires_in": 1800})


def _started(*answers: Answer | Exception) -> tuple[SnapchatConnector, Partner]:
    partner = Partner(*answers)
    connector = SnapchatConnector(SETTINGS, partner)
    partner.bind(connector)
    return connector, partner


CONNECTOR, _ = _started()


@pytest.mark.parametrize(
    ("status", "wanted", "word"),
    [
        (400, NO, "settings"),
        (401, STOP, "token"),
        (403, STOP, "Data Manager"),
        (404, NO, "ad_account_id"),
        (409, NO, "refuses"),
        (413, NO, "larger"),
        (429, AGAIN, "now"),
        (500, AGAIN, "now"),
        (502, AGAIN, "now"),
        (503, AGAIN, "now"),
    ],
)
@pytest.mark.parametrize("body", [REFUSED, b"unauthorized", b"<html></html>", b"", []])
def test_a_status_decides_whatever_the_body(
    status: int, wanted: type[PartnerError], word: str, body: Any
) -> None:
    """A 401 may be plain text; a code is told where there is one, and never Snapchat's text."""
    found = CONNECTOR.explain(answered(body, status))
    assert type(found) is wanted
    assert word in found.message
    assert (found.status, found.code) == (status, "E3002" if body is REFUSED else None)
    assert "partner's words" not in str(found)


@pytest.mark.parametrize("word", ["SUCCESS", "success", "Success"])
def test_success_is_written_in_two_ways(word: str) -> None:
    """Upper case and lower case were both seen, of the whole and of a part."""
    part = {"sub_request_status": word, "user": {"number_uploaded_users": 2}}
    assert CONNECTOR.explain(answered({"request_status": word, "users": [part]})) is None


@pytest.mark.parametrize("word", ["ERROR", "FAILED", "", None, 5])
@pytest.mark.parametrize("place", ["segments", "users"])
def test_a_success_may_hold_a_refusal(place: str, word: Any) -> None:
    """Each part of a request has a state of its own, in a 200."""
    good = {"sub_request_status": "SUCCESS"}
    bad = {"sub_request_status": word, "sub_request_error_reason": "partner's words"}
    found = CONNECTOR.explain(answered({"request_status": "SUCCESS", place: [good, bad]}))
    assert type(found) is NO
    assert "partner's words" not in str(found)


def test_an_error_in_a_success_is_no_success() -> None:
    """The envelope's own word counts as well."""
    assert type(CONNECTOR.explain(answered(REFUSED))) is NO


@pytest.mark.parametrize("body", [b"<html></html>", b"", b'{"request_st', {}, [], None, {"id": 1}])
def test_what_is_no_envelope_is_somebody_else(body: Any) -> None:
    """A success that cannot be read comes from something on the way."""
    assert type(CONNECTOR.explain(answered(body))) is AGAIN


def test_a_code_of_another_shape_stays_inside() -> None:
    """Only what looks like a code of Snapchat's is told."""
    found = CONNECTOR.explain(answered(REFUSED | {"error_code": "E-mail jane@example.com"}, 400))
    assert found is not None
    assert found.code is None


def test_a_refused_token_is_renewed_once() -> None:
    """The connector fetches another one; whether it helps is asked once, by the client."""
    connector, partner = _started()
    assert connector.headers() == {"Authorization": "Bearer snap-1"}
    assert connector.headers() == {"Authorization": "Bearer snap-1"}
    assert not connector.refresh(AuthenticationError("no right", 403))
    assert connector.headers() == {"Authorization": "Bearer snap-1"}
    assert connector.refresh(AuthenticationError("over", 401))
    assert connector.headers() == {"Authorization": "Bearer snap-2"}
    (first, _) = partner.requests
    assert first.url == "https://accounts.snapchat.com/login/oauth2/access_token"
    assert first.content_type == "application/x-www-form-urlencoded"
    assert first.body == (
        b"grant_type=refresh_token&refresh_token=snap-refresh-canary"
        b"&client_id=snap-app&client_secret=snap-secret-canary"
    )


def test_a_refresh_token_that_is_refused_stops_the_destination() -> None:
    """A person has to authorise the app again."""

    class Closed(Partner):
        def respond(self, sent: Sent) -> Answer:
            assert sent.anonymous
            return answered({"error": "invalid_grant", "error_description": "no"}, 400)

    partner = Closed()
    connector = SnapchatConnector(SETTINGS, partner)
    partner.bind(connector)
    with pytest.raises(AuthenticationError, match="authorise the app again"):
        connector.check()


def test_what_is_too_large_goes_in_halves() -> None:
    """HTTP 413: the same people in two requests; one alone is refused."""
    done = [_counted(2), _counted(2)]
    connector, partner = _started(answered(b"", 413), *done)
    members = made_up_members(4, (Kind.EMAIL,))
    assert connector.add(made_up_upload(remote_id="567"), members).accepted == 4
    assert [len(sent.json()["users"][0]["data"]) for sent in partner.uploads] == [4, 2, 2]
    connector, partner = _started(*[answered(b"", 413)] * 2)
    with pytest.raises(RefusedError):
        connector.add(made_up_upload(remote_id="567"), made_up_members(2, (Kind.EMAIL,)))
    assert len(partner.uploads) == 2


def _counted(count: int) -> Answer:
    user = {"number_uploaded_users": count}
    parts = [{"sub_request_status": "SUCCESS", "user": user}]
    return answered({"request_status": "SUCCESS", "request_id": "5f3b", "users": parts})


def test_snapchat_counts_requests_by_app_and_token() -> None:
    """Destinations of one app share ten requests a second."""
    connector, _ = _started()
    assert connector.limits.requests_per_second == 10
    assert connector.account() == "snap-app"
