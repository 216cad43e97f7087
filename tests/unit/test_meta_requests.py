"""Requests to Meta are exactly those of its reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from audience_sync.connector import (
    Answer,
    AuthenticationError,
    ConfigurationError,
    Kind,
    Members,
    RefusedError,
    TemporaryPartnerError,
)
from audience_sync.testing.builders import (
    FakePartner,
    answered,
    made_up_audience,
    made_up_members,
    made_up_upload,
)
from connectors.meta import MetaConnector, MetaSettings

MARY = "f1904cf1a9d73a55fa5de0ac823c4403ded71afd4c3248d00bdcd0866552bb79"
DANA = "07e2f1394b0ea80e2adca010ea8318df697001a005ba7452720edda4b0ce57b3"
PHONE = "1ef970831d7963307784fa8688e8fce101a15685d62aa765fed23f3a2c576a4e"
GAID = "38400000-8cf0-11bd-b23e-10b96e40000d"
IDFA = "6d92078a-8246-4ba4-ae5b-76104861e7dc"
SESSION = {
    "session_id": 9778993,
    "batch_seq": 1,
    "last_batch_flag": True,
    "estimated_num_total": 2,
}
SIZES = {
    "approximate_count_lower_bound": 8200,
    "approximate_count_upper_bound": 9600,
    "operation_status": {"code": 200, "description": "Normal"},
    "delivery_status": {"code": 200, "description": "This audience is ready for use."},
}


def _started(*answers: Answer | Exception, **changes: Any) -> tuple[MetaConnector, FakePartner]:
    usual = {"ad_account_id": "1234567890", "access_token": "EAATESTTOKEN"}
    partner = FakePartner(*answers)
    connector = MetaConnector(MetaSettings(**(usual | changes)), partner)
    partner.bind(connector)
    return connector, partner


def _counts(received: int, invalid: int = 0, samples: Any = None) -> Answer:
    return answered(
        {
            "audience_id": "23851",
            "session_id": "9778993",
            "num_received": received,
            "num_invalid_entries": invalid,
            "invalid_entry_samples": {} if samples is None else samples,
        }
    )


def _column(*rows: list[str]) -> np.ndarray[Any, Any]:
    """Slots of identifiers as bytes; an empty text is none."""
    width = 16 if any("-" in cell for row in rows for cell in row) else 32
    raw = [[bytes.fromhex(cell.replace("-", "")).ljust(width, b"\0") for cell in r] for r in rows]
    return np.array([[list(cell) for cell in row] for row in raw], dtype=np.uint8)


def test_members_of_several_kinds_are_rows() -> None:
    """One column a kind, an empty text for none; the body is the reference's, to the key."""
    connector, partner = _started(_counts(2))
    members = Members(
        {Kind.EMAIL: _column([MARY], [DANA]), Kind.PHONE: _column([PHONE], ["00" * 32])}
    )
    receipt = connector.add(made_up_upload(remote_id="23851"), members)
    assert receipt.accepted == 2
    (sent,) = partner.requests
    assert (sent.method, sent.url) == ("POST", "v26.0/23851/users")
    assert sent.headers["Authorization"] == "Bearer EAATESTTOKEN"
    assert sent.params == {}
    found = sent.json()
    found["payload"]["data"].sort()
    assert found == {
        "session": SESSION,
        "payload": {"schema": ["EMAIL", "PHONE"], "data": [[DANA, ""], [MARY, PHONE]]},
    }


def test_members_of_one_kind_are_a_flat_list() -> None:
    """A single key has a name of its own and no rows."""
    connector, partner = _started(_counts(2))
    members = Members({Kind.EMAIL: _column([MARY], [DANA])})
    connector.add(made_up_upload(remote_id="23851"), members)
    assert partner.requests[0].json()["payload"] == {
        "schema": "EMAIL_SHA256",
        "data": [MARY, DANA],
    }


def test_both_kinds_of_device_are_one_column() -> None:
    """A person with a device of each kind is two rows, one with a single device is one."""
    connector, partner = _started(_counts(3), allow_unhashed_device_ids=True)
    none = "00000000-0000-0000-0000-000000000000"
    members = Members(
        {
            Kind.EMAIL: _column([MARY], [DANA]),
            Kind.IDFA: _column([IDFA], [IDFA]),
            Kind.GAID: _column([none], [GAID]),
        }
    )
    connector.add(made_up_upload(remote_id="23851"), members)
    found = partner.requests[0].json()["payload"]
    assert found["schema"] == ["EMAIL", "MADID"]
    assert sorted(found["data"]) == sorted([[MARY, IDFA], [DANA, GAID], ["", IDFA]])


@pytest.mark.parametrize(
    ("remove_with", "method", "params"),
    [("delete", "DELETE", {}), ("method-override", "POST", {"method": "DELETE"})],
)
def test_removal_has_a_body(remove_with: str, method: str, params: dict[str, str]) -> None:
    """The identifiers of a removal travel in the body; only the method is said in two ways."""
    connector, partner = _started(_counts(1), remove_with=remove_with)
    members = Members({Kind.EMAIL: _column([MARY])})
    connector.remove(made_up_upload(remote_id="23851", consent=None), members)
    (sent,) = partner.requests
    assert (sent.method, sent.url, dict(sent.params)) == (method, "v26.0/23851/users", params)
    payload = {"schema": "EMAIL_SHA256", "data": [MARY]}
    assert sent.json() == {"session": SESSION, "payload": payload}


def test_more_rows_than_a_request_holds_are_split() -> None:
    """Second identifiers make further rows; what is over goes in a session of its own."""
    connector, partner = _started(_counts(10_000), _counts(2_000))
    members = made_up_members(6_000, (Kind.EMAIL,), slots=2)
    receipt = connector.add(made_up_upload(remote_id="23851"), members)
    assert (receipt.accepted, receipt.sent) == (6_000, 6_000)
    first, second = (sent.json() for sent in partner.requests)
    assert [len(first["payload"]["data"]), len(second["payload"]["data"])] == [10_000, 2_000]
    assert first["session"]["session_id"] == 9778993
    assert second["session"]["session_id"] != 9778993
    assert 0 < second["session"]["session_id"] < 2**63
    assert (second["session"]["batch_seq"], second["session"]["last_batch_flag"]) == (1, True)


def test_a_finished_session_gives_way_to_the_same_other() -> None:
    """A batch whose session Meta has closed is sent once more in a session made from its place."""
    over = answered({"error": {"code": 2650, "error_subcode": 1870159}}, 400)
    numbers = set()
    for _ in range(2):
        connector, partner = _started(over, _counts(1))
        members = Members({Kind.EMAIL: _column([MARY])})
        assert connector.add(made_up_upload(remote_id="23851"), members).accepted == 1
        numbers.add(partner.requests[1].json()["session"]["session_id"])
    assert len(numbers) == 1
    assert numbers != {9778993}


def test_sessions_are_not_tried_for_ever() -> None:
    """A list that refuses every session is refused."""
    over = answered({"error": {"code": 2650, "error_subcode": 1870159}}, 400)
    connector, partner = _started(*[over] * 20)
    with pytest.raises(RefusedError):
        connector.add(made_up_upload(remote_id="23851"), made_up_members(1, (Kind.EMAIL,)))
    assert len(partner.requests) == 9


@pytest.mark.parametrize(
    "refusal", [answered({}, 413), answered({"error": {"code": 105}}, 400)], ids=["413", "105"]
)
def test_a_body_that_is_too_large_is_halved(refusal: Answer) -> None:
    """What Meta or a server on the way finds too large goes in smaller pieces."""
    connector, partner = _started(refusal, _counts(2), _counts(2))
    members = made_up_members(4, (Kind.EMAIL,))
    assert connector.add(made_up_upload(remote_id="23851"), members).accepted == 4
    sizes = [len(sent.json()["payload"]["data"]) for sent in partner.requests]
    assert sizes == [4, 2, 2]


@pytest.mark.parametrize("samples", [{"0": DANA}, [DANA], {"EMAIL": [DANA]}, [[DANA, ""]]])
def test_named_bad_entries_are_rejections(samples: Any) -> None:
    """A sample names a member, in whichever of its shapes it comes."""
    connector, _ = _started(_counts(2, 1, samples))
    members = Members({Kind.EMAIL: _column([MARY], [DANA])})
    receipt = connector.add(made_up_upload(remote_id="23851"), members)
    assert [(r.position, r.reason) for r in receipt.rejected] == [(1, "invalid_entry")]
    assert (receipt.accepted, receipt.unattributed) == (1, 0)


def test_counted_bad_entries_are_unattributed() -> None:
    """What Meta only counts is nobody's in particular, and never more than was sent."""
    for invalid, unattributed in ((3, 3), (99, 5)):
        connector, _ = _started(_counts(5, invalid, []))
        receipt = connector.add(
            made_up_upload(remote_id="23851"), made_up_members(5, (Kind.EMAIL,))
        )
        assert (receipt.sent, receipt.unattributed) == (5, unattributed)
        assert receipt.reason == "num_invalid_entries"


def test_a_member_with_a_good_row_is_held() -> None:
    """A second identifier that is bad does not make the member a rejection."""
    connector, _ = _started(_counts(3, 1, [DANA]))
    members = Members({Kind.EMAIL: _column([MARY, DANA], [PHONE, "00" * 32])})
    receipt = connector.add(made_up_upload(remote_id="23851"), members)
    assert (receipt.accepted, receipt.rejected, receipt.unattributed) == (2, (), 0)


def test_rows_that_did_not_arrive_are_missed() -> None:
    """Meta's own count of received rows is compared with ours."""
    connector, _ = _started(_counts(3))
    receipt = connector.add(made_up_upload(remote_id="23851"), made_up_members(5, (Kind.EMAIL,)))
    assert (receipt.accepted, receipt.unattributed) == (3, 2)


def test_counts_of_a_longer_session_are_not_taken_twice() -> None:
    """In a later batch the count is of the whole session; only the samples are of the batch."""
    connector, _ = _started(_counts(15, 4, {}))
    upload = made_up_upload(remote_id="23851", sequence=3)
    receipt = connector.add(upload, made_up_members(5, (Kind.EMAIL,)))
    assert (receipt.accepted, receipt.unattributed) == (5, 0)


def test_an_answer_without_counts_is_no_success() -> None:
    """A 200 that does not say what was received is asked again."""
    connector, _ = _started(answered({"audience_id": "23851"}))
    with pytest.raises(TemporaryPartnerError):
        connector.add(made_up_upload(remote_id="23851"), made_up_members(1, (Kind.EMAIL,)))


def test_members_without_an_identifier_for_meta_are_rejected() -> None:
    """A member that no column can carry is accounted for and not sent."""
    connector, partner = _started()
    receipt = connector.add(
        made_up_upload(remote_id="23851"), made_up_members(2, (Kind.EXTERNAL_ID,))
    )
    assert [r.reason for r in receipt.rejected] == ["no_usable_identifier"] * 2
    assert partner.requests == []


def test_a_list_is_created_as_the_reference_says() -> None:
    """The request that creates a list; it is not repeated by itself."""
    connector, partner = _started(answered({"data": []}), answered({"id": "77"}), retention_days=90)
    assert connector.ensure_audience(made_up_audience()) == "77"
    _, made = partner.requests
    assert (made.method, made.url) == ("POST", "v26.0/act_1234567890/customaudiences")
    assert made.repeatable is False
    assert made.json() == {
        "name": "lapsed-vip",
        "subtype": "CUSTOM",
        "description": "VIP customers who have not bought for a while [audience-sync 7f3a]",
        "customer_file_source": "USER_PROVIDED_ONLY",
        "retention_days": 90,
        "enable_fetch_or_create": True,
    }


def test_our_list_is_found_on_a_later_page() -> None:
    """The cursor is followed until a description carries our marker."""
    first = {"data": [{"id": "1"}], "paging": {"cursors": {"after": "abc"}, "next": "https://x"}}
    second = {"data": [{"id": "2", "description": "ours [audience-sync 7f3a]"}]}
    connector, partner = _started(answered(first), answered(second))
    assert connector.ensure_audience(made_up_audience()) == "2"
    assert [sent.params.get("after") for sent in partner.requests] == [None, "abc"]


def test_a_cursor_that_turns_in_a_circle_ends() -> None:
    """A page that leads to itself is read once."""
    page = answered({"data": [], "paging": {"cursors": {"after": "abc"}, "next": "https://x"}})
    connector, partner = _started(page, page, answered({"id": "9"}))
    assert connector.ensure_audience(made_up_audience()) == "9"
    assert len(partner.requests) == 3


def test_pages_shrink_when_meta_cannot_take_them() -> None:
    """Fewer lists are asked for when Meta says so."""
    much = {"error": {"code": 1, "message": "Please reduce the amount of data you're asking for"}}
    ours = {"data": [{"id": "2", "description": "[audience-sync 7f3a]"}]}
    connector, partner = _started(answered(much, 500), answered(much, 500), answered(ours))
    assert connector.ensure_audience(made_up_audience()) == "2"
    assert [sent.params["limit"] for sent in partner.requests] == ["100", "50", "25"]


def test_a_proof_is_the_references() -> None:
    """The proof of the app secret, checked against Meta's own library."""
    secret = "0123456789abcdef0123456789abcdef"
    connector, partner = _started(answered(SIZES), app_secret=secret)
    connector.statistics("23851")
    assert partner.requests[0].params["appsecret_proof"] == (
        "99cbac345910084e738e780a0d5a02f2421ea86e53d6f64eff41e367a76944c6"
    )


def test_a_timestamped_proof_is_the_references(monkeypatch: pytest.MonkeyPatch) -> None:
    """The form of the proof that is good for five minutes."""
    monkeypatch.setattr("connectors._meta_graph.time.time", lambda: 1795219200.9)
    secret = "0123456789abcdef0123456789abcdef"
    connector, partner = _started(answered(SIZES), app_secret=secret, timestamped_proof=True)
    connector.statistics("23851")
    params = partner.requests[0].params
    assert params["appsecret_time"] == "1795219200"
    assert params["appsecret_proof"] == (
        "5dd601f1fd2164e65c5341332583f1d6c7763b7df6cb7246f2ec28a60f842c37"
    )


def test_statistics_are_read() -> None:
    """A size range and Meta's states in our words."""
    connector, _ = _started(answered(SIZES))
    found = connector.statistics("23851")
    assert (found.size_lower, found.size_upper) == (8200, 9600)
    assert (found.status, found.usable) == ("normal, ready for use", True)


def test_sizes_that_are_not_told_are_none() -> None:
    """Minus one is no size, and a flagged list is not usable."""
    flagged = {
        "approximate_count_lower_bound": -1,
        "approximate_count_upper_bound": -1,
        "operation_status": {"code": 471},
        "delivery_status": {"code": 200},
    }
    connector, _ = _started(answered(flagged))
    found = connector.statistics("23851")
    assert (found.size_lower, found.size_upper, found.usable) == (None, None, False)
    assert found.status == "flagged by policy, ready for use"


def test_unaccepted_terms_are_named_with_their_page() -> None:
    """A check finds missing terms before anything is created."""
    connector, _ = _started(answered({"id": "act_1", "tos_accepted": {}}), business_id="42")
    with pytest.raises(AuthenticationError) as caught:
        connector.check()
    assert "customaudiences/tos/?act=1234567890&business_id=42" in str(caught.value)


@pytest.mark.parametrize("account", ["act_12", "12"])
def test_the_account_is_written_either_way(account: str) -> None:
    """The prefix of an ad account is optional."""
    settings = MetaSettings(ad_account_id=account, access_token="x")
    assert settings.ad_account_id == "12"


@pytest.mark.parametrize("account", ["", "act_", "12a", "\N{FULLWIDTH DIGIT ONE}", "act_12/../3"])
def test_an_account_that_is_none_is_refused(account: str) -> None:
    """An account is digits, so that it cannot lead to another address."""
    with pytest.raises(ValidationError):
        MetaSettings(ad_account_id=account, access_token="x")


def test_a_remote_id_is_digits() -> None:
    """An adopted list cannot lead to another address either."""
    connector, partner = _started()
    with pytest.raises(ConfigurationError):
        connector.statistics("23851/users")
    assert partner.requests == []
