"""Access tokens for Google are fetched once, kept, renewed, and never shown."""

from __future__ import annotations

import json
import pickle
from base64 import urlsafe_b64decode
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qsl

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from audience_sync.connector import (
    Answer,
    AuthenticationError,
    ConfigurationError,
    Connector,
    TemporaryPartnerError,
)
from audience_sync.testing.builders import FakePartner, Sent, answered
from connectors.google import GoogleConnector, GoogleSettings

SCOPE = "https://www.googleapis.com/auth/datamanager"
USER = {
    "type": "authorized_user",
    "client_id": "1.apps.example",
    "client_secret": "GOCSPX-canary",
    "refresh_token": "1//canary",
}


class Partner(FakePartner):
    """Gives a new token each time, or what `token` holds."""

    def __init__(self) -> None:
        super().__init__()
        self.token: Answer | Exception | None = None
        self.given = 0

    def respond(self, sent: Sent) -> Answer:
        if not sent.anonymous:
            return answered({})
        if isinstance(self.token, Exception):
            raise self.token
        self.given += 1
        token = {"access_token": f"ya29.{self.given}", "expires_in": 3599, "token_type": "Bearer"}
        return self.token or answered(token)


def _started(credentials: Any, **changes: Any) -> tuple[Connector[Any], Partner]:
    text = credentials if isinstance(credentials, str) else json.dumps(credentials)
    settings = GoogleSettings(operating_account="1", credentials=text, **changes)
    partner = Partner()
    connector = GoogleConnector(settings, partner)
    partner.bind(connector)
    return connector, partner


@pytest.fixture(scope="module")
def service_account() -> dict[str, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return {
        "type": "service_account",
        "client_email": "crm@project.example",
        "private_key": pem.decode(),
        "private_key_id": "1",
        "token_uri": "https://oauth2.googleapis.com/token",
    }


def test_a_user_is_refreshed_as_the_reference_says() -> None:
    """A form with the refresh token, to Google's own address."""
    connector, partner = _started(USER)
    assert connector.headers() == {"Authorization": "Bearer ya29.1"}
    (sent,) = partner.requests
    assert (sent.method, sent.url) == ("POST", "https://oauth2.googleapis.com/token")
    assert sent.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert dict(parse_qsl((sent.body or b"").decode())) == {
        "grant_type": "refresh_token",
        "client_id": "1.apps.example",
        "client_secret": "GOCSPX-canary",
        "refresh_token": "1//canary",
    }


def test_a_service_account_signs_for_its_scope(service_account: dict[str, str]) -> None:
    """A signed claim for the one scope that is needed; no other address is asked."""
    connector, partner = _started(service_account)
    connector.headers()
    (sent,) = partner.requests
    form = dict(parse_qsl((sent.body or b"").decode()))
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    claims = form["assertion"].split(".")[1]
    found = json.loads(urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    assert (found["iss"], found["scope"]) == ("crm@project.example", SCOPE)
    assert found["exp"] - found["iat"] <= 3600


def test_the_address_of_tokens_can_be_set(service_account: dict[str, str]) -> None:
    """A sandbox gives tokens at an address of its own."""
    for credentials in (USER, service_account):
        connector, partner = _started(credentials, token_url="http://127.0.0.1:1/token")
        connector.headers()
        assert partner.requests[0].url == "http://127.0.0.1:1/token"


def test_a_token_is_kept_until_it_is_refused() -> None:
    """One token serves many requests; a refused one is replaced."""
    connector, partner = _started(USER)
    for _ in range(3):
        assert connector.headers()["Authorization"] == "Bearer ya29.1"
    assert not connector.refresh(AuthenticationError("no right", 403, "PERMISSION_DENIED"))
    assert connector.headers()["Authorization"] == "Bearer ya29.1"
    assert connector.refresh(AuthenticationError("over", 401, "UNAUTHENTICATED"))
    assert connector.headers()["Authorization"] == "Bearer ya29.2"
    assert len(partner.requests) == 2


def test_a_token_that_ends_soon_is_renewed() -> None:
    """A token is not used in its last minutes."""
    connector, partner = _started(USER)
    partner.token = answered({"access_token": "ya29.short", "expires_in": 60})
    connector.headers()
    partner.token = None
    assert connector.headers()["Authorization"] == "Bearer ya29.2"


def test_threads_fetch_one_token() -> None:
    """Many uploads that begin at once do not ask for many tokens."""
    connector, partner = _started(USER)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: connector.headers()["Authorization"], range(32)))
    assert set(found) == {"Bearer ya29.1"}
    assert len(partner.requests) == 1


def test_a_token_does_not_travel() -> None:
    """A copy for another worker fetches a token of its own."""
    connector, _ = _started(USER)
    connector.headers()
    written = pickle.dumps(connector._tokens)  # type: ignore[attr-defined] # what travels
    assert b"ya29" not in written
    clone = pickle.loads(pickle.dumps(connector))  # noqa: S301 - our own object
    assert clone.headers()["Authorization"] == "Bearer ya29.2"


def test_revoked_credentials_stop_the_destination() -> None:
    """A revoked consent needs a person; what Google says stays with Google."""
    connector, partner = _started(USER)
    partner.token = answered(
        {"error": "invalid_grant", "error_description": "Token 1//canary has been revoked."}, 400
    )
    with pytest.raises(AuthenticationError) as caught:
        connector.headers()
    assert "canary" not in str(caught.value)
    assert caught.value.code == "invalid_grant"


@pytest.mark.parametrize("answer", [{}, {"token_type": "Bearer"}, {"access_token": "x"}])
def test_an_answer_without_a_token_stops_the_destination(answer: dict[str, str]) -> None:
    """A token endpoint that gives nothing to use is an error or an empty expiry, not a crash."""
    connector, partner = _started(USER)
    partner.token = answered(answer)
    if "access_token" in answer:
        assert connector.headers()["Authorization"] == "Bearer x"
    else:
        with pytest.raises(AuthenticationError):
            connector.headers()


def test_a_broken_connection_is_tried_again_by_the_client() -> None:
    """The client's error comes through Google's library as it is."""
    connector, partner = _started(USER)
    partner.token = TemporaryPartnerError("the partner did not answer in time; try again later")
    with pytest.raises(TemporaryPartnerError) as caught:
        connector.headers()
    assert caught.value is partner.token
    assert len(partner.requests) == 1


@pytest.mark.parametrize(
    "credentials",
    [
        "",
        "canary",
        "[]",
        "{}",
        {"type": "canary"},
        {"type": "service_account"},
        {"type": "authorized_user"},
        {
            "type": "service_account",
            "client_email": "x",
            "token_uri": "https://x.example",
            "private_key": "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----\n",
        },
    ],
)
def test_credentials_that_are_none_are_a_setting(credentials: Any) -> None:
    """A file that is no credential is named as such, without a word of what is in it."""
    connector, partner = _started(credentials)
    with pytest.raises(ConfigurationError) as caught:
        connector.headers()
    assert "canary" not in str(caught.value)
    assert caught.value.__context__ is None
    assert partner.requests == []
