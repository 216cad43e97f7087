"""Requests to Google are exactly those of its reference, and its answers are read to the end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from audience_sync.connector import (
    Answer,
    ConfigurationError,
    Consent,
    Kind,
    Members,
    RefusedError,
    TemporaryPartnerError,
)
from audience_sync.testing.builders import (
    FakePartner,
    Sent,
    answered,
    made_up_audience,
    made_up_members,
    made_up_upload,
)
from connectors.google import GoogleConnector, GoogleSettings

NOW = 1_795_219_200  # seconds; midnight UTC
DANA = "07e2f1394b0ea80e2adca010ea8318df697001a005ba7452720edda4b0ce57b3"
DANAM = "1df6b43bc68dd38eca94e6a65b4f466ae537b796c81a526918b40ac4a7b906c7"
PHONE = "fb4f73a6ec5fdb7077d564cdd22c3554b43ce49168550c3b12c547b78c517b30"
GAID = "38400000-8cf0-11bd-b23e-10b96e40000d"
LISTS = "v1/accountTypes/GOOGLE_ADS/accounts/1234567890/userLists"
OPERATING = {"accountType": "GOOGLE_ADS", "accountId": "1234567890"}
SAID = {
    "consent": {"adUserData": "CONSENT_GRANTED", "adPersonalization": "CONSENT_GRANTED"},
    "termsOfService": {"customerMatchTermsOfServiceStatus": "ACCEPTED"},
}
CREDENTIALS = (
    '{"type":"authorized_user","client_id":"1.apps.example","client_secret":"GOCSPX",'
    '"refresh_token":"1//refresh"}'
)
MOBILE = {
    "allow_unhashed_device_ids": True,
    "ios_app_id": "123456789",
    "android_app_id": "com.example.app",
}


class Partner(FakePartner):
    """A scripted partner that always has a token."""

    def respond(self, sent: Sent) -> Answer:
        assert sent.anonymous, "no answer is prepared"
        return answered({"access_token": "ya29.x", "expires_in": 3599})


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    at = [float(NOW)]
    monkeypatch.setattr("connectors._google_upload.time.time", lambda: at[0])
    return at


def _started(*answers: Answer | Exception, **changes: Any) -> tuple[GoogleConnector, FakePartner]:
    usual: dict[str, Any] = {"operating_account": "123-456-7890", "credentials": CREDENTIALS}
    partner = Partner(*answers)
    connector = GoogleConnector(GoogleSettings(**(usual | changes)), partner)
    partner.bind(connector)
    return connector, partner


def _request(number: int = 1) -> Answer:
    return answered({"requestId": f"126365e1-16d0-4c81-9de9-{number:012}"})


def _bad(rows: list[int], reason: str = "INVALID_HEX_ENCODING") -> Answer:
    field = "audience_members.audience_members[{}].composite_data.user_data.user_identifiers"
    details: list[dict[str, Any]] = [{"reason": reason, "metadata": {"requestId": "t-a8896317"}}]
    details.append(
        {"fieldViolations": [{"field": field.format(row), "reason": reason} for row in rows]}
    )
    error = {"code": 400, "status": "INVALID_ARGUMENT", "details": details}
    return answered({"error": error}, 400)


def _column(*rows: list[str]) -> np.ndarray[Any, Any]:
    raw = [[list(bytes.fromhex(cell.replace("-", ""))) for cell in row] for row in rows]
    return np.array(raw, dtype=np.uint8)


def test_an_ingest_is_the_references() -> None:
    """Members with all their identifiers, the consent that was given, the terms, the encoding."""
    connector, partner = _started(
        _request(),
        login_account="999-888-7777",
        linked_account="5551234",
        linked_account_type="DATA_PARTNER",
    )
    members = Members({Kind.EMAIL: _column([DANA, DANAM]), Kind.PHONE: _column([PHONE, "00" * 32])})
    receipt = connector.add(made_up_upload(remote_id="contact:9876543210"), members)
    sent = partner.uploads[0]
    assert (sent.method, sent.url) == ("POST", "v1/audienceMembers:ingest")
    assert dict(sent.headers) == {"Authorization": "Bearer ya29.x"}
    assert sent.json() == {
        "destinations": [
            {
                "operatingAccount": OPERATING,
                "loginAccount": {"accountType": "GOOGLE_ADS", "accountId": "9998887777"},
                "linkedAccount": {"accountType": "DATA_PARTNER", "accountId": "5551234"},
                "productDestinationId": "9876543210",
            }
        ],
        "audienceMembers": [
            {
                "compositeData": {
                    "userData": {
                        "userIdentifiers": [
                            {"emailAddress": DANA},
                            {"emailAddress": DANAM},
                            {"phoneNumber": PHONE},
                        ]
                    }
                }
            }
        ],
        **SAID,
        "encoding": "HEX",
        "validateOnly": False,
    }
    assert (receipt.accepted, receipt.pending, receipt.poll_after) == (1, True, 1800.0)


def test_a_removal_is_the_references() -> None:
    """A removal says nothing of consent or terms; a bare number is a contact list."""
    connector, partner = _started(_request())
    members = Members({Kind.EMAIL: _column([DANA])})
    connector.remove(made_up_upload(remote_id="9876543210", consent=None), members)
    assert partner.uploads[0].url == "v1/audienceMembers:remove"
    assert partner.uploads[0].json() == {
        "destinations": [{"operatingAccount": OPERATING, "productDestinationId": "9876543210"}],
        "audienceMembers": [
            {"compositeData": {"userData": {"userIdentifiers": [{"emailAddress": DANA}]}}}
        ],
        "encoding": "HEX",
        "validateOnly": False,
    }


def test_devices_go_to_a_list_of_their_own() -> None:
    """Hashes and each system's devices are separate requests; devices have no encoding."""
    connector, partner = _started(_request(1), _request(2), **MOBILE)
    members = Members({Kind.EMAIL: _column([DANA]), Kind.GAID: _column([GAID])})
    receipt = connector.add(made_up_upload(remote_id="contact:98,ios:12,android:13"), members)
    assert [sent.json()["destinations"][0]["productDestinationId"] for sent in partner.uploads] == [
        "98",
        "13",
    ]
    assert partner.uploads[1].json() == {
        "destinations": [{"operatingAccount": OPERATING, "productDestinationId": "13"}],
        "audienceMembers": [{"mobileData": {"mobileIds": [GAID]}}],
        **SAID,
        "validateOnly": False,
    }
    assert receipt.accepted == receipt.sent == 1


@pytest.mark.parametrize(
    ("consent", "words"),
    [
        (Consent(ad_user_data=True, ad_personalization=False), ("GRANTED", "DENIED")),
        (Consent(ad_user_data=False, ad_personalization=True), ("DENIED", "GRANTED")),
    ],
)
def test_consent_is_what_was_said(consent: Consent, words: tuple[str, str]) -> None:
    """Each signal is sent as it was decided."""
    connector, partner = _started(_request())
    connector.add(made_up_upload(consent=consent), made_up_members(1, (Kind.EMAIL,)))
    assert partner.uploads[0].json()["consent"] == {
        "adUserData": f"CONSENT_{words[0]}",
        "adPersonalization": f"CONSENT_{words[1]}",
    }


def test_bad_rows_are_left_out_and_named() -> None:
    """Google refuses a whole request for one bad row; the others go again in the same call."""
    connector, partner = _started(_bad([0, 2]), _bad([1], "INVALID_FORMAT"), _request())
    members = made_up_members(5, (Kind.EMAIL,))
    receipt = connector.add(made_up_upload(), members)
    assert [(r.position, r.reason) for r in receipt.rejected] == [
        (0, "INVALID_HEX_ENCODING"),
        (2, "INVALID_HEX_ENCODING"),
        (3, "INVALID_FORMAT"),
    ]
    assert (receipt.accepted, receipt.sent) == (2, 5)
    assert len(partner.uploads[-1].json()["audienceMembers"]) == 2


def test_bad_rows_are_found_behind_their_patterns() -> None:
    """Rows are written in another order than the members; the right member is named."""
    nothing = "00" * 32
    members = Members(
        {
            Kind.EMAIL: _column([DANA], [nothing], [DANAM]),
            Kind.PHONE: _column([PHONE], [PHONE], [nothing]),
        }
    )
    probe, partner = _started(_request())
    probe.add(made_up_upload(), members)
    rows = partner.uploads[0].json()["audienceMembers"]
    identifiers = [row["compositeData"]["userData"]["userIdentifiers"] for row in rows]
    at = identifiers.index([{"phoneNumber": PHONE}])
    connector, _ = _started(_bad([at]), _request())
    assert [r.position for r in connector.add(made_up_upload(), members).rejected] == [1]


def test_unnamed_bad_rows_are_searched_for_without_storing() -> None:
    """Halves are only validated until the bad rows are known; one real request follows."""
    members = made_up_members(64, (Kind.EMAIL,))
    bad = {members.column(Kind.EMAIL)[at] for at in (5, 40)}

    class Fussy(Partner):
        def respond(self, sent: Sent) -> Answer:
            if sent.anonymous:
                return super().respond(sent)
            return (
                _bad([])
                if any(text.encode() in (sent.body or b"") for text in bad)
                else (_request())
            )

    partner = Fussy()
    settings = GoogleSettings(operating_account="1", credentials=CREDENTIALS)
    connector = GoogleConnector(settings, partner)
    partner.bind(connector)
    receipt = connector.add(made_up_upload(), members)
    assert [r.position for r in receipt.rejected] == [5, 40]
    assert receipt.accepted == 62
    real = [sent for sent in partner.uploads if not sent.json()["validateOnly"]]
    assert [len(sent.json()["audienceMembers"]) for sent in real] == [64, 62]
    assert len(partner.uploads) < 40


def test_a_search_without_end_is_given_up() -> None:
    """A partner that refuses everything without a word is refused; nothing was stored."""
    connector, partner = _started(*[_bad([])] * 500)
    with pytest.raises(RefusedError):
        connector.add(made_up_upload(), made_up_members(5_000, (Kind.EMAIL,)))
    assert all(sent.json()["validateOnly"] for sent in partner.uploads[1:])
    assert len(partner.uploads) <= 301


def test_a_batch_of_bad_rows_only_is_not_pending() -> None:
    """When nothing is left there is nothing to poll."""
    connector, _ = _started(_bad([0, 1]))
    receipt = connector.add(made_up_upload(), made_up_members(2, (Kind.EMAIL,)))
    assert (receipt.accepted, len(receipt.rejected), receipt.pending) == (0, 2, False)
    assert receipt.reference is None


def test_a_member_in_two_lists_is_rejected_by_both_or_not_at_all() -> None:
    """A member whose e-mail is bad but whose device is taken is held, and so not rejected."""
    connector, _ = _started(_bad([0]), _request(1), _request(2), **MOBILE)
    members = made_up_members(2, (Kind.EMAIL, Kind.GAID))
    receipt = connector.add(made_up_upload(remote_id="contact:98,android:13"), members)
    assert (receipt.accepted, receipt.rejected) == (2, ())


def test_a_removal_that_one_list_refused_is_not_done() -> None:
    """Whoever stays on one of the lists has not left, though the others let them go."""
    connector, _ = _started(_bad([0]), _request(1), _request(2), **MOBILE)
    members = made_up_members(2, (Kind.EMAIL, Kind.GAID))
    upload = made_up_upload(remote_id="contact:98,android:13", consent=None)
    receipt = connector.remove(upload, members)
    assert [(r.position, r.reason) for r in receipt.rejected] == [(0, "INVALID_HEX_ENCODING")]
    assert receipt.accepted == 1


@pytest.mark.parametrize("count", [1, 2, 40])
def test_a_fault_that_is_in_no_row_rejects_nobody(count: int) -> None:
    """What Google finds wrong with the request itself is no fault of its members."""
    violation = {"field": "destinations.destinations[0].operating_account", "reason": "x"}
    details = [{"reason": "REQUIRED_FIELD_MISSING"}, {"fieldViolations": [violation]}]
    wrong = answered({"error": {"code": 400, "details": details}}, 400)
    connector, partner = _started(*[wrong] * 99)
    with pytest.raises(RefusedError) as refused:
        connector.remove(made_up_upload(consent=None), made_up_members(count, (Kind.EMAIL,)))
    assert refused.value.code == "REQUIRED_FIELD_MISSING in the request"
    assert len(partner.uploads) == 1


def test_a_body_that_is_too_large_is_halved() -> None:
    """Google documents no byte limit; a server on the way may have one."""
    large = answered(b"<html>Request Entity Too Large</html>", 413)
    connector, partner = _started(large, _request(1), large, _request(2), _request(3))
    receipt = connector.add(made_up_upload(), made_up_members(9, (Kind.EMAIL,)))
    assert (receipt.accepted, receipt.sent) == (9, 9)
    assert [len(sent.json()["audienceMembers"]) for sent in partner.uploads] == [9, 5, 4, 2, 2]
    assert receipt.reference is not None
    assert receipt.reference.split(";", 2)[2].count(";") == 2
    connector, _ = _started(large)
    with pytest.raises(RefusedError):
        connector.add(made_up_upload(), made_up_members(1, (Kind.EMAIL,)))


def test_members_without_a_list_are_rejected() -> None:
    """A device without a list of its system is accounted for and not sent."""
    connector, partner = _started(**MOBILE)
    receipt = connector.add(made_up_upload(remote_id="98"), made_up_members(2, (Kind.IDFA,)))
    assert [r.reason for r in receipt.rejected] == ["no_usable_identifier"] * 2
    assert partner.uploads == []


def test_devices_that_are_allowed_later_get_their_lists() -> None:
    """The missing list is looked for and made; those that are there stay, and cost no request."""
    kinds = (Kind.EMAIL, Kind.IDFA, Kind.GAID)
    asked = made_up_audience(kinds=kinds)
    connector, partner = _started(answered({}), answered({"id": "13"}), **MOBILE)
    completed = connector.complete_audience("contact:98,ios:12", asked)
    assert completed == "contact:98,ios:12,android:13"
    assert partner.uploads[1].json()["displayName"] == "lapsed-vip (Android)"
    partner.requests.clear()
    assert connector.complete_audience(completed, asked) == completed
    careful, _ = _started()
    assert careful.complete_audience("contact:98,ios:12", asked) == "contact:98,ios:12"
    assert careful.complete_audience("98", made_up_audience()) == "98"
    assert partner.requests == []


def test_a_device_without_a_list_is_told() -> None:
    """A member whose e-mail was taken is accepted; the log tells that the device was not sent."""
    connector, partner = _started(_request(), **MOBILE)
    members = made_up_members(2, (Kind.EMAIL, Kind.IDFA))
    receipt = connector.add(made_up_upload(remote_id="98"), members)
    assert (receipt.accepted, receipt.reason) == (2, "no_list_for_idfa")
    assert len(partner.uploads) == 1


def test_a_list_is_created_as_the_reference_says() -> None:
    """Looked for by name, then made; the login account travels in a header here."""
    connector, partner = _started(
        answered({}), answered({"id": "9876543210"}), login_account="9998887777"
    )
    assert connector.ensure_audience(made_up_audience()) == "contact:9876543210"
    looked, made = partner.uploads
    assert (looked.method, looked.url) == ("GET", LISTS)
    assert looked.params == {"filter": 'display_name="lapsed-vip"', "pageSize": "1000"}
    assert looked.headers["login-account"] == "accountTypes/GOOGLE_ADS/accounts/9998887777"
    assert (made.method, made.url) == ("POST", LISTS)
    assert made.json() == {
        "displayName": "lapsed-vip",
        "description": "VIP customers who have not bought for a while [audience-sync 7f3a]",
        "integrationCode": "lapsed-vip",
        "membershipStatus": "OPEN",
        "membershipDuration": "46656000s",
        "ingestedUserListInfo": {
            "uploadKeyTypes": ["CONTACT_ID"],
            "contactIdInfo": {"dataSourceType": "DATA_SOURCE_TYPE_FIRST_PARTY"},
        },
    }


def test_mobile_lists_name_their_app() -> None:
    """One list a system, with its key space and app."""
    connector, partner = _started(
        *(answered({}), answered({"id": "98"})),
        *(answered({}), answered({"id": "12"})),
        *(answered({}), answered({"id": "13"})),
        **MOBILE,
        account_type="DISPLAY_VIDEO_ADVERTISER",
    )
    wanted = made_up_audience(kinds=tuple(Kind))
    assert connector.ensure_audience(wanted) == "contact:98,ios:12,android:13"
    made = [sent.json() for sent in partner.uploads if sent.method == "POST"]
    assert [one["displayName"] for one in made] == [
        "lapsed-vip",
        "lapsed-vip (iOS)",
        "lapsed-vip (Android)",
    ]
    assert made[2]["ingestedUserListInfo"] == {
        "uploadKeyTypes": ["MOBILE_ID"],
        "mobileIdInfo": {
            "dataSourceType": "DATA_SOURCE_TYPE_FIRST_PARTY",
            "keySpace": "ANDROID",
            "appId": "com.example.app",
        },
    }
    assert partner.uploads[0].url.startswith("v1/accountTypes/DISPLAY_VIDEO_ADVERTISER/")


@pytest.mark.parametrize("missing", MOBILE)
def test_mobile_lists_need_permission_and_an_app(missing: str) -> None:
    """Without the permission no list for raw IDs is made; without an app none of its system."""
    changes = {name: value for name, value in MOBILE.items() if name != missing}
    connector, _ = _started(*[answered({}), answered({"id": "1"})] * 3, **changes)
    names = connector.ensure_audience(made_up_audience(kinds=tuple(Kind)))
    wanted = {"ios_app_id": "contact:1,android:1", "android_app_id": "contact:1,ios:1"}
    assert names == wanted.get(missing, "contact:1")


def test_device_ids_need_an_app_of_their_system() -> None:
    """What Google keeps in no list is not sent, so it is neither logged nor believed to be held."""
    connector, _ = _started(allow_unhashed_device_ids=True, ios_app_id="123456789")
    assert set(GoogleConnector.sendable(connector.settings)) == {
        Kind.EMAIL,
        Kind.PHONE,
        Kind.IDFA,
    }
    with pytest.raises(ValidationError, match="ios_app_id"):
        _started(allow_unhashed_device_ids=True)


def test_an_audience_without_usable_kinds_is_a_setting() -> None:
    """Nothing is made for identifiers that Google cannot use."""
    connector, _ = _started()
    with pytest.raises(ConfigurationError):
        connector.ensure_audience(made_up_audience(kinds=(Kind.EXTERNAL_ID,)))


def test_a_name_with_quotes_stays_in_its_filter() -> None:
    """A name cannot change what is asked."""
    connector, partner = _started(answered({}), answered({"id": "1"}))
    connector.ensure_audience(made_up_audience(name='a" OR "b\\'))
    assert partner.uploads[0].params["filter"] == 'display_name="a\\" OR \\"b\\\\"'


def test_our_list_is_found_on_a_later_page() -> None:
    """Pages are followed with the same question."""
    ours = {"id": "2", "displayName": "lapsed-vip", "description": "x [audience-sync 7f3a]"}
    connector, partner = _started(
        answered({"userLists": [{"id": "1", "displayName": "x"}], "nextPageToken": "t"}),
        answered({"userLists": [ours]}),
    )
    assert connector.ensure_audience(made_up_audience()) == "contact:2"
    assert partner.uploads[1].params["pageToken"] == "t"
    assert partner.uploads[1].params["filter"] == partner.uploads[0].params["filter"]


def test_a_list_that_is_not_ours_is_refused() -> None:
    """Names are unique at Google, so a stranger's list of our name needs a person."""
    theirs = {"id": "2", "displayName": "lapsed-vip", "description": "weekly import"}
    connector, _ = _started(answered({"userLists": [theirs]}))
    with pytest.raises(RefusedError, match="remote_id"):
        connector.ensure_audience(made_up_audience())


def test_a_list_whose_making_was_not_answered_is_found() -> None:
    """A lost answer does not leave us with a name that is taken by ourselves."""
    taken = answered({"error": {"details": [{"reason": "DISPLAY_NAME_ALREADY_USED"}]}}, 409)
    ours = {"id": "2", "displayName": "lapsed-vip", "description": "x [audience-sync 7f3a]"}
    connector, _ = _started(answered({}), taken, answered({"userLists": [ours]}))
    assert connector.ensure_audience(made_up_audience()) == "contact:2"


def test_a_check_makes_nothing() -> None:
    """Lists are read, and making one is only validated; a taken name proves as much."""
    taken = answered({"error": {"details": [{"reason": "DISPLAY_NAME_ALREADY_USED"}]}}, 409)
    for validated in (answered({}), taken):
        connector, partner = _started(answered({}), validated, quota_project="crm-project")
        connector.check()
        assert [sent.method for sent in partner.uploads] == ["GET", "POST"]
        assert partner.uploads[1].params == {"validateOnly": "true"}
        assert partner.uploads[0].headers["x-goog-user-project"] == "crm-project"


REQUEST = "126365e1-16d0-4c81-9de9-f362711e250a"
REFERENCE = f"{NOW - 3000};10000;10000:{REQUEST}"


def _state(status: str, **rest: Any) -> Answer:
    return answered({"requestStatusPerDestination": [{"requestStatus": status, **rest}]})


def _records(count: int, match: str | None = None) -> dict[str, Any]:
    block = {"recordCount": str(count)} | ({"uploadMatchRateRange": match} if match else {})
    return {"audienceMembersIngestionStatus": {"compositeDataIngestionStatus": block}}


def _errors(count: int, reason: str = "NO_CONSENT") -> dict[str, Any]:
    full = f"PROCESSING_ERROR_REASON_{reason}"
    return {"errorInfo": {"errorCounts": [{"recordCount": str(count), "reason": full}]}}


def test_a_reference_holds_all_that_polling_needs() -> None:
    """Time, members, and each request with its size; it is what the transfer log shows."""
    connector, _ = _started(_request(1), _request(2), **MOBILE)
    members = made_up_members(3, (Kind.EMAIL, Kind.IDFA))
    receipt = connector.add(made_up_upload(remote_id="contact:98,ios:12"), members)
    assert receipt.reference == (
        f"{NOW};3;3:126365e1-16d0-4c81-9de9-000000000001;3:126365e1-16d0-4c81-9de9-000000000002"
    )


def test_a_final_state_is_read() -> None:
    """Failures are in the record count; the match range is in words."""
    connector, partner = _started(
        _state("PARTIAL_SUCCESS", **_errors(2), **_records(10_000, "MATCH_RATE_RANGE_61_TO_70"))
    )
    receipt = connector.poll(REFERENCE)
    assert (receipt.accepted, receipt.unattributed, receipt.pending) == (9_998, 2, False)
    assert (receipt.match_range, receipt.reason) == ("61-70 %", "NO_CONSENT")
    assert partner.uploads[0].url == "v1/requestStatus:retrieve"
    assert partner.uploads[0].params == {"requestId": REQUEST}


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("MATCH_RATE_RANGE_LESS_THAN_20", "under 20 %"),
        ("MATCH_RATE_RANGE_20_TO_30", "20-30 %"),
        ("MATCH_RATE_RANGE_91_TO_100", "91-100 %"),
        ("MATCH_RATE_RANGE_UNKNOWN", None),
        ("MATCH_RATE_RANGE_NOT_ELIGIBLE", None),
        ("<script>_TO_30", None),
        (None, None),
    ],
)
def test_match_ranges_are_words(word: str | None, wanted: str | None) -> None:
    """Only a range that Google can mean is shown."""
    connector, _ = _started(_state("SUCCESS", **_records(10_000, word)))
    assert connector.poll(REFERENCE).match_range == wanted


def test_a_failed_upload_holds_nobody() -> None:
    """FAILED means that all members are to be sent again."""
    connector, _ = _started(_state("FAILED", **_errors(10_000, "INTERNAL_ERROR")))
    receipt = connector.poll(REFERENCE)
    assert (receipt.accepted, receipt.unattributed) == (0, 10_000)
    assert receipt.reason == "INTERNAL_ERROR"


@pytest.mark.parametrize("rest", [{}, _records(10_000), _errors(0)])
def test_a_partial_success_without_counts_is_none(rest: dict[str, Any]) -> None:
    """Some failed and nobody is told how many: no removal counts as done."""
    connector, _ = _started(_state("PARTIAL_SUCCESS", **rest))
    receipt = connector.poll(REFERENCE)
    assert (receipt.accepted, receipt.unattributed, receipt.lost) == (0, 10_000, False)


def test_records_that_google_lost_are_missed() -> None:
    """Its record count is compared with what was sent."""
    connector, _ = _started(_state("SUCCESS", **_records(9_990)))
    assert connector.poll(REFERENCE).unattributed == 10


@pytest.mark.parametrize("status", ["PROCESSING", "REQUEST_STATUS_UNKNOWN", "NEW_WORD"])
def test_an_unfinished_upload_is_pending(status: str) -> None:
    """Work in progress is asked for again later."""
    connector, _ = _started(_state(status))
    receipt = connector.poll(REFERENCE)
    assert (receipt.pending, receipt.accepted, receipt.reference) == (True, 10_000, REFERENCE)
    assert receipt.poll_after == 1800.0


def test_one_destination_at_work_keeps_all_pending() -> None:
    """Each destination and each request has to be done."""
    done, open_ = {"requestStatus": "SUCCESS"}, {"requestStatus": "PROCESSING"}
    connector, _ = _started(answered({"requestStatusPerDestination": [done, open_]}))
    assert connector.poll(REFERENCE).pending
    two = f"{NOW - 3000};9;9:a;4:b"
    connector, _ = _started(_state("SUCCESS"), _state("PROCESSING"))
    assert connector.poll(two).pending


def test_failures_in_two_lists_are_not_more_than_was_sent() -> None:
    """A receipt never accounts for more members than there were."""
    connector, _ = _started(_state("FAILED"), _state("FAILED"))
    receipt = connector.poll(f"{NOW - 3000};9;9:a;9:b")
    assert (receipt.accepted, receipt.unattributed) == (0, 9)


def test_one_failed_request_of_several_loses_the_batch() -> None:
    """The contact list's failure is not hidden behind a device that another list took."""
    connector, _ = _started(_state("FAILED"), _state("SUCCESS"))
    receipt = connector.poll(f"{NOW - 3000};9;8:a;1:b")
    assert (receipt.accepted, receipt.unattributed, receipt.lost) == (1, 8, True)
    connector, _ = _started(_state("PARTIAL_SUCCESS", **_errors(2, "INVALID_FORMAT")))
    assert not connector.poll(REFERENCE).lost


def test_nobody_asks_too_early(now: list[float]) -> None:
    """Before the first half hour there is nothing to know."""
    connector, partner = _started()
    receipt = connector.poll(f"{NOW - 600};5;5:{REQUEST}")
    assert (receipt.pending, receipt.poll_after) == (True, 1200.0)
    assert partner.uploads == []


def test_an_unknown_request_is_pending_while_it_is_young(now: list[float]) -> None:
    """Google may answer 404 before it knows; after an hour it will not know any more."""
    missing = answered({"error": {"code": 404, "status": "NOT_FOUND"}}, 404)
    connector, _ = _started(missing)
    assert connector.poll(REFERENCE).pending
    now[0] += 3600
    connector, _ = _started(missing)
    with pytest.raises(RefusedError):
        connector.poll(REFERENCE)


def test_statistics_are_a_range_of_networks() -> None:
    """The smallest and the largest network, and the match rate of the contact list."""
    connector, partner = _started(
        answered(
            {
                "membershipStatus": "OPEN",
                "sizeInfo": {
                    "displayNetworkMembersCount": "12000",
                    "searchNetworkMembersCount": "11000",
                    "gmailMembersCount": "7400",
                },
                "ingestedUserListInfo": {"contactIdInfo": {"matchRatePercentage": 62}},
            }
        )
    )
    found = connector.statistics("contact:98,ios:12")
    assert partner.uploads[0].url == f"{LISTS}/98"
    assert (found.size_lower, found.size_upper, found.match_range) == (7400, 12000, "62 %")
    assert (found.status, found.usable) == ("open", True)


@pytest.mark.parametrize(
    ("answer", "usable"),
    [
        ({"membershipStatus": "OPEN"}, None),
        ({"membershipStatus": "OPEN", "sizeInfo": {"gmailMembersCount": "99"}}, False),
        ({"membershipStatus": "CLOSED", "sizeInfo": {"gmailMembersCount": "990"}}, False),
    ],
)
def test_a_list_under_a_hundred_is_not_usable(answer: dict[str, Any], usable: bool | None) -> None:
    """A size that is not told yet is not zero."""
    connector, _ = _started(answered(answer))
    assert connector.statistics("98").usable is usable


@pytest.mark.parametrize(
    "remote_id", ["", "contact:", "98,x:1", "ios:1/2", "contact:9a", "\N{FULLWIDTH DIGIT ONE}"]
)
def test_a_remote_id_is_list_ids(remote_id: str) -> None:
    """An adopted list cannot lead to another address."""
    connector, partner = _started()
    with pytest.raises(ConfigurationError):
        connector.statistics(remote_id)
    assert partner.uploads == []


def test_an_upload_without_a_receipt_is_asked_again() -> None:
    """Without a request id nothing could be confirmed later."""
    connector, _ = _started(answered({}))
    with pytest.raises(TemporaryPartnerError):
        connector.add(made_up_upload(), made_up_members(1, (Kind.EMAIL,)))


@pytest.mark.parametrize(
    "changes",
    [
        {"membership_duration_days": 541},
        {"membership_duration_days": 0},
        {"operating_account": "12a"},
        {"operating_account": ""},
        {"login_account": "../x"},
        {"account_type": "FACEBOOK"},
    ],
)
def test_settings_that_google_would_refuse_are_refused(changes: dict[str, Any]) -> None:
    """Mistakes in the project file are found before the first request."""
    usual: dict[str, Any] = {"operating_account": "1", "credentials": CREDENTIALS}
    with pytest.raises(ValidationError):
        GoogleSettings(**(usual | changes))
