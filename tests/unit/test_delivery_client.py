"""The partner client decides what is tried again, with what, and for how long."""

from __future__ import annotations

import contextlib
import hashlib
import pickle
from collections.abc import Mapping
from typing import Any

import pytest

from audience_sync.connector import (
    Answer,
    AudienceRequest,
    AuthenticationError,
    ConfigurationError,
    Connector,
    ConnectorSettings,
    Limits,
    Members,
    OrderConnector,
    Orders,
    PartnerError,
    Receipt,
    Recipient,
    RefusedError,
    TemporaryPartnerError,
    UnreachedError,
    Upload,
)
from audience_sync.connector.answers import explain_status
from audience_sync.delivery.client import HttpPartnerClient

OK = Answer(200, {}, b"{}")
DOWN = Answer(503, {}, b"")


class Plain(Connector[ConnectorSettings]):
    """As little of a connector as a client needs."""

    limits = Limits(members_per_request=1)
    recipient = Recipient(name="Plain Ltd", country="IE")
    token = "first-token"
    refreshes = 0
    refreshable = True

    def check(self) -> None: ...

    def ensure_audience(self, audience: AudienceRequest) -> str:
        return "1"

    def add(self, upload: Upload, members: Members) -> Receipt:
        return Receipt(accepted=0)

    def remove(self, upload: Upload, members: Members) -> Receipt:
        return Receipt(accepted=0)

    def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def refresh(self, error: AuthenticationError) -> bool:
        assert error.status == 401
        self.refreshes += 1
        self.token = "second-token"
        return self.refreshable

    def slow_down(self, answer: Answer) -> float:
        return float(answer.headers.get("x-used", 0))

    def explain(self, answer: Answer) -> PartnerError | None:
        return explain_status(answer)


class Reporting(OrderConnector[ConnectorSettings]):
    """A partner that is told of orders."""

    limits = Limits(members_per_request=1)
    recipient = Recipient(name="Reporting Ltd", country="IE")

    def check(self) -> None: ...

    def report(self, orders: Orders) -> Receipt:
        return Receipt(accepted=len(orders))

    def explain(self, answer: Answer) -> PartnerError | None:
        return explain_status(answer)


class Script:
    """A wire that gives out prepared answers and keeps what was sent."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self.answers = list(answers)
        self.sent: list[dict[str, Any]] = []

    def send(self, method: str, url: str, **rest: Any) -> Answer:
        self.sent.append({"method": method, "url": url, **rest})
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def _started(
    *answers: Answer | Exception, **options: Any
) -> tuple[HttpPartnerClient, Plain, Script, list[float]]:
    slept: list[float] = []
    client = HttpPartnerClient("https://partner.example/v1", sleep=slept.append, **options)
    connector = Plain(ConnectorSettings(base_url="https://partner.example/v1"), client)
    client.bind(connector)
    script = Script(*answers)
    client._wire = script  # type: ignore[assignment] # the seam below the client
    return client, connector, script, slept


def test_a_path_is_below_the_base_url() -> None:
    """A path is joined to the destination's address; the credentials go along."""
    client, _, script, _ = _started(OK)
    client.request("GET", "/lists", params={"limit": "1"})
    assert script.sent[0]["url"] == "https://partner.example/v1/lists"
    assert script.sent[0]["headers"]["Authorization"] == "Bearer first-token"
    assert "Content-Type" not in script.sent[0]["headers"]


def test_temporary_errors_are_tried_again_with_the_same_bytes() -> None:
    """Waits grow, the body stays."""
    client, _, script, slept = _started(DOWN, DOWN, OK)
    assert client.request("POST", "x", body=b"[1]") is OK
    assert [sent["body"] for sent in script.sent] == [b"[1]"] * 3
    assert len(slept) == 2
    assert 0.5 <= slept[0] <= 1.5
    assert 1.0 <= slept[1] <= 2.0


def test_attempts_are_bounded() -> None:
    """After six attempts the last error is raised."""
    client, _, script, _ = _started(*[DOWN] * 9, patience=1e9)
    with pytest.raises(TemporaryPartnerError) as caught:
        client.request("GET", "x")
    assert len(script.sent) == 6
    assert caught.value.status == 503


def test_time_is_bounded() -> None:
    """The waits of one call never add up to more than the patience."""
    client, _, _, slept = _started(*[DOWN] * 9, patience=3.0)
    with pytest.raises(TemporaryPartnerError):
        client.request("GET", "x")
    assert sum(slept) <= 3.0


def test_the_partners_own_wait_is_kept() -> None:
    """A wait that the partner names is waited to the second."""
    client, _, _, slept = _started(Answer(429, {"retry-after": "7"}, b""), OK)
    client.request("GET", "x")
    assert slept == [7.0]


def test_a_long_wait_is_handed_up() -> None:
    """A wait beyond our patience is not waited here: the error carries it to the task queue."""
    client, _, script, slept = _started(Answer(429, {"retry-after": "60"}, b""), OK)
    with pytest.raises(TemporaryPartnerError) as caught:
        client.request("GET", "x")
    assert caught.value.retry_after == 60.0
    assert slept == []
    assert len(script.sent) == 1


def test_what_must_not_be_repeated_is_not() -> None:
    """A request that is not repeatable is sent once."""
    client, _, script, _ = _started(DOWN, OK)
    with pytest.raises(TemporaryPartnerError):
        client.request("POST", "x", body=b"{}", repeatable=False)
    assert len(script.sent) == 1


def test_refusals_are_final() -> None:
    """A request that the partner refuses is not sent again."""
    client, _, script, _ = _started(Answer(400, {}, b"{}"), OK)
    with pytest.raises(RefusedError):
        client.request("GET", "x")
    assert len(script.sent) == 1


def test_credentials_are_refreshed_once() -> None:
    """A refused token is replaced and the request goes again with the new one."""
    client, connector, script, _ = _started(Answer(401, {}, b""), OK)
    client.request("GET", "x")
    assert [sent["headers"]["Authorization"] for sent in script.sent] == [
        "Bearer first-token",
        "Bearer second-token",
    ]
    assert connector.refreshes == 1


def test_a_second_refusal_stops() -> None:
    """New credentials that are refused too are a matter for the operator."""
    client, connector, script, _ = _started(Answer(401, {}, b""), Answer(401, {}, b""), OK)
    with pytest.raises(AuthenticationError):
        client.request("GET", "x")
    assert (connector.refreshes, len(script.sent)) == (1, 2)


def test_a_connector_may_have_nothing_to_refresh() -> None:
    """Without new credentials there is no second attempt."""
    client, connector, script, _ = _started(Answer(401, {}, b""), OK)
    connector.refreshable = False
    with pytest.raises(AuthenticationError):
        client.request("GET", "x")
    assert len(script.sent) == 1


@pytest.mark.parametrize(
    ("url", "anonymous"),
    [
        ("token", True),
        ("https://elsewhere.example/x", False),
        ("http://partner.example/x", False),
        ("https://partner.example:8443/x", False),
    ],
)
def test_credentials_go_to_the_destination_only(url: str, anonymous: bool) -> None:
    """Another server, and a request for a token, get no credentials, and cause no refresh."""
    client, connector, script, _ = _started(Answer(401, {}, b""))
    with pytest.raises(AuthenticationError):
        client.request("POST", url, body=b"{}", anonymous=anonymous, headers={"X-Own": "1"})
    assert "Authorization" not in script.sent[0]["headers"]
    assert script.sent[0]["headers"]["X-Own"] == "1"
    assert connector.refreshes == 0


def test_a_redirect_is_refused() -> None:
    """Nothing follows the partner to another address."""
    client, _, script, _ = _started(Answer(302, {"location": "https://evil.example"}, b""))
    with pytest.raises(RefusedError, match="base_url"):
        client.request("GET", "x")
    assert len(script.sent) == 1


def test_the_partners_allowance_slows_us_down() -> None:
    """When an answer asks for it, the next request waits."""
    now = [100.0]
    client, _, _, slept = _started(Answer(200, {"x-used": "4"}, b"{}"), OK, clock=lambda: now[0])
    client.request("GET", "x")
    client.request("GET", "x")
    assert slept == [4.0]


def test_an_unbound_client_says_so() -> None:
    """A client that speaks for nobody sends nothing."""
    with pytest.raises(ConfigurationError, match="bind"):
        HttpPartnerClient("https://partner.example").request("GET", "x")


def test_a_recording_covers_all_bodies_once() -> None:
    """The digest is of the distinct bodies in order; a repeated body counts once."""
    client, _, _, _ = _started(DOWN, OK, OK, OK)
    with client.recording() as exchange:
        assert exchange.body_sha256 is None
        client.request("POST", "x", body=b"one")
        client.request("POST", "x", body=b"two")
        client.request("GET", "x")
    assert exchange.body_sha256 == hashlib.sha256(b"onetwo").hexdigest()
    assert (exchange.attempts, exchange.status, exchange.code) == (4, 200, None)


def test_a_recording_keeps_the_last_error() -> None:
    """Status and code of a refusal are there for the transfer log, also after it was raised."""
    refusal = RefusedError("no", 400, "100/33")
    client, connector, _, _ = _started(Answer(400, {}, b""))
    connector.explain = lambda _: refusal  # type: ignore[method-assign] # a prepared verdict
    with client.recording() as exchange, pytest.raises(RefusedError):
        client.request("DELETE", "x", body=b"{}")
    assert (exchange.attempts, exchange.status, exchange.code) == (1, 400, "100/33")


def test_a_recording_leaves_token_requests_out() -> None:
    """A token request is no transfer."""
    client, _, _, _ = _started(OK)
    with client.recording() as exchange:
        client.request("POST", "token", body=b"assertion=x", anonymous=True)
    assert (exchange.attempts, exchange.body_sha256) == (0, None)


def test_nothing_is_recorded_outside_a_recording() -> None:
    """An exchange ends with its block."""
    client, _, _, _ = _started(OK, OK)
    with client.recording() as exchange:
        client.request("GET", "x")
    client.request("GET", "x")
    assert exchange.attempts == 1


def test_a_client_survives_pickling() -> None:
    """A client and its connector travel to another worker together."""
    client = HttpPartnerClient("https://partner.example/v1")
    connector = Plain(ConnectorSettings(base_url="https://partner.example/v1"), client)
    client.bind(connector)
    clone = pickle.loads(pickle.dumps(connector))  # noqa: S301 - our own object
    script = Script(OK)
    clone.client._wire = script
    assert clone.client.request("GET", "x") is OK
    assert script.sent[0]["headers"]["Authorization"] == "Bearer first-token"
    assert clone.client._connector is clone


def test_a_repr_shows_the_host_alone() -> None:
    """An address with credentials in it is not printed."""
    assert repr(HttpPartnerClient("https://user:pass@partner.example/x")) == (
        "HttpPartnerClient(partner.example)"
    )


def test_a_body_beyond_the_connectors_own_limit_is_not_sent() -> None:
    """A connector that writes more than it declares is stopped before anything leaves."""
    client, connector, script, _ = _started(OK, OK)
    connector.limits = Limits(members_per_request=1, bytes_per_request=10)  # type: ignore[misc]
    connector.name = "plain"  # type: ignore[misc]
    client.request("POST", "x", body=b"0123456789")
    with client.recording() as exchange, pytest.raises(RefusedError, match="its limit of 10"):
        client.request("POST", "x", body=b"0123456789a")
    assert len(script.sent) == 1
    assert not exchange.uncertain


def test_nothing_is_in_doubt_where_nobody_was_reached() -> None:
    """A connection that was never made carried nothing; one that broke off may have."""
    never, broken = UnreachedError("nobody there"), TemporaryPartnerError("broken off")
    for failure, doubt in ((never, False), (broken, True)):
        client, *_ = _started(failure)
        with client.recording() as exchange, pytest.raises(TemporaryPartnerError):
            client.request("POST", "x", repeatable=False)
        assert exchange.uncertain is doubt


@pytest.mark.parametrize(
    ("method", "answer", "doubt"),
    [
        ("POST", Answer(400, {}, b"{}"), False),
        ("POST", Answer(429, {}, b"{}"), False),
        ("POST", Answer(408, {}, b"{}"), True),  # who took too long may be done by now
        ("POST", Answer(200, {}, b"no"), False),  # the connector knows its partner's word
        ("POST", Answer(200, {}, b"{}"), True),
        ("POST", DOWN, True),
        ("GET", OK, False),
        ("GET", DOWN, False),
    ],
)
def test_doubt_is_what_no_answer_takes_away(method: str, answer: Answer, doubt: bool) -> None:
    """A question changes nothing, and a partner may refuse with HTTP 200."""

    class Refusing(Plain):
        def changed_nothing(self, answer: Answer) -> bool:
            return answer.body == b"no" or super().changed_nothing(answer)

    client, connector, *_ = _started(*[answer] * 6)
    client.bind(Refusing(connector.settings, client))
    with client.recording() as exchange, contextlib.suppress(PartnerError):
        client.request(method, "x", repeatable=method == "GET")
    assert exchange.uncertain is doubt


@pytest.mark.parametrize("answer", [OK, DOWN])
def test_a_get_that_must_not_be_repeated_leaves_doubt(answer: Answer) -> None:
    """Some partners are told of orders by GET: what was not answered may have been counted."""
    client, *_ = _started(answer)
    with client.recording() as exchange, contextlib.suppress(PartnerError):
        client.request("GET", "x", repeatable=False)
    assert exchange.uncertain


@pytest.mark.parametrize("answer", [OK, DOWN])
def test_a_report_by_get_leaves_doubt_even_where_it_may_be_repeated(answer: Answer) -> None:
    """An order that counts once may have been counted; a later cancellation must follow it."""
    client, connector, *_ = _started(*[answer] * 6)
    client.bind(Reporting(connector.settings, client))
    with client.recording() as exchange, contextlib.suppress(PartnerError):
        client.request("GET", "x")
    assert exchange.uncertain


def test_a_connector_that_cannot_tell_leaves_the_doubt() -> None:
    """Whatever a plugin's own judgement raises, nobody is taken for never sent by it."""

    class Stumbling(Plain):
        def changed_nothing(self, answer: Answer) -> bool:
            return bool(answer.json()["code"])

    client, connector, *_ = _started(Answer(400, {}, b"<html>"))
    client.bind(Stumbling(connector.settings, client))
    with client.recording() as exchange, pytest.raises(RefusedError):
        client.request("POST", "x", body=b"[]")
    assert exchange.uncertain


def test_each_attempt_is_signed_anew() -> None:
    """A proof that holds the time is never older than the attempt; strangers get none."""

    class Signing(Plain):
        signed = 0

        def sign(
            self, method: str, url: str, params: Mapping[str, str], body: bytes | None
        ) -> Mapping[str, str]:
            self.signed += 1
            return {"X-Proof": f"{self.signed} {method} {url} {params} {body!r}"}

    client, _, script, _ = _started(DOWN, OK, OK)
    client.bind(Signing(ConnectorSettings(base_url="https://partner.example/v1"), client))
    client.request("POST", "lists", body=b"{}", params={"a": "1"})
    client.request("GET", "https://elsewhere.example/")
    proofs = [sent["headers"].get("X-Proof") for sent in script.sent]
    where = "POST https://partner.example/v1/lists {'a': '1'} b'{}'"
    assert proofs == [f"1 {where}", f"2 {where}", None]
