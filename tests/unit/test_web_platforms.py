"""Receipts of consent platforms: read as the project file says, and never guessed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipeline_world import new_ledger
from pydantic import SecretStr
from web_world import BASIC, KEY, MARKETING, META_ONLY, NOW, STATISTICS, Door, webhooks

from audience_sync.ledger.ledger import Ledger
from audience_sync.project.webhooks import OneTrust, Usercentrics
from audience_sync.web.answers import Refusal
from audience_sync.web.platforms import read_receipts

PURPOSES: dict[str, Any] = {MARKETING: "all", META_ONLY: ["meta"], STATISTICS: "none"}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger whose clock stands still."""
    with new_ledger(tmp_path / "ledger.db", lambda: NOW) as ledger:
        yield ledger


@pytest.fixture
def door(ledger: Ledger) -> Door:
    """A web process."""
    return Door(ledger)


def onetrust(*answers: tuple[str, Any], **more: Any) -> dict[str, Any]:
    """A consent-receipt event, as public examples of OneTrust integrations show it."""
    profiles = [
        {"purposeId": purpose, "profileFields": {"TransactionStatus": said, "Other": "x"}}
        for purpose, said in answers
    ]
    shown = {"dataSubjectGuid": "aa85", "dataSubjectEmail": "bob@canary.com", "profiles": profiles}
    return {
        "eventId": "1afcc0cb",
        "eventTime": "2026-11-22T11:35:26.277+0000",
        "eventType": "3010",
        "payload": {**shown, **more},
    }


def usercentrics(*answers: tuple[str, Any], **more: Any) -> dict[str, Any]:
    """A consent, as the page "Consent Webhook" of Usercentrics's support shows it."""
    consents = [{"consent_status": said, "dps_id": purpose} for purpose, said in answers]
    return {
        "controller_id": "e6952f-canary",
        "configuration_id": "XxxXXXxx",
        "timestamp": int(NOW.timestamp() * 1000) - 4_080,
        "consents": consents,
        "webhook_version": "v1",
        **more,
    }


def send(door: Door, consent: Any, authorization: str = BASIC) -> Any:
    """As Usercentrics sends it."""
    body = json.dumps(consent).encode()
    return door.ask("POST", "/v1/usercentrics", body, {"authorization": authorization})


def test_a_onetrust_receipt_withdraws(door: Door) -> None:
    """From the partners that its purposes lead to, at the time that it says."""
    found = door.post(onetrust((META_ONLY, "WITHDRAWN"), (STATISTICS, "OPT_OUT")), "/v1/onetrust")

    assert found.status == 202
    assert found.json == {"receipt": found.json["receipt"], "withdrawals": 1, "left_out": {}}
    [request] = door.reception.requests
    assert (request.email, request.partner, request.channel) == (
        "bob@canary.com", "meta", "onetrust",
    )  # fmt: skip
    assert request.decided_at == datetime(2026, 11, 22, 11, 35, 26, 277000, UTC)
    assert door.get(found.headers["location"]).status == 200


def test_a_usercentrics_consent_withdraws(door: Door) -> None:
    """Proved by its Authorization header, from all partners where a purpose leads to all."""
    found = send(door, usercentrics((META_ONLY, False), (MARKETING, False), (STATISTICS, True)))

    assert found.status == 202
    [request] = door.reception.requests
    assert (request.customer_id, request.partner) == ("e6952f-canary", None)
    assert request.decided_at == datetime(2026, 11, 22, 11, 59, 55, 920000, UTC)
    place = found.headers["location"]
    assert door.ask("GET", place, b"", {"authorization": BASIC}).status == 200
    assert door.get(place).status == 404  # whoever signs for another sender does not see it


def test_who_cannot_prove_who_it_is_is_refused(door: Door) -> None:
    """A wrong header, none, and a signature where a platform only has a header."""
    consent = usercentrics((MARKETING, False))
    for wrong in ("", "Basic x", BASIC + "x", BASIC[:-1], BASIC.lower(), "é"):
        assert send(door, consent, wrong).status == 401
    assert door.ask("POST", "/v1/usercentrics", json.dumps(consent).encode()).status == 401
    assert door.post(consent, "/v1/usercentrics").status == 401
    assert door.post(onetrust((MARKETING, "WITHDRAWN")), "/v1/onetrust", key="x" * 20).status == 401
    assert door.reception.requests == []


def test_a_consent_that_comes_again_is_answered_the_same(door: Door) -> None:
    """Platforms send again what they got no answer to; its own time tells it from a later one."""
    first = send(door, usercentrics((MARKETING, False)))
    again = send(door, usercentrics((MARKETING, False)))
    later = send(door, usercentrics((MARKETING, False), timestamp=int(NOW.timestamp())))

    assert (first.json, first.status) == (again.json, 202)
    assert later.json["receipt"] != first.json["receipt"]
    assert len(door.reception.requests) == 2


def test_without_a_time_of_its_own_nothing_is_taken_for_a_repetition(ledger: Ledger) -> None:
    """Somebody may have agreed again in between: every withdrawal counts."""
    platform = Usercentrics(authorization=(SecretStr(BASIC),), purposes=PURPOSES, at=None)
    door = Door(ledger, webhooks(usercentrics=platform))
    for _ in range(2):
        assert send(door, usercentrics((MARKETING, False))).status == 202
    assert len(door.reception.requests) == 2


def test_a_grant_withdraws_nothing(door: Door) -> None:
    """It is answered, since a platform sends all that people say."""
    for consent in (usercentrics((MARKETING, True)), usercentrics((STATISTICS, False))):
        found = send(door, consent)
        assert (found.status, found.json["withdrawals"]) == (202, 0)
    granted = door.post(onetrust((MARKETING, "ACTIVE"), ("other", "CONFIRMED")), "/v1/onetrust")
    assert (granted.status, granted.json["withdrawals"]) == (202, 0)
    assert door.reception.requests == []


def test_what_is_unknown_is_refused_and_counted(door: Door) -> None:
    """A purpose or a word that the project file does not know, and nothing else in the receipt."""
    assert send(door, usercentrics(("canary-purpose", False))).status == 422
    found = door.post(onetrust((MARKETING, "CANARY-WORD")), "/v1/onetrust")
    assert found.status == 422
    assert "purposes:" in found.json["error"]
    assert "canary" not in found.body.decode().lower()

    totals = door.ledger.intake_totals(NOW)
    assert totals == {("usercentrics", "unknown-purpose"): 1, ("onetrust", "unknown-purpose"): 1}


def test_what_is_known_is_taken_beside_the_unknown(door: Door) -> None:
    """A withdrawal never waits for somebody to write down another purpose; the rest is counted."""
    found = send(door, usercentrics((MARKETING, False), ("other", False), (META_ONLY, "perhaps")))

    assert found.status == 202
    assert found.json["withdrawals"] == 1
    assert found.json["left_out"] == {"unknown_purpose": 1, "unknown_answer": 1}
    assert door.ledger.intake_totals(NOW)[("usercentrics", "unknown_purpose")] == 1


def test_other_purposes_may_be_none_of_ours(ledger: Ledger) -> None:
    """Where the project file says so; unknown answers stay unknown."""
    ignoring = {"other_purposes": "ignore", "authorization": (SecretStr(BASIC),)}
    platform = Usercentrics(purposes=PURPOSES, **ignoring)  # type: ignore[arg-type]  # pydantic reads it
    door = Door(ledger, webhooks(usercentrics=platform))
    found = send(door, usercentrics(("other", False)))

    assert (found.status, found.json["left_out"]) == (202, {"other_purpose": 1})
    assert send(door, usercentrics((MARKETING, "perhaps"))).status == 422


@pytest.mark.parametrize(
    ("receipt", "told"),
    [
        ("canary", "has no list of answers"),
        ([], "holds no receipt"),
        ({}, "has no list of answers"),
        (onetrust(), "has no list of answers"),
        (onetrust((MARKETING, "WITHDRAWN"), profiles="canary"), "has no list of answers"),
        (onetrust((MARKETING, "WITHDRAWN"), dataSubjectEmail=None), "names nobody"),
        (onetrust((MARKETING, "WITHDRAWN"), dataSubjectEmail=["canary"]), "names nobody"),
        (onetrust((MARKETING, "WITHDRAWN"), dataSubjectEmail="canary" * 99), "too long"),
        (onetrust((MARKETING, "WITHDRAWN")) | {"eventTime": "canary"}, "has no time"),
        (onetrust((MARKETING, "WITHDRAWN")) | {"eventTime": "2026-11-22T11:00:00"}, "has no time"),
        (onetrust((MARKETING, "WITHDRAWN")) | {"eventTime": 10**30}, "has no time"),
        (onetrust((MARKETING, "WITHDRAWN")) | {"eventTime": True}, "has no time"),
        (onetrust((MARKETING, "WITHDRAWN")) | {"eventTime": 2**33}, "in the future"),
        ([onetrust((MARKETING, "ACTIVE")), {}], "receipt 2 has no list"),
    ],
)
def test_a_receipt_of_another_shape_is_refused(door: Door, receipt: Any, told: str) -> None:
    """With the setting to look at, and nothing of what stands there."""
    found = door.post(receipt, "/v1/onetrust")

    assert found.status == 422
    assert told in found.json["error"]
    assert "canary" not in found.body.decode()
    assert door.reception.requests == []


def test_many_receipts_in_one_request(ledger: Ledger) -> None:
    """As many as the limit allows."""
    door = Door(ledger, webhooks(batch_limit=3))
    one = onetrust((MARKETING, "withdrawn"))
    assert door.post([one] * 3, "/v1/onetrust").json["withdrawals"] == 3
    assert door.post([one] * 4, "/v1/onetrust").status == 413


def test_the_shape_is_a_setting(ledger: Ledger) -> None:
    """Receipts as OneTrust's own API takes them, read by other paths."""
    platform = OneTrust(
        keys={"first": SecretStr(KEY)},
        subject={"phone": "identifier", "customer_id": "dsDataElements.Customer"},
        decisions="purposes",
        purpose="Id",
        answer="TransactionType",
        at=None,
        purposes=PURPOSES,
    )
    door = Door(ledger, webhooks(onetrust=platform))
    receipt = {
        "identifier": "+46 70 123",
        "dsDataElements": {"Customer": 4711},
        "purposes": [{"Id": MARKETING, "TransactionType": "OPT_OUT"}],
    }
    assert door.post(receipt, "/v1/onetrust").status == 202
    [request] = door.reception.requests
    assert (request.phone, request.customer_id, request.email) == ("+46 70 123", "4711", None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["payload", "profiles", "purposeId", "eventTime", "profileFields", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(document=JSON)
def test_no_document_breaks_the_reader(document: Any) -> None:
    """Whatever a platform sends, it is read or refused."""
    platform = OneTrust(keys={"first": SecretStr(KEY)}, purposes=PURPOSES)
    with contextlib.suppress(Refusal):
        read = read_receipts(document, platform, "onetrust", 100, NOW, 300)
        assert all(request.email for request in read.requests)
