"""Withdrawals by HTTP: who may send them, that each is taken once, and what is answered."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipeline_world import new_ledger
from web_world import KEY, NOW, OLD_KEY, Door, webhooks

from audience_sync.errors import StateError
from audience_sync.ledger.ledger import Ledger
from audience_sync.web.answers import SAFE, Refusal
from audience_sync.web.bodies import parsed
from audience_sync.web.desk import intake_key

ANNA = {"email": "Anna.Canary@Example.COM"}
ONE = {"withdrawals": [ANNA]}


@pytest.fixture
def new_door(tmp_path: Path) -> Iterator[Callable[..., Door]]:
    """Web processes that share a ledger."""
    opened: list[Ledger] = []
    doors: list[Door] = []

    def make(**more: Any) -> Door:
        ledger = new_ledger(tmp_path / "ledger.db", lambda: doors[0].now)
        opened.append(ledger)
        doors.append(Door(ledger, **more))
        return doors[-1]

    yield make
    for ledger in opened:
        ledger.close()


@pytest.fixture
def door(new_door: Callable[..., Door]) -> Door:
    """One of them."""
    return new_door()


def test_a_withdrawal_is_taken_and_answered_with_a_receipt(door: Door) -> None:
    """It is handed over as it was written, delivery is woken, and nobody is echoed."""
    asked = {
        "withdrawals": [
            {"email": " Anna.Canary@Example.COM ", "partner": "meta", "channel": "account"},
            {"phone": "070 1", "country": "SE", "decided_at": "2026-11-22T12:00:00+01:00"},
            {"customer_id": "Ägnes-7", "device": "ABC"},
        ]
    }
    found = door.post(asked)

    assert found.status == 202
    assert found.json == {"receipt": found.json["receipt"], "withdrawals": 3, "left_out": {}}
    assert found.headers["location"] == f"/v1/withdrawals/{found.json['receipt']}"
    first, second, third = door.reception.requests
    assert (first.email, first.partner, first.channel) == (
        "Anna.Canary@Example.COM", "meta", "account",
    )  # fmt: skip
    assert (second.phone, second.country) == ("070 1", "SE")
    assert second.decided_at == datetime(2026, 11, 22, 11, tzinfo=UTC)
    assert (third.customer_id, third.device, third.channel) == ("Ägnes-7", "ABC", "webhook")
    assert door.woken == 1


def test_a_receipt_tells_how_far_it_is(door: Door) -> None:
    """Counts and states, to whoever signs the question."""
    receipt = door.post(ONE).json["receipt"]
    found = door.get(f"/v1/withdrawals/{receipt}")

    assert found.status == 200
    assert found.json["withdrawals"] == 1
    assert found.json["progress"]["states"] == {"received": 1}
    assert "nna" not in found.body.decode()
    assert door.get("/v1/withdrawals/w-unknown").status == 404
    unsigned = door.ask("GET", f"/v1/withdrawals/{receipt}")
    assert unsigned.status == 401
    other = door.signed(b"/v1/withdrawals/w-another")
    assert door.ask("GET", f"/v1/withdrawals/{receipt}", b"", other).status == 401
    door.now += timedelta(days=8)
    assert door.get(f"/v1/withdrawals/{receipt}").status == 404


def test_every_key_of_the_project_file_signs(door: Door) -> None:
    """While one key gives way to another, both are good."""
    assert door.post(ONE, key=OLD_KEY).status == 202
    assert door.post({"withdrawals": [{"email": "b@example.com"}]}, key=KEY).status == 202
    assert door.post(ONE, key="canary-key-of-somebody-else").status == 401
    assert len(door.reception.requests) == 2


@pytest.mark.parametrize(
    "header",
    [
        "", "t=1", "v1=" + "0" * 64, "t=1795348800", "t=x,v1=" + "0" * 64, "t=1795348800,v1=00",
        "t=1795348800,v1=" + "G" * 64, "t=1795348800,v1=" + "0" * 64 + ",v2=1",
        "t=1795348800,v1=" + "0" * 64 + " ", "t=" + "9" * 5000, "t=1795348800,v1=" + "é" * 64,
        "t=1795348800" + (",v1=" + "0" * 64) * 50,
    ],
)  # fmt: skip
def test_a_header_that_is_none_is_refused(door: Door, header: str) -> None:
    """Before a byte of the body is believed."""
    body = json.dumps(ONE).encode()
    sent = {"x-audience-sync-signature": header}
    found = door.ask("POST", "/v1/withdrawals", body, sent)

    assert found.status == 401
    assert found.headers["www-authenticate"]
    assert door.reception.requests == []


def test_a_changed_body_is_refused(door: Door) -> None:
    """One byte is enough."""
    body = json.dumps(ONE).encode()
    signed = door.signed(body)
    for changed in (body + b" ", body.replace(b"Anna", b"Annb"), b"", b"{}"):
        assert door.ask("POST", "/v1/withdrawals", changed, signed).status == 401
    assert door.reception.requests == []


@pytest.mark.parametrize(
    ("late", "status"), [(0, 202), (299, 202), (-299, 202), (302, 401), (-302, 401), (10**9, 401)]
)
def test_clocks_may_differ_by_so_much(door: Door, late: float, status: int) -> None:
    """What was signed too long ago, or in the future, is refused with the cure."""
    found = door.post(ONE, late=late)

    assert found.status == status
    assert (status == 202) or "clocks" in found.json["error"]


def test_what_was_signed_once_is_taken_once(new_door: Callable[..., Door]) -> None:
    """A replay is refused by every process, and a new signature is a new request."""
    first, second = new_door(), new_door()
    assert first.post(ONE).status == 202
    for door in (first, second):
        found = door.post(ONE)
        assert found.status == 409
        assert "sent before" in found.json["error"]
    assert first.post(ONE, late=1).status == 202
    assert second.reception.requests == []
    assert len(first.reception.requests) == 2


def test_a_replay_under_another_key_is_refused(door: Door) -> None:
    """The key is not signed, so it makes no old request a new one."""
    assert door.post(ONE, name="first").status == 202
    assert door.post(ONE, name="second").status == 409


def test_the_same_key_and_body_are_answered_the_same(new_door: Callable[..., Door]) -> None:
    """However often, signed anew or not, by any process; it is taken in once."""
    first, second = new_door(), new_door()
    found = first.post(ONE, name="order 7")
    again = [first.post(ONE, name="order 7"), second.post(ONE, name="order 7", late=9)]

    assert [one.status for one in again] == [202, 202]
    assert [one.json for one in again] == [found.json, found.json]
    assert len(first.reception.requests) + len(second.reception.requests) == 1
    assert first.ledger.intake_totals(NOW)[("withdrawals", "repeated")] == 2


def test_the_same_key_with_another_body_is_refused(door: Door) -> None:
    """One of the two would be lost without a word."""
    assert door.post(ONE, name="order 7").status == 202
    found = door.post({"withdrawals": [{"email": "b@example.com"}]}, name="order 7")

    assert found.status == 409
    assert "another body" in found.json["error"]
    assert len(door.reception.requests) == 1


def test_the_signature_of_a_repetition_is_spent(door: Door) -> None:
    """Without its key it is no new request; neither is one that was refused for its key."""
    assert door.post(ONE, name="order 7").status == 202
    assert door.post(ONE, name="order 7", late=1).status == 202
    other = {"withdrawals": [{"email": "b@example.com"}]}
    assert door.post(other, name="order 7", late=2).status == 409

    assert door.post(ONE, late=1).status == 409
    assert door.post(other, late=2).status == 409
    assert len(door.reception.requests) == 1


def test_who_came_before_the_keys_were_rotated_is_known(new_door: Callable[..., Door]) -> None:
    """A replay is a replay, and a repetition a repetition, under a new fingerprint key, too."""
    old, new = intake_key(b"f" * 32), intake_key(b"g" * 32)
    first, second = new_door(keys=(old,)), new_door(keys=(new, old))
    found = first.post(ONE, name="order 7")

    assert second.post(ONE).status == 409
    assert second.post(ONE, name="order 7", late=1).json == found.json


def test_a_key_may_be_used_anew_after_its_time(door: Door) -> None:
    """The project file says how long it is known."""
    assert door.post(ONE, name="order 7").status == 202
    door.now += timedelta(days=7, seconds=1)
    assert door.post({"withdrawals": [{"email": "b@example.com"}]}, name="order 7").status == 202


def test_while_a_request_is_taken_in_its_twin_waits(new_door: Callable[..., Door]) -> None:
    """It is told to ask again, and gets the same answer then."""
    door, other = new_door(), new_door()
    begun, go_on = threading.Event(), threading.Event()
    receive = door.reception.receive

    def slowly(requests: Any) -> Any:
        begun.set()
        go_on.wait(30)
        return receive(requests)

    door.reception.receive = slowly  # type: ignore[method-assign]  # a slow database
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(door.post(ONE, name="order 7")))
    thread.start()
    begun.wait(30)
    waiting = other.post(ONE, name="order 7", late=1)
    go_on.set()
    thread.join()

    assert (waiting.status, waiting.headers["retry-after"]) == (409, "2")
    assert answers[0].status == 202
    assert other.post(ONE, name="order 7", late=1).json == answers[0].json
    assert other.reception.requests == []


def test_nothing_is_promised_that_is_not_written_down(door: Door) -> None:
    """A ledger that fails gives 503, and the same request is taken when it comes again."""
    door.reception.failing = StateError("the ledger's database cannot be used: the disk is full")
    found = door.post(ONE, name="order 7")
    assert (found.status, found.headers["retry-after"]) == (503, "10")
    assert "disk" not in found.body.decode()
    assert door.woken == 0

    door.reception.failing = None
    assert door.post(ONE, name="order 7").status == 202
    assert len(door.reception.requests) == 1


def test_a_crash_after_taking_in_takes_nothing_in_twice(new_door: Callable[..., Door]) -> None:
    """The second attempt is known by the keys that its withdrawals have."""
    door = new_door()
    end, begin_again = door.ledger.end_intake, door.ledger.drop_intake

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    door.ledger.end_intake = killed  # type: ignore[method-assign]  # as a kill does it
    door.ledger.drop_intake = lambda _: None  # type: ignore[method-assign]  # nor this
    with pytest.raises(KeyboardInterrupt):
        door.post(ONE, name="order 7")
    door.ledger.end_intake, door.ledger.drop_intake = end, begin_again  # type: ignore[method-assign]  # a new process

    assert door.post(ONE, name="order 7", late=1).status == 409
    door.now += timedelta(seconds=121)
    assert door.post(ONE, name="order 7", late=2).status == 202
    assert len(door.reception.requests) == 1


def test_an_identifier_that_cannot_be_used_is_refused_unquoted(door: Door) -> None:
    """None of the request is taken, and it may be sent again when it is right."""
    found = door.post({"withdrawals": [ANNA, {"email": "not an address"}]}, name="x")

    assert found.status == 422
    assert found.json["error"].startswith("withdrawals[1].email holds no identifier that can be")
    assert "not an address" not in found.body.decode()
    several = {"email": "not an address", "phone": "nonsense"}
    found = door.post({"withdrawals": [several]}, late=1)
    assert found.json["error"].startswith("withdrawals[0] holds no identifier that can be used")
    assert door.reception.requests == []
    assert door.ledger.intake_totals(NOW) == {("withdrawals", "not-usable"): 2}
    assert door.post(ONE, name="x").status == 202


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ([], "the body should be an object"),
        ({}, "withdrawals is missing"),
        ({"withdrawals": []}, "withdrawals is empty"),
        ({"withdrawals": {}}, "withdrawals should be a list"),
        ({"withdrawals": [ANNA], "canary@x.com": 1}, "unknown key; known are withdrawals"),
        ({"withdrawals": [ANNA, "canary"]}, "withdrawals[1] should be an object"),
        ({"withdrawals": [{}]}, "withdrawals[0] names nobody"),
        ({"withdrawals": [{"email": "  "}]}, "withdrawals[0].email is empty"),
        ({"withdrawals": [{"email": 7}]}, "withdrawals[0].email should be text"),
        ({"withdrawals": [{"email": "canary" * 100}]}, "withdrawals[0].email is too long"),
        ({"withdrawals": [{"canary@x.com": "a"}]}, "withdrawals[0] has an unknown key; known are"),
        ({"withdrawals": [ANNA | {"partner": "canary"}]}, "partner is not known; known are google"),
        ({"withdrawals": [ANNA | {"partner": "Ca nary"}]}, "partner should be a short word"),
        ({"withdrawals": [ANNA | {"channel": "canary@x.com"}]}, "channel should be a short word"),
        ({"withdrawals": [ANNA | {"country": "canary"}]}, "country should be an ISO 3166 code"),
        ({"withdrawals": [ANNA | {"decided_at": "canary"}]}, "should be a time such as"),
        ({"withdrawals": [ANNA | {"decided_at": "2026-11-22T12:00:00"}]}, "needs a time zone"),
        ({"withdrawals": [ANNA | {"decided_at": "2027-01-01T00:00:00Z"}]}, "lies in the future"),
    ],
)
def test_what_is_not_understood_is_told_by_its_place(door: Door, body: Any, told: str) -> None:
    """In one sentence, with nothing of what stands there, and counted."""
    found = door.post(body)

    assert found.status == 422
    assert told in found.json["error"]
    assert "canary" not in found.body.decode().lower()
    assert door.reception.requests == []
    assert door.ledger.intake_totals(NOW) == {("withdrawals", "not-understood"): 1}


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe", b'{"withdrawals": [{"email": "\\ud800"}]}', b"[" * 100_000, b"NaN"],
)
def test_what_is_not_json_is_refused(door: Door, body: bytes) -> None:
    """Half a document, half a character, a tower of brackets."""
    assert door.post(body).status == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": ""},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/json; charset=latin-1"},
        {"content-type": "application/json", "content-encoding": "gzip"},
    ],
)
def test_only_plain_json_is_read(door: Door, headers: dict[str, str]) -> None:
    """Anything else is refused by what it says it is."""
    body = json.dumps(ONE).encode()
    assert door.ask("POST", "/v1/withdrawals", body, door.signed(body) | headers).status == 415
    good = {"content-type": 'Application/JSON; charset="UTF-8"'}
    assert door.ask("POST", "/v1/withdrawals", body, door.signed(body) | good).status == 202


def test_a_body_is_read_no_further_than_it_may_be_long(new_door: Callable[..., Door]) -> None:
    """By what it says, and by what comes where it says nothing."""
    door = new_door(section=webhooks(body_limit=1_000))
    body = json.dumps(ONE).encode() + b" " * 1_000
    assert door.post(body).status == 413
    endless = [b" " * 600, b" " * 600, b" " * 10**9]
    assert door.ask("POST", "/v1/withdrawals", endless, door.signed(b"")).status == 413
    lying = door.signed(body) | {"content-length": "5"}
    assert door.ask("POST", "/v1/withdrawals", body, lying).status == 413
    parts = [json.dumps(ONE).encode()[:10], json.dumps(ONE).encode()[10:]]
    signed = door.signed(b"".join(parts))
    assert door.ask("POST", "/v1/withdrawals", parts, signed).status == 202


def test_ten_thousand_in_one_request(door: Door) -> None:
    """All of them, and not one more."""
    many = [{"customer_id": f"c{number}"} for number in range(10_000)]
    found = door.post({"withdrawals": many})
    assert (found.status, found.json["withdrawals"]) == (202, 10_000)
    assert [one.customer_id for one in door.reception.requests[:2]] == ["c0", "c1"]
    assert len({one.idempotency_key for one in door.reception.requests}) == 10_000

    found = door.post({"withdrawals": [*many, ANNA]})
    assert found.status == 413
    assert len(door.reception.requests) == 10_000


def test_who_comes_too_fast_waits(new_door: Callable[..., Door]) -> None:
    """Each sender for itself; a stranger uses nothing up."""
    door = new_door(section=webhooks(requests_per_minute=2))
    for _ in range(5):
        assert door.post(ONE, key="canary-key-of-somebody-else").status == 401
    assert [door.post(ONE, late=late).status for late in range(3)] == [202, 202, 429]
    found = door.post(ONE, late=4)
    assert 0 < int(found.headers["retry-after"]) <= 61
    assert door.post({}, "/v1/onetrust").status == 422


def test_addresses_that_are_none(door: Door) -> None:
    """Nothing describes the application, and nothing redirects."""
    for path in ("/", "/docs", "/openapi.json", "/redoc", "/v1/withdrawals/", "/v1/canary@x.com"):
        found = door.ask("GET", path)
        assert found.status in (404, 405), path
        assert set(found.json) == {"error"}
        assert "canary" not in found.body.decode()
    assert door.ask("PUT", "/v1/withdrawals").status == 405


def test_every_answer_is_safe(door: Door) -> None:
    """Good or bad: no cache, no frame, no sniffing, no banner."""
    door.reception.failing = None
    answers = [door.post(ONE), door.post(ONE), door.ask("GET", "/x"), door.ask("GET", "/healthz")]
    door.reception.failing = RuntimeError("canary")
    answers.append(door.post(ONE, late=3))

    assert [one.status for one in answers] == [202, 409, 404, 200, 500]
    for found in answers:
        assert {name.lower(): found.headers[name.lower()] for name in SAFE} == {
            name.lower(): value for name, value in SAFE.items()
        }
        assert "server" not in found.headers
        assert found.headers["content-type"] == "application/json"
        assert "canary" not in found.body.decode()


def test_supervisors_are_told(door: Door) -> None:
    """Alive is not ready."""
    assert (door.ask("GET", "/healthz").status, door.ask("GET", "/readyz").status) == (200, 200)
    door.ready = False
    assert (door.ask("GET", "/healthz").status, door.ask("GET", "/readyz").status) == (200, 503)


@pytest.fixture(scope="module")
def open_door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """One that stays open from example to example, in which time passes."""
    with new_ledger(tmp_path_factory.mktemp("door") / "ledger.db", lambda: door.now) as ledger:
        door = Door(ledger)
        yield door


@given(text=st.text(min_size=1, max_size=60))
def test_identifiers_arrive_as_they_were_written(open_door: Door, text: str) -> None:
    """Any Unicode that JSON can carry, apart from blanks around it."""
    open_door.now += timedelta(days=99)
    open_door.reception.requests.clear()
    found = open_door.post(json.dumps({"withdrawals": [{"customer_id": text}]}).encode())
    if text.strip():
        assert found.status == 202
        assert [one.customer_id for one in open_door.reception.requests] == [text.strip()]
    else:
        assert found.status == 422


@pytest.mark.parametrize(
    "body",
    [
        b'{"withdrawals": [{"email": "a@example.com", "email": "c@example.com"}]}',
        b'{"withdrawals": [{"email": "a@example.com", "\\u0065mail": "c@example.com"}]}',
        b'{"withdrawals": [{"email": "a@example.com"}], "withdrawals": [{"email": "c@b.se"}]}',
    ],
)
def test_a_key_that_stands_twice_is_refused(body: bytes) -> None:
    """One of two people would be forgotten in silence; the answer names no value."""
    with pytest.raises(Refusal) as refused:
        parsed(body)
    assert refused.value.status == 400
    assert "the same key twice" in refused.value.sentence
    assert "@" not in refused.value.sentence


def test_the_same_key_in_several_objects_is_read() -> None:
    """As every list of people has it; deep nesting is a refusal, never a failure of ours."""
    people = {"withdrawals": [{"email": "a@example.com"}, {"email": "b@example.com"}]}
    assert parsed(json.dumps(people).encode()) == people
    with pytest.raises(Refusal):
        parsed(b"[" * 100_000)
    with pytest.raises(Refusal):
        parsed(b"[" * 1000 + b"]" * 1000 + b"x")


def test_a_country_that_nobody_knows_is_refused(door: Door) -> None:
    """A phone of it would be read as the default country's: somebody else's."""
    found = door.post({"withdrawals": [{"phone": "070 1", "country": "ZZ"}]})
    assert found.status == 422
    assert "withdrawals[0].country should be an ISO 3166 code" in found.json["error"]
