"""A tired partner is left alone, and one probe finds out whether it is back."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from audience_sync.app.links import Links
from audience_sync.connector import (
    Answer,
    AudienceRequest,
    AuthenticationError,
    Connector,
    ConnectorSettings,
    Limits,
    Members,
    Receipt,
    RefusedError,
    TemporaryPartnerError,
    Upload,
)
from audience_sync.delivery.board import LocalBoard
from audience_sync.delivery.circuit import COOL, FAILURES, LONGEST, WithheldError
from audience_sync.delivery.client import HttpPartnerClient
from audience_sync.delivery.limits import Gate
from audience_sync.settings import Settings

OK = Answer(200, {}, b"{}")
DOWN = Answer(503, {}, b"")
SERVER = "https://partner.example"


class Plain(Connector[ConnectorSettings]):
    """As little of a connector as a client needs."""

    name = "plain"
    limits = Limits(members_per_request=1)
    recipient = None  # type: ignore[assignment]  # nothing is logged here

    def check(self) -> None: ...

    def ensure_audience(self, audience: AudienceRequest) -> str:
        return "1"

    def add(self, upload: Upload, members: Members) -> Receipt:
        return Receipt(accepted=0)

    def remove(self, upload: Upload, members: Members) -> Receipt:
        return Receipt(accepted=0)


class Partner:
    """A partner that answers as told, a clock, and workers that share a board."""

    def __init__(self) -> None:
        self.now = 0.0
        self.answer: Answer | Exception = OK
        self.asked = 0
        self.board = LocalBoard(self.clock)

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def send(self, _method: str, _url: str, **_rest: Any) -> Answer:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def worker(self, account: str = "meta 1", **options: Any) -> HttpPartnerClient:
        client = HttpPartnerClient(SERVER, attempts=2, sleep=self.sleep, clock=self.clock)
        gate = Gate(account, self.board, clock=self.clock, sleep=self.sleep, **options)
        client.bind(Plain(ConnectorSettings(base_url=SERVER), client), gate)
        client._wire = self  # type: ignore[assignment]  # the seam below the client
        return client


def fail(client: HttpPartnerClient, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(TemporaryPartnerError) as caught:
            client.request("GET", "x")
        assert not isinstance(caught.value, WithheldError)


def withheld(client: HttpPartnerClient) -> float:
    with pytest.raises(WithheldError) as caught:
        client.request("GET", "x")
    assert caught.value.retry_after is not None
    return caught.value.retry_after


def opened() -> tuple[Partner, HttpPartnerClient]:
    partner = Partner()
    partner.answer = DOWN
    client = partner.worker()
    fail(client, FAILURES)
    return partner, client


def test_after_failures_in_a_row_nobody_asks() -> None:
    """Every worker of the account is told at once when to come back; other accounts go on."""
    partner, client = opened()
    asked = partner.asked
    assert withheld(client) == pytest.approx(COOL)
    assert withheld(partner.worker()) == pytest.approx(COOL)
    assert partner.asked == asked
    partner.answer = OK
    partner.worker("meta 2").request("GET", "x")


def test_an_answer_in_between_keeps_it_closed() -> None:
    """Failures count in a row: a partner that answers now and then is not left alone."""
    partner = Partner()
    client = partner.worker()
    for _ in range(3):
        partner.answer = DOWN
        fail(client, FAILURES - 1)
        partner.answer = OK
        client.request("GET", "x")


@pytest.mark.parametrize("longest", [20, 150, 1800])
def test_a_partner_that_is_back_is_asked_within_the_time_that_the_settings_say(
    longest: int,
) -> None:
    """However long it was away."""
    partner = Partner()
    partner.answer = DOWN
    client = partner.worker(longest_rest=longest)
    fail(client, FAILURES)
    waits = []
    for _ in range(8):
        waits.append(round(withheld(client)))
        partner.now += waits[-1] + 1
        fail(client)
    assert waits[-1] == max(waits) == longest
    assert waits[:3] == [min(wait, longest) for wait in (60, 120, 240)]


def test_the_settings_reach_every_destination(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five minutes unless they say otherwise."""
    assert Settings(project=tmp_path / "p.yaml").longest_rest == LONGEST
    monkeypatch.setenv("AUDIENCE_SYNC_LONGEST_REST", "45")
    settings = Settings(project=tmp_path / "p.yaml")
    nothing: Any = None
    links = Links(settings, nothing, nothing, nothing, nothing)
    connector = Plain(ConnectorSettings(base_url=SERVER), nothing)
    circuit = links._gate("d", connector).circuit(SERVER)
    for _ in range(FAILURES + 5):
        circuit.failed()
    with pytest.raises(WithheldError) as caught:
        circuit.permit()
    assert caught.value.retry_after == pytest.approx(45, abs=5)


def test_one_probe_closes_it() -> None:
    """When the time is over a call goes through, and its success lets everybody through."""
    partner, client = opened()
    partner.now += COOL + 1
    partner.answer = OK
    client.request("GET", "x")
    partner.answer = DOWN
    fail(partner.worker(), FAILURES - 1)


def test_only_one_worker_probes() -> None:
    """While a probe is under way the others wait for its end, and soon look for it."""
    partner, client = opened()
    partner.now += COOL + 1
    others: list[float] = []

    class Slow:
        def send(self, method: str, url: str, **rest: Any) -> Answer:
            others.append(withheld(partner.worker()))
            return partner.send(method, url, **rest)

    client._wire = Slow()  # type: ignore[assignment]  # the seam below the client
    partner.answer = OK
    client.request("GET", "x")
    assert len(others) == 1
    assert 0 < others[0] <= 10
    partner.worker().request("GET", "x")


def test_a_probe_that_fails_opens_it_for_longer() -> None:
    """Each time twice as long, up to five minutes: below the broker's own patience."""
    partner, client = opened()
    waits = []
    for _ in range(8):
        partner.now += withheld(client) + 1
        fail(client)
        waits.append(round(withheld(client)))
    assert waits == [120, 240, 300, 300, 300, 300, 300, 300]
    assert max(waits) == LONGEST


def test_a_dead_probe_is_replaced() -> None:
    """A worker that was killed while it probed keeps the others out for two minutes at most."""
    partner, _ = opened()
    partner.now += COOL + 1
    partner.worker()._gate.circuit("https partner.example").permit()
    until = partner.now + 120
    while partner.now < until:
        partner.now += withheld(partner.worker())
    partner.now += 0.001
    partner.answer = OK
    partner.worker().request("GET", "x")


@pytest.mark.parametrize(
    ("answer", "raised"),
    [(Answer(400, {}, b""), RefusedError), (Answer(401, {}, b""), AuthenticationError)],
)
def test_a_refusal_is_an_answer(answer: Answer, raised: type[Exception]) -> None:
    """A partner that says no is awake."""
    partner = Partner()
    client = partner.worker()
    partner.answer = DOWN
    fail(client, FAILURES - 1)
    partner.answer = answer
    with pytest.raises(raised):
        client.request("GET", "x")
    partner.answer = DOWN
    fail(client, FAILURES - 1)


def test_a_wait_that_was_announced_binds_everybody() -> None:
    """A long Retry-After is kept to the second by all workers, and is no failure."""
    partner = Partner()
    partner.answer = Answer(429, {"retry-after": "600"}, b"")
    with pytest.raises(TemporaryPartnerError) as caught:
        partner.worker().request("GET", "x")
    assert caught.value.retry_after == 600
    asked = partner.asked
    for _ in range(FAILURES):
        assert withheld(partner.worker()) == pytest.approx(600)
    partner.now += 601
    partner.answer = OK
    partner.worker().request("GET", "x")
    assert partner.asked == asked + 1


def test_a_token_server_has_a_circuit_of_its_own() -> None:
    """When another server is tired, the partner's own is asked as before."""
    partner = Partner()
    client = partner.worker()
    partner.answer = DOWN
    for _ in range(FAILURES):
        with pytest.raises(TemporaryPartnerError):
            client.request("POST", "https://tokens.example/x", anonymous=True)
    with pytest.raises(WithheldError):
        client.request("POST", "https://tokens.example/x", anonymous=True)
    partner.answer = OK
    client.request("GET", "x")


def test_what_was_withheld_survives_pickling() -> None:
    """The error crosses processes with its time."""
    error = WithheldError("wait", retry_after=7.0)
    copied = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own object
    assert (type(copied), str(copied), copied.retry_after) == (WithheldError, "wait", 7.0)
