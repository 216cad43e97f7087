"""What exactly goes to a webhook, what its answers mean, and what its settings may be."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Any

import numpy as np
import orjson
import pytest
from pydantic import ValidationError
from webhook_settings import SECRET, webhook_settings

from audience_sync.connector import (
    AuthenticationError,
    ConfigurationError,
    Kind,
    Limits,
    Members,
    Recipient,
    RefusedError,
    Rejection,
    TemporaryPartnerError,
)
from audience_sync.testing.builders import (
    FakePartner,
    answered,
    made_up_audience,
    made_up_members,
    made_up_upload,
)
from connectors import webhook
from connectors.webhook import WebhookConnector

BOTH = (Kind.EMAIL, Kind.PHONE)
EMAIL = "f1904cf1a9d73a55fa5de0ac823c4403ded71afd4c3248d00bdcd0866552bb79"
PHONE = "1df6b43bc68dd38eca94e6a65b4f466ae537b796c81a526918b40ac4a7b906c7"
OTHER = "19de0a9906ebee29fe82087be5ec44f3c01e40730bc808b663c71f19dd6b12f2"


def _started(*answers: Any, **changes: Any) -> tuple[WebhookConnector, FakePartner]:
    partner = FakePartner(*answers)
    connector = WebhookConnector(webhook_settings(**changes), partner)
    partner.bind(connector)
    return connector, partner


def _members() -> Members:
    """One person with an e-mail address only, one with both kinds."""

    def column(*texts: str) -> Any:
        return np.frombuffer(bytes.fromhex("".join(texts)), np.uint8).reshape(2, 1, 32)

    return Members({Kind.EMAIL: column(OTHER, EMAIL), Kind.PHONE: column("00" * 32, PHONE)})


def _sent(partner: FakePartner) -> list[Any]:
    return [sent.json() for sent in partner.requests]


def test_an_addition_to_the_byte() -> None:
    """The usual body: who, where, with which consent, and a batch name that can be repeated."""
    connector, partner = _started(answered({}))
    connector.add(made_up_upload(remote_id="vip-7f3a"), _members())
    [sent] = partner.requests
    batch = hashlib.sha256(b"vip-7f3a\nadd\n9778993\n1\n1").hexdigest()[:32]
    assert (sent.method, sent.url) == ("POST", "https://partner.example/audiences?tenant=7")
    assert sent.content_type == "application/json"
    assert (
        sent.body
        == (
            f'{{"operation":"add","list":"vip-7f3a","title":"","batch":"{batch}",'
            '"consent":{"ad_user_data":true,"ad_personalization":true},'
            f'"members":[{{"email":"{OTHER}"}},{{"email":"{EMAIL}","phone":"{PHONE}"}}]}}'
        ).encode()
    )
    assert sent.headers["Idempotency-Key"] == batch
    assert sent.headers["X-Api-Key"] == "api-key-canary"


def test_the_other_operations() -> None:
    """A removal says nothing of consent; a check and a new list carry nobody."""
    connector, partner = _started(*[answered({})] * 3)
    connector.check()
    remote_id = connector.ensure_audience(made_up_audience(title='VIP "gold" customers'))
    connector.remove(made_up_upload(remote_id=remote_id, consent=None), _members())
    check, create, remove = _sent(partner)
    nobody = {"ad_user_data": None, "ad_personalization": None}
    assert re.fullmatch(r"lapsed-vip-[0-9a-f]{16}", remote_id)
    assert check == {
        "operation": "check",
        "list": "",
        "title": "",
        "batch": "check",
        "consent": nobody,
        "members": [],
    }
    assert create["operation"] == "create"
    assert (create["list"], create["title"]) == (remote_id, 'VIP "gold" customers')
    assert (remove["operation"], remove["consent"]) == ("remove", nobody)
    assert remove["members"] == [{"email": OTHER}, {"email": EMAIL, "phone": PHONE}]


def test_the_signature_covers_time_and_body(monkeypatch: pytest.MonkeyPatch) -> None:
    """HMAC-SHA256 over the time, a dot and the body, in the header of the settings."""
    monkeypatch.setattr(webhook.time, "time", lambda: 1_700_000_000.9)
    connector, partner = _started(answered({}), signature_header="X-Proof")
    connector.check()
    [sent] = partner.requests
    assert sent.body is not None
    told = b"1700000000." + sent.body
    proof = hmac.new(SECRET.encode(), told, hashlib.sha256).hexdigest()
    assert sent.headers["X-Proof"] == f"t=1700000000,v1={proof}"


@pytest.mark.parametrize(
    ("member", "missing", "partly", "whole"),
    [
        (
            {"mail": "{{email}}", "tel": "{{phone}}"},
            "null",
            {"mail": OTHER, "tel": None},
            {"mail": EMAIL, "tel": PHONE},
        ),
        (["{{email}}", "{{phone}}"], "empty", [OTHER, ""], [EMAIL, PHONE]),
        (
            [{"type": "MAIL", "id": "{{email}}"}, {"type": "TEL", "id": "{{ phone }}"}],
            "omit",
            [{"type": "MAIL", "id": OTHER}],
            [{"type": "MAIL", "id": EMAIL}, {"type": "TEL", "id": PHONE}],
        ),
        (
            {"tel": {"sha256": "{{phone}}"}, "kind": "person", "ids": {"m": ["{{email}}"]}},
            "omit",
            {"kind": "person", "ids": {"m": [OTHER]}},
            {"kind": "person", "ids": {"m": [EMAIL]}, "tel": {"sha256": PHONE}},
        ),
    ],
)
def test_a_member_of_any_shape(member: Any, missing: str, partly: Any, whole: Any) -> None:
    """Objects, lists and entries within entries; what stands for none is chosen."""
    connector, partner = _started(answered({}), member=member, missing=missing)
    connector.add(made_up_upload(), _members())
    assert _sent(partner)[0]["members"] == [partly, whole]


def test_a_bare_list_of_hashes() -> None:
    """One kind, as a partner with a column of values takes it."""
    connector, partner = _started(
        answered({}),
        identifiers={"email": "email/plain"},
        member="{{email}}",
        body={"do": "{{operation}} to {{list}}", "n": "{{count}}", "ids": "{{members}}"},
        operations={"add": "append"},
    )
    connector.add(made_up_upload(remote_id="L1"), _members().only(Kind.EMAIL))
    assert _sent(partner) == [{"do": "append to L1", "n": 2, "ids": [OTHER, EMAIL]}]


def test_operations_that_nobody_wants_to_hear_of() -> None:
    """An endpoint that only takes members is asked nothing else; lists still have a name."""
    connector, partner = _started(operations={"check": None, "create": None})
    connector.check()
    assert connector.ensure_audience(made_up_audience()).startswith("lapsed-vip-")
    assert not partner.requests


@pytest.mark.parametrize(("count", "requests"), [(99, 1), (100, 1), (101, 2), (200, 2), (201, 3)])
def test_rows_in_a_request(count: int, requests: int) -> None:
    """At the limit one request, above it another; each has an idempotency key of its own."""
    connector, partner = _started(*[answered({})] * requests, members_per_request=100)
    connector.add(made_up_upload(), made_up_members(count, BOTH))
    assert [len(wanted["members"]) for wanted in _sent(partner)][:-1] == [100] * (requests - 1)
    assert len({sent.headers["Idempotency-Key"] for sent in partner.requests}) == requests


def test_bytes_in_a_request() -> None:
    """No body is larger than the settings allow, with room for not one row more."""
    for limit in (5_000, 5_001, 9_999):
        connector, partner = _started(*[answered({})] * 40, bytes_per_request=limit)
        members = made_up_members(120, BOTH)
        assert connector.add(made_up_upload(remote_id="x" * 128), members).accepted == 120
        sizes = [len(sent.body or b"") for sent in partner.requests]
        row = len(orjson.dumps(_sent(partner)[0]["members"][0])) + 1
        assert limit - 2 * row < max(sizes) <= limit


def test_a_destination_declares_for_itself() -> None:
    """Recipient, minimum, forms and limits are those of the settings, on class and instance."""
    settings = webhook_settings(
        minimum_audience=7, identifiers={"idfa": "device/raw"}, members_per_request=10
    )
    connector = WebhookConnector(settings, FakePartner())
    assert connector.recipient == Recipient(name="Partner GmbH", country="DE")
    assert connector.minimum_audience == WebhookConnector.minimum_of(settings) == 7
    assert WebhookConnector.sendable(settings) == {Kind.IDFA: "device/raw"}
    wanted = Limits(members_per_request=10, bytes_per_request=1_000_000)
    assert connector.limits == WebhookConnector.limits_of(settings) == wanted


def test_rejections_by_position() -> None:
    """A member is rejected where its rows are; a reason that is no code is not repeated."""
    content = {"result": {"bad": [{"row": 1, "why": "E7"}, {"row": 3, "why": f"no {EMAIL}"}]}}
    answer = {"rejected": "result.bad", "key": "row", "reason": "why"}
    connector, _ = _started(answered(content), answer=answer)
    receipt = connector.add(made_up_upload(), made_up_members(4, BOTH))
    assert receipt.accepted == 2
    assert receipt.rejected == (
        Rejection(position=1, reason="E7"),
        Rejection(position=3, reason="rejected"),
    )


def test_a_member_with_one_good_row_is_held() -> None:
    """Two addresses of a person are two rows; one that is refused does not drop the person."""
    members = made_up_members(3, BOTH, slots=2)  # rows 0-2 hold slot 0, rows 3-5 slot 1
    connector, _ = _started(answered({"bad": [0, 1, 4]}), answer={"rejected": "bad"})
    receipt = connector.add(made_up_upload(), members)
    assert [rejection.position for rejection in receipt.rejected] == [1]
    assert receipt.accepted == 2


def test_rejections_by_identifier() -> None:
    """An endpoint may name what it could not use by value."""
    members = made_up_members(4, BOTH)
    value = members.column(Kind.PHONE)[2]
    connector, _ = _started(
        answered({"bad": [{"id": value.upper()}, {"id": "00" * 32}]}),
        answer={"rejected": "bad", "by": "identifier", "key": "id"},
    )
    receipt = connector.add(made_up_upload(), members)
    assert [rejection.position for rejection in receipt.rejected] == [2]


def test_rows_that_are_not_counted_are_unattributed() -> None:
    """What the endpoint says it took is compared with what was sent."""
    content = {"taken": 6, "bad": [0]}
    connector, _ = _started(answered(content), answer={"rejected": "bad", "accepted": "taken"})
    receipt = connector.add(made_up_upload(), made_up_members(10, BOTH))
    assert (receipt.accepted, len(receipt.rejected), receipt.unattributed) == (6, 1, 3)
    assert receipt.reason == "not_counted"


@pytest.mark.parametrize(
    "content",
    [{"bad": 5}, {"bad": [99]}, {"bad": [True]}, {"bad": ["x"]}, {"bad": [], "n": "6"}, []],
)
def test_an_answer_that_is_not_as_agreed(content: Any) -> None:
    """Neither a success nor a crash: the batch is sent again."""
    connector, _ = _started(answered(content), answer={"rejected": "bad", "accepted": "n"})
    with pytest.raises(TemporaryPartnerError):
        connector.add(made_up_upload(), made_up_members(3, BOTH))


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (203, RefusedError),
        (302, RefusedError),
        (400, RefusedError),
        (401, AuthenticationError),
        (403, RefusedError),
        (404, RefusedError),
        (409, RefusedError),
        (413, RefusedError),
        (422, RefusedError),
        (429, TemporaryPartnerError),
        (500, TemporaryPartnerError),
        (503, TemporaryPartnerError),
    ],
)
def test_what_a_status_means(status: int, error: type[Exception]) -> None:
    """Only the statuses of the settings are a success."""
    connector, _ = _started(answered({}, status))
    with pytest.raises(error) as caught:
        connector.check()
    assert type(caught.value) is error


def test_a_request_that_is_too_large_says_what_to_lower() -> None:
    """HTTP 413 is the endpoint's limit, which the settings should know."""
    connector, _ = _started(answered({}, 413))
    with pytest.raises(RefusedError, match="bytes_per_request"):
        connector.add(made_up_upload(), _members())


def test_no_content_is_a_success() -> None:
    """204 has no body by definition; with `form: any` no other status needs one."""
    connector, _ = _started(answered(b"", 204))
    assert connector.add(made_up_upload(), _members()).accepted == 2
    connector, _ = _started(answered(b"thanks", 200), answer={"form": "any"})
    assert connector.add(made_up_upload(), _members()).accepted == 2


def test_raw_device_ids_need_permission() -> None:
    """A raw form leaves only where the destination allows it; it may always be removed."""
    members = made_up_members(2, [Kind.IDFA])
    raw = {"identifiers": {"idfa": "device/raw"}}
    connector, partner = _started(answered({}), **raw)
    with pytest.raises(ConfigurationError, match="allow_unhashed_device_ids"):
        connector.add(made_up_upload(), members)
    assert connector.remove(made_up_upload(consent=None), members).accepted == 2
    assert _sent(partner)[0]["members"][0]["idfa"] == members.column(Kind.IDFA)[0]
    connector, _ = _started(answered({}), allow_unhashed_device_ids=True, **raw)
    assert connector.add(made_up_upload(), members).accepted == 2


def test_a_kind_that_was_given_up_can_still_leave() -> None:
    """What a list still holds has its place in the usual body; a template of one's own says so."""
    members = made_up_members(2, BOTH)
    only_email: dict[str, Any] = {"identifiers": {"email": "email/plain"}}
    connector, partner = _started(answered({}), **only_email)
    connector.remove(made_up_upload(consent=None), members)
    assert _sent(partner)[0]["members"][0].keys() == {"email", "phone"}
    connector, _ = _started(member={"e": "{{email}}"}, **only_email)
    with pytest.raises(ConfigurationError, match="no place for phone"):
        connector.remove(made_up_upload(consent=None), members)


@pytest.mark.parametrize("remote_id", ["", "x" * 129, 'a"b', "a b", "a\\b"])
def test_a_list_that_cannot_be_named(remote_id: str) -> None:
    """An adopted list has an id that fits into every body."""
    connector, partner = _started()
    with pytest.raises(ConfigurationError, match="remote_id"):
        connector.add(made_up_upload(remote_id=remote_id), _members())
    assert not partner.requests


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"base_url": "http://partner.example/"}, "https://"),
        ({"base_url": "ftp://127.0.0.1/"}, "https://"),
        ({"base_url": "partner.example"}, "https://"),
        ({"base_url": "https://user:pass@partner.example/"}, "password"),
        ({"recipient_name": ""}, "recipient_name"),
        ({"recipient_country": "Germany"}, "recipient_country"),
        ({"recipient_country": "XX"}, "no ISO 3166 country such as IE"),
        ({"recipient_country": "UK"}, "write GB"),
        ({"minimum_audience": -1}, "minimum_audience"),
        ({"identifiers": {}}, "identifiers"),
        ({"identifiers": {"email": "phone/e164"}}, "choose one of email/plain"),
        ({"identifiers": {"fax": "phone/e164"}}, "identifiers"),
        ({"secret": "short"}, "16 characters"),
        ({"headers": {"Content-Type": "text/csv"}}, "ours to write"),
        ({"headers": {"idempotency-key": "x"}}, "one name"),
        ({"headers": {"Bad Name": "x"}}, "headers"),
        ({"body": {"people": "{{people}}", "m": "{{members}}"}}, "there is no {{people}}"),
        ({"body": {"list": "{{list}}"}}, "{{members}}"),
        ({"body": {"a": "{{members}}", "b": "{{members}}"}}, "{{members}}"),
        ({"body": {"a": "it is {{ad_user_data}}", "b": "{{members}}"}}, "alone"),
        ({"body": {"{{list}}": 1, "b": "{{members}}"}}, "a key is written"),
        ({"member": {"e": "{{email}}"}}, "no place for phone"),
        ({"member": {"e": "{{email}}", "p": "+{{phone}}"}}, "alone in its quotes"),
        ({"member": {"e": "{{email}}", "p": "{{telephone}}"}}, "not telephone"),
        ({"member": {"e": ["{{email}}", "{{phone}}"]}}, "one identifier"),
        ({"member": {"e": "{{email}}", "f": "{{email}}", "p": "{{phone}}"}}, "once"),
        ({"member": ["{{email}}", "{{phone}}"]}, "stands for none"),
        ({"member": {"e": 1}}, "at least one"),
        ({"bytes_per_request": 900}, "at least"),
        ({"members_per_request": 9}, "members_per_request"),
        ({"success": [302]}, "success"),
        ({"answer": {"form": "any", "rejected": "bad"}}, "form: any"),
        ({"operations": {"add": None}}, "operations"),
    ],
)
def test_settings_that_could_not_work(changes: dict[str, Any], told: str) -> None:
    """What is wrong is said when the project is read, before anything is sent."""
    with pytest.raises(ValidationError) as caught:
        webhook_settings(**changes)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8600/webhook/x", "http://[::1]:1/", "http://localhost/", "https://a.b"],
)
def test_addresses_that_are_safe(url: str) -> None:
    """HTTPS anywhere; HTTP reaches this machine only."""
    assert webhook_settings(base_url=url).base_url == url
