"""Exact requests to X, and what its answers become."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from audience_sync.connector import (
    Answer,
    ConfigurationError,
    Kind,
    Members,
    RefusedError,
    TemporaryPartnerError,
)
from audience_sync.testing.builders import (
    FakePartner,
    answered,
    identifiers,
    made_up_audience,
    made_up_members,
    made_up_upload,
)
from connectors._x_calls import XSettings
from connectors._x_wire import day_after
from connectors.x import XConnector

# SHA-256 of jane.doe@example.com, janedoe@gmail.com, 14155550123 and of a device, as in the sheet.
JANE = "86e0b9e56c17cc4d12387e1949b85053fbe73bc3ce5a1188713a9d300cc6133d"
OTHER = "d6117306485ed0e50afab3ac871e98f81699151f30281527d63ff5f233656c69"
PHONE = "413ba75461ab5f99d36820e561ea97e2bd80f9cb586f7ecea6cf4c496518950a"
DEVICE = "d4181bb455a74b3bc8b37c75ac9b2c702eb6b9930bd040b861403b31ca85634d"
NONE = "00" * 32
USERS = "12/accounts/18ce54d4x5t/custom_audiences/2906h/users"
LISTS = "12/accounts/18ce54d4x5t/custom_audiences"
KINDS = (Kind.EMAIL, Kind.PHONE, Kind.IDFA, Kind.GAID)


@pytest.fixture(autouse=True)
def _fixed_day(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fixed(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime(2026, 11, 21, 9, 30, tzinfo=tz)

    monkeypatch.setattr("connectors._x_wire.datetime", Fixed)


def _started(*answers: Answer | Exception, **changes: Any) -> tuple[XConnector, FakePartner]:
    usual = {
        "account_id": "18ce54d4x5t",
        "consumer_key": "ckey",
        "consumer_secret": "csecret",
        "access_token": "tkey",
        "access_token_secret": "tsecret",
    }
    partner = FakePartner(*answers)
    connector = XConnector(XSettings(**(usual | changes)), partner)
    partner.bind(connector)
    return connector, partner


def _counted(count: int, total: int | None = None) -> Answer:
    return answered({"data": {"success_count": count, "total_count": total or count}})


def _column(*rows: list[str]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.array([[list(bytes.fromhex(v)) for v in row] for row in rows], dtype=np.uint8)


def _people() -> Members:
    return Members(
        {
            Kind.EMAIL: _column([JANE, NONE], [OTHER, JANE]),
            Kind.PHONE: _column([PHONE], [NONE]),
            Kind.GAID: _column([NONE], [DEVICE]),
        }
    )


def test_an_addition_is_as_the_reference_says() -> None:
    """A top-level array, a capital verb, arrays of values, and an expiry within 13 months."""
    connector, partner = _started(_counted(3))
    receipt = connector.add(made_up_upload(remote_id="2906h"), _people())
    [sent] = partner.requests
    assert (sent.method, sent.url, sent.content_type) == ("POST", USERS, "application/json")
    assert sent.json() == [
        {
            "operation_type": "Update",
            "params": {
                "expires_at": "2027-12-16T00:00:00Z",
                "users": [
                    {"email": [JANE], "phone_number": [PHONE]},
                    {"email": [OTHER], "device_id": [DEVICE]},
                    {"email": [JANE]},
                ],
            },
        }
    ]
    assert (receipt.accepted, receipt.sent) == (2, 2)


def test_a_removal_is_as_the_reference_says() -> None:
    """The same array with the other verb, and no expiry."""
    connector, partner = _started(_counted(2))
    members = Members({Kind.EMAIL: _column([JANE], [OTHER])})
    connector.remove(made_up_upload(remote_id="2906h", consent=None), members)
    [sent] = partner.requests
    assert (sent.method, sent.url) == ("POST", USERS)
    users = [{"email": [JANE]}, {"email": [OTHER]}]
    assert sent.json() == [{"operation_type": "Delete", "params": {"users": users}}]


def test_the_expiry_is_the_settings_and_always_within_thirteen_months() -> None:
    """Even the shortest thirteen months, from a first of February, are longer."""
    connector, partner = _started(_counted(1), membership_days=90)
    connector.add(made_up_upload(remote_id="2906h"), Members({Kind.EMAIL: _column([JANE])}))
    assert partner.requests[0].json()[0]["params"]["expires_at"] == "2027-02-19T00:00:00Z"
    longest = datetime(2027, 2, 1, tzinfo=UTC) + timedelta(days=392)
    assert longest < datetime(2028, 3, 1, tzinfo=UTC)
    with pytest.raises(ValidationError):
        _started(membership_days=393)
    assert day_after(1) == "2026-11-22T00:00:00Z"


def test_members_are_sent_again_before_x_forgets_them() -> None:
    """A month is left for failed attempts."""
    connector, _ = _started(membership_days=120)
    assert XConnector.refresh_after(connector.settings) == timedelta(days=90)


def test_a_list_is_created_as_the_reference_says() -> None:
    """Name and description in the query, a space as %20, and no body."""
    connector, partner = _started(answered({"data": []}), answered({"data": {"id": "2906h"}}))
    assert connector.ensure_audience(made_up_audience(title="VIP buyers")) == "2906h"
    listed, made = partner.requests
    assert (listed.method, listed.url) == ("GET", f"{LISTS}?count=1000&permission_scope=OWNER")
    assert (made.method, made.body) == ("POST", None)
    assert made.url == (
        f"{LISTS}?name=lapsed-vip&description=VIP%20buyers%20%5Baudience-sync%207f3a%5D"
    )


def test_our_list_is_found_on_a_later_page_under_any_name() -> None:
    """The marker decides; somebody may have renamed the list."""
    first = {"data": [{"id": "1a", "name": "other"}], "next_cursor": "c/1"}
    ours = {"id": "2b", "name": "renamed", "description": "x [audience-sync 7f3a]"}
    connector, partner = _started(answered(first), answered({"data": [ours], "next_cursor": None}))
    assert connector.ensure_audience(made_up_audience()) == "2b"
    assert partner.requests[1].url.endswith("&cursor=c%2F1")


def test_a_cursor_that_turns_in_a_circle_ends() -> None:
    """A page that leads to itself is read once."""
    page = answered({"data": [], "next_cursor": "c1"})
    connector, partner = _started(page, page, answered({"data": {"id": "9"}}))
    assert connector.ensure_audience(made_up_audience()) == "9"
    assert len(partner.requests) == 3


def test_a_list_whose_creation_was_not_heard_of_is_found() -> None:
    """X refuses the second list of a name; the first one, with our marker, is the answer."""
    taken = answered({"errors": [{"code": "INVALID_PARAMETER", "parameter": "name"}]}, 400)
    ours = {"id": "2b", "name": "lapsed-vip", "description": "[audience-sync 7f3a]"}
    connector, _ = _started(answered({"data": []}), taken, answered({"data": [ours]}))
    assert connector.ensure_audience(made_up_audience()) == "2b"


def test_a_refused_creation_is_told() -> None:
    """Where no list of ours turns up, the refusal stands."""
    no = answered({"errors": [{"code": "INVALID_PARAMETER", "parameter": "account_id"}]}, 400)
    connector, _ = _started(answered({"data": []}), no, answered({"data": []}))
    with pytest.raises(RefusedError, match="settings"):
        connector.ensure_audience(made_up_audience())


@pytest.mark.parametrize(("success", "total"), [(2, 3), (3, 4), (2, 2), (None, None)])
def test_counts_that_differ_are_a_failure(success: Any, total: Any) -> None:
    """A request is taken whole or not at all, whatever the status says."""
    counts = {"success_count": success, "total_count": total}
    connector, _ = _started(answered({"data": counts}))
    with pytest.raises(TemporaryPartnerError, match="whole batch"):
        connector.add(made_up_upload(remote_id="2906h"), _people())


def _bad(parameter: str = "email") -> Answer:
    error = {"code": "INVALID_PARAMETER", "message": "no", "parameter": parameter}
    return answered({"errors": [], "operation_errors": [[error]]}, 400)


def test_a_bad_user_is_found_by_halves() -> None:
    """Halves are sent until the user is alone; all others arrive."""
    members = made_up_members(4, (Kind.EMAIL,))
    connector, partner = _started(_bad(), _bad(), _bad(), _counted(1), _counted(2))
    receipt = connector.add(made_up_upload(remote_id="2906h"), members)
    assert [(r.position, r.reason) for r in receipt.rejected] == [(3, "invalid_user")]
    assert receipt.accepted == 3
    assert [len(sent.json()[0]["params"]["users"]) for sent in partner.requests] == [4, 2, 1, 1, 2]


@pytest.mark.parametrize("parameter", ["expires_at", "operation_type", "", "effective_at"])
def test_a_fault_of_the_operation_is_nobodys_rejection(parameter: str) -> None:
    """A refusal that is not about users rejects none of them."""
    connector, partner = _started(_bad(parameter))
    with pytest.raises(RefusedError):
        connector.add(made_up_upload(remote_id="2906h"), made_up_members(4, (Kind.EMAIL,)))
    assert len(partner.requests) == 1


def test_a_batch_of_bad_users_is_given_up() -> None:
    """The search ends before it has cost a window's requests."""
    connector, partner = _started()
    partner.always = _bad()
    with pytest.raises(RefusedError):
        connector.add(made_up_upload(remote_id="2906h"), made_up_members(5_000, (Kind.EMAIL,)))
    assert len(partner.requests) == 301


@pytest.mark.parametrize(
    "much",
    [
        answered({"errors": [{"code": "REQUEST_TOO_COMPLEX"}]}, 400),
        answered(b"<html>too large</html>", 413),
    ],
)
def test_what_is_too_much_goes_by_halves(much: Answer) -> None:
    """And a single user that is too much is the request's fault, not the user's."""
    members = made_up_members(5, (Kind.EMAIL,))
    connector, partner = _started(much, _counted(2), _counted(3))
    assert connector.add(made_up_upload(remote_id="2906h"), members).accepted == 5
    sent = [set(_emails(request.json())) for request in partner.requests]
    assert sent[1] | sent[2] == sent[0] == identifiers(members)
    connector, _ = _started(much)
    with pytest.raises(RefusedError):
        connector.add(made_up_upload(remote_id="2906h"), members.take([0]))


def _emails(body: Any) -> list[str]:
    return [value for user in body[0]["params"]["users"] for value in user["email"]]


def test_a_full_batch_fits_into_five_megabytes() -> None:
    """With two identifiers of each of four kinds, which is the most that a batch can have."""
    limits = XConnector.limits
    members = made_up_members(limits.members_per_request, KINDS, slots=2, forms=XConnector.forms)
    connector, partner = _started(_counted(4 * limits.members_per_request))
    connector.add(made_up_upload(remote_id="2906h"), members)
    size = len(partner.requests[0].body or b"")
    assert limits.bytes_per_request == 5_000_000 >= size > 4_500_000
    assert len(partner.requests[0].json()) == 1  # operation of 2,500, whatever it holds


def test_members_without_an_identifier_for_x_are_rejected() -> None:
    """A member that no key can carry is accounted for and not sent."""
    connector, partner = _started()
    receipt = connector.add(made_up_upload(), made_up_members(2, (Kind.EXTERNAL_ID,)))
    assert [r.reason for r in receipt.rejected] == ["no_usable_identifier"] * 2
    assert partner.requests == []


def test_nobody_is_put_on_the_do_not_reach_list_unasked() -> None:
    """It is one more transfer about somebody who withdrew, so the project has to want it."""
    connector, partner = _started()
    assert connector.withdraw(_people()) is None
    assert partner.requests == []


def test_a_withdrawal_is_as_the_reference_says() -> None:
    """E-mail and phone only, below /batch, with an expiry and no effective_at."""
    counted = answered({"data": [{"success_count": 3, "total_count": 3}]})
    lists = answered({"data": [{"id": "dnr1"}]})
    connector, partner = _started(lists, counted, do_not_reach=True, do_not_reach_days=30)
    receipt = connector.withdraw(_people())
    listed, sent = partner.requests
    assert listed.url == "12/accounts/18ce54d4x5t/do_not_reach_lists"
    assert (sent.method, sent.url) == (
        "POST",
        "12/batch/accounts/18ce54d4x5t/do_not_reach_lists/dnr1/users",
    )
    assert sent.json() == [
        {
            "operation_type": "Update",
            "params": {
                "expires_at": "2026-12-21T00:00:00Z",
                "users": [  # one shape of user after the other
                    {"email": [OTHER]},
                    {"email": [JANE], "phone_number": [PHONE]},
                    {"email": [JANE]},
                ],
            },
        }
    ]
    assert receipt is not None
    assert (receipt.accepted, receipt.sent) == (2, 2)


def test_the_do_not_reach_list_is_made_once() -> None:
    """An account has one at most; it is made where there is none."""
    made, counted = answered({"data": {"id": "dnr1"}}), _counted(1)
    connector, partner = _started(answered({"data": []}), made, counted, do_not_reach=True)
    connector.withdraw(Members({Kind.EMAIL: _column([JANE])}))
    assert partner.requests[1].url == (
        "12/accounts/18ce54d4x5t/do_not_reach_lists"
        "?name=Do%20Not%20Reach%20List&description=people%20who%20withdrew"
    )


def test_devices_are_no_withdrawal_at_x() -> None:
    """Whoever is known by a device only is accounted for and not sent."""
    connector, _ = _started(answered({"data": [{"id": "dnr1"}]}), do_not_reach=True)
    receipt = connector.withdraw(made_up_members(2, (Kind.IDFA,)))
    assert receipt is not None
    assert [r.reason for r in receipt.rejected] == ["no_usable_identifier"] * 2


def test_a_list_is_deleted_as_the_reference_says() -> None:
    """X shows it once more, deleted; without that word nobody counts as gone."""
    connector, partner = _started(answered({"data": {"id": "2906h", "deleted": True}}))
    connector.delete_audience("2906h")
    (sent,) = partner.requests
    assert (sent.method, sent.url, sent.body) == ("DELETE", f"{LISTS}/2906h", None)
    for shown in ({"id": "2906h"}, {"id": "2906h", "deleted": False}):
        connector, _ = _started(answered({"data": shown}))
        with pytest.raises(TemporaryPartnerError, match="deleted"):
            connector.delete_audience("2906h")


@pytest.mark.parametrize("code", ["NOT_FOUND", "TAILORED_AUDIENCE_NOT_FOUND"])
def test_a_list_that_is_gone_counts_as_deleted(code: str) -> None:
    """X says the same of a list of another account, so the account must not list it."""
    missing = answered({"errors": [{"code": code}]}, 404)
    connector, partner = _started(missing, answered({"data": []}))
    connector.delete_audience("2906h")
    assert partner.requests[1].url == f"{LISTS}?custom_audience_ids=2906h"
    connector, _ = _started(missing, answered({"data": [{"id": "2906h"}]}))
    with pytest.raises(RefusedError):
        connector.delete_audience("2906h")


def test_an_address_that_x_does_not_know_is_no_deletion() -> None:
    """A web page or another code with HTTP 404 is a wrong address, and no list that is gone."""
    for answer in (answered(b"<html></html>", 404), answered({"errors": []}, 404)):
        connector, partner = _started(answer)
        with pytest.raises(RefusedError):
            connector.delete_audience("2906h")
        assert len(partner.requests) == 1


def test_a_list_that_x_shows_as_deleted_is_gone() -> None:
    """A deleted list may be shown for a while; ads use it no more, and it may be forgotten."""
    connector, _ = _started(answered({"data": {"id": "2906h", "deleted": True}}))
    with pytest.raises(RefusedError, match="does not know"):
        connector.statistics("2906h")
    ours = {"id": "2906h", "description": "[audience-sync 7f3a]", "deleted": True}
    made = answered({"data": {"id": "2907"}})
    connector, _ = _started(answered({"data": [ours]}), made)
    assert connector.ensure_audience(made_up_audience()) == "2907"


def test_statistics_are_read() -> None:
    """One size and X's reasons in words."""
    found = {"id": "2906h", "audience_size": 8200, "targetable": True}
    connector, partner = _started(answered({"data": found}))
    told = connector.statistics("2906h")
    assert partner.requests[0].url == f"{LISTS}/2906h"
    assert (told.size_lower, told.size_upper, told.status, told.usable) == (
        8200,
        8200,
        "targetable",
        True,
    )
    reasons = ["PROCESSING", "TOO_SMALL"]
    early = {"audience_size": None, "targetable": False, "reasons_not_targetable": reasons}
    connector, _ = _started(answered({"data": early}))
    told = connector.statistics("2906h")
    assert (told.size_lower, told.usable) == (None, False)
    assert told.status == "not targetable, processing, too small"


@pytest.mark.parametrize("remote_id", ["", "29/06", "29?06", "..", "29 06"])
def test_a_remote_id_leads_to_no_other_address(remote_id: str) -> None:
    """An adopted list is letters and digits."""
    connector, partner = _started()
    with pytest.raises(ConfigurationError):
        connector.statistics(remote_id)
    with pytest.raises(ConfigurationError):
        connector.add(made_up_upload(remote_id=remote_id), _people())
    assert partner.requests == []


@pytest.mark.parametrize("account", ["", "18/ce", "18CE", "a b"])
def test_an_account_that_is_none_is_refused(account: str) -> None:
    """Base-36 text, so that it can lead to no other address either."""
    with pytest.raises(ValidationError):
        _started(account_id=account)


def test_the_form_of_phones_is_a_setting() -> None:
    """X documents no rule, so the form can be changed, or phones left out."""
    plain, _ = _started()
    assert XConnector.sendable(plain.settings)[Kind.PHONE] == "phone/digits"
    other, _ = _started(phone_form="phone/e164")
    assert XConnector.sendable(other.settings)[Kind.PHONE] == "phone/e164"
    none, _ = _started(phone_form="off")
    assert set(XConnector.sendable(none.settings)) == {Kind.EMAIL, Kind.IDFA, Kind.GAID}
    with pytest.raises(ValidationError, match="phone/digits"):
        _started(phone_form="digits")


SIGNED = [
    ("POST", f"https://ads-api.x.com/{USERS}", {}, "Al7CFICmlE2fh9ghSgYvlkYTTvo="),
    (
        "POST",
        f"https://ads-api.x.com/{LISTS}?name=VIP%20buyers&description=Q4%20list",
        {},
        "uKAIrfB409h3LVyllaV4BrcGj+E=",
    ),
    (
        "POST",
        f"https://ads-api.x.com/{LISTS}",
        {"name": "VIP buyers", "description": "Q4 list"},
        "uKAIrfB409h3LVyllaV4BrcGj+E=",
    ),
]


@pytest.mark.parametrize(("method", "url", "params", "signature"), SIGNED)
def test_a_signature_is_the_references(
    monkeypatch: pytest.MonkeyPatch, method: str, url: str, params: dict[str, str], signature: str
) -> None:
    """The published vectors; the query is signed and a JSON body is not."""
    monkeypatch.setattr("oauthlib.oauth1.rfc5849.generate_nonce", lambda: "nonce123")
    monkeypatch.setattr("oauthlib.oauth1.rfc5849.generate_timestamp", lambda: "1795305600")
    connector, _ = _started()
    header = connector.sign(method, url, params, b'[{"operation_type":"Update"}]')["Authorization"]
    quoted = signature.replace("+", "%2B").replace("=", "%3D")
    assert f'oauth_signature="{quoted}"' in header
    assert header.startswith("OAuth ")
    assert "body_hash" not in header


def test_each_attempt_is_signed_anew() -> None:
    """A nonce is good for one request; a repeated one is refused."""
    connector, _ = _started()
    url = f"https://ads-api.x.com/{USERS}"
    assert connector.sign("POST", url, {}, None) != connector.sign("POST", url, {}, None)
