"""Several accounts of Google in one request: what is sent, and what their answers mean together."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
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
CUSTOMER = "84d8b5ae5d7bdd0c1b28b83c9b6d7d1a6a8a2a9d0fcd8d0a6e7d5a1b6a3c4d5e"
CREDENTIALS = (
    '{"type":"authorized_user","client_id":"77-x.apps.example","client_secret":"GOCSPX",'
    '"refresh_token":"1//refresh"}'
)
ADS = {
    "operatingAccount": {"accountType": "GOOGLE_ADS", "accountId": "1234567890"},
    "loginAccount": {"accountType": "GOOGLE_ADS", "accountId": "9998887777"},
}
VIDEO = {
    "operatingAccount": {"accountType": "DISPLAY_VIDEO_ADVERTISER", "accountId": "5551234"},
    "loginAccount": {"accountType": "DISPLAY_VIDEO_PARTNER", "accountId": "777001"},
}
FURTHER = {
    "operating_account": "555-1234",
    "account_type": "DISPLAY_VIDEO_ADVERTISER",
    "login_account": "777001",
    "login_account_type": "DISPLAY_VIDEO_PARTNER",
}
BOTH = "contact:9876543210,contact@5551234:4455667788"
CONSENT = {"adUserData": "CONSENT_GRANTED", "adPersonalization": "CONSENT_GRANTED"}


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


def _settings(**changes: Any) -> GoogleSettings:
    usual: dict[str, Any] = {
        "operating_account": "123-456-7890",
        "login_account": "9998887777",
        "further_accounts": [FURTHER],
        "credentials": CREDENTIALS,
    }
    return GoogleSettings(**(usual | changes))


def _started(*answers: Answer | Exception, **changes: Any) -> tuple[GoogleConnector, FakePartner]:
    partner = Partner(*answers)
    connector = GoogleConnector(_settings(**changes), partner)
    partner.bind(connector)
    return connector, partner


def _request(number: int = 1) -> Answer:
    return answered({"requestId": f"126365e1-16d0-4c81-9de9-{number:012}"})


def _one(kind: Kind, text: str) -> Members:
    raw = np.frombuffer(bytes.fromhex(text), dtype=np.uint8)
    return Members({kind: raw.reshape(1, 1, -1).copy()})


def test_one_ingest_serves_every_account() -> None:
    """The members travel once; each account's list is a destination with a name of its own."""
    connector, partner = _started(_request())
    receipt = connector.add(made_up_upload(remote_id=BOTH), _one(Kind.EMAIL, DANA))
    (sent,) = partner.uploads
    assert sent.json() == {
        "destinations": [
            {"reference": "1234567890", **ADS, "productDestinationId": "9876543210"},
            {"reference": "5551234", **VIDEO, "productDestinationId": "4455667788"},
        ],
        "audienceMembers": [
            {"compositeData": {"userData": {"userIdentifiers": [{"emailAddress": DANA}]}}}
        ],
        "consent": CONSENT,
        "termsOfService": {"customerMatchTermsOfServiceStatus": "ACCEPTED"},
        "encoding": "HEX",
        "validateOnly": False,
    }
    assert (receipt.accepted, receipt.pending) == (1, True)
    assert receipt.reference == f"{NOW};1;1:126365e1-16d0-4c81-9de9-000000000001:2"


def test_a_removal_reaches_every_account() -> None:
    """Whoever leaves does so at all accounts, by the same request."""
    connector, partner = _started(_request())
    upload = made_up_upload(remote_id=BOTH, consent=None)
    connector.remove(upload, _one(Kind.EMAIL, DANA))
    wanted = [found["productDestinationId"] for found in partner.uploads[0].json()["destinations"]]
    assert (partner.uploads[0].url, wanted) == (
        "v1/audienceMembers:remove",
        ["9876543210", "4455667788"],
    )


def test_a_part_that_one_account_has_alone_names_no_reference() -> None:
    """Where members can go to one list only, nothing needs to tell lists apart."""
    connector, partner = _started(_request(1), _request(2), user_id_lists=True)
    members = made_up_members(1, (Kind.EMAIL, Kind.EXTERNAL_ID))
    connector.add(made_up_upload(remote_id=f"{BOTH},user@5551234:3"), members)
    first, second = (sent.json()["destinations"] for sent in partner.uploads)
    assert len(first) == 2
    assert second == [{**VIDEO, "productDestinationId": "3"}]


def test_lists_are_made_in_every_account() -> None:
    """Each account is asked with its own path and headers."""
    empty = answered({})
    connector, partner = _started(empty, answered({"id": "98"}), empty, answered({"id": "44"}))
    assert connector.ensure_audience(made_up_audience()) == "contact:98,contact@5551234:44"
    made = [sent for sent in partner.uploads if sent.method == "POST"]
    assert [sent.url for sent in made] == [
        "v1/accountTypes/GOOGLE_ADS/accounts/1234567890/userLists",
        "v1/accountTypes/DISPLAY_VIDEO_ADVERTISER/accounts/5551234/userLists",
    ]
    assert [sent.headers["login-account"] for sent in made] == [
        "accountTypes/GOOGLE_ADS/accounts/9998887777",
        "accountTypes/DISPLAY_VIDEO_PARTNER/accounts/777001",
    ]


def test_an_account_that_is_added_later_gets_its_lists() -> None:
    """The list that is there stays, and the account's own is made."""
    connector, partner = _started(answered({}), answered({"id": "44"}))
    asked = made_up_audience()
    assert connector.complete_audience("98", asked) == "contact:98,contact@5551234:44"
    partner.requests.clear()
    assert connector.complete_audience(BOTH, asked) == BOTH
    assert partner.requests == []


def test_an_account_that_left_the_settings_is_missed() -> None:
    """Its members could not be removed any more, so nothing is sent until a person decided."""
    connector, partner = _started(further_accounts=[])
    upload = made_up_upload(remote_id=BOTH, consent=None)
    with pytest.raises(ConfigurationError, match=r"5551234 .* put it back"):
        connector.remove(upload, _one(Kind.EMAIL, DANA))
    assert partner.uploads == []


def test_a_check_looks_at_every_account() -> None:
    """Lists can be read and made in both."""
    connector, partner = _started(*[answered({})] * 4)
    connector.check()
    assert [sent.method for sent in partner.uploads] == ["GET", "POST"] * 2
    assert len({sent.url for sent in partner.uploads}) == 2


REFERENCE = f"{NOW - 3000};10000;10000:r1:2"


def _state(status: str, **errors: int) -> dict[str, Any]:
    counts = [
        {"recordCount": str(count), "reason": f"PROCESSING_ERROR_REASON_{reason}"}
        for reason, count in errors.items()
    ]
    return {"requestStatus": status, "errorInfo": {"errorCounts": counts}}


def _polled(*states: dict[str, Any]) -> Any:
    connector, _ = _started(answered({"requestStatusPerDestination": list(states)}))
    return connector.poll(REFERENCE)


def test_one_destination_that_failed_loses_the_batch() -> None:
    """What the other took is held, so that it can be removed, and everybody is sent again."""
    receipt = _polled(_state("SUCCESS"), _state("FAILED", INTERNAL_ERROR=10_000))
    assert (receipt.accepted, receipt.unattributed, receipt.lost) == (0, 10_000, True)
    assert receipt.reason == "INTERNAL_ERROR"


def test_a_record_that_is_wrong_everywhere_counts_once() -> None:
    """Both destinations refuse the same records; different reasons are different records."""
    receipt = _polled(
        _state("PARTIAL_SUCCESS", INVALID_FORMAT=2, NO_CONSENT=1),
        _state("PARTIAL_SUCCESS", INVALID_FORMAT=3),
    )
    assert (receipt.accepted, receipt.unattributed, receipt.lost) == (9_996, 4, False)
    assert receipt.reason == "INVALID_FORMAT, NO_CONSENT"


@pytest.mark.parametrize("second", [[], [_state("PROCESSING")], [_state("NEW_WORD")]])
def test_every_destination_has_to_answer(second: list[dict[str, Any]]) -> None:
    """One that is at work, or not told of yet, keeps the batch pending."""
    receipt = _polled(_state("SUCCESS"), *second)
    assert (receipt.pending, receipt.accepted, receipt.reference) == (True, 10_000, REFERENCE)


def test_both_match_rates_are_told() -> None:
    """Accounts match differently."""
    states = [
        {
            "requestStatus": "SUCCESS",
            "audienceMembersIngestionStatus": {
                "compositeDataIngestionStatus": {
                    "recordCount": "10000",
                    "uploadMatchRateRange": f"MATCH_RATE_RANGE_{words}",
                }
            },
        }
        for words in ("61_TO_70", "LESS_THAN_20")
    ]
    assert _polled(*states).match_range == "61-70 %, under 20 %"


def test_statistics_span_the_accounts() -> None:
    """The smallest and the largest size, and usable only where every list is."""

    def one(size: int, state: str = "OPEN") -> Answer:
        return answered({"membershipStatus": state, "sizeInfo": {"gmailMembersCount": str(size)}})

    connector, _ = _started(one(7400), one(120))
    found = connector.statistics(BOTH)
    assert (found.size_lower, found.size_upper, found.usable) == (120, 7400, True)
    connector, _ = _started(one(7400), one(99, "CLOSED"))
    found = connector.statistics(BOTH)
    assert (found.status, found.usable) == ("open, closed", False)


def test_a_user_id_upload_is_the_references() -> None:
    """One id a member, which needs neither terms nor an encoding."""
    connector, partner = _started(_request(), further_accounts=[], user_id_lists=True)
    connector.add(made_up_upload(remote_id="user:2233445566"), _one(Kind.EXTERNAL_ID, CUSTOMER))
    assert partner.uploads[0].json() == {
        "destinations": [{**ADS, "productDestinationId": "2233445566"}],
        "audienceMembers": [{"userIdData": {"userId": CUSTOMER}}],
        "consent": CONSENT,
        "validateOnly": False,
    }


def test_a_user_id_removal_is_the_references() -> None:
    """The same members without a word on consent."""
    connector, partner = _started(_request(), further_accounts=[], user_id_lists=True)
    upload = made_up_upload(remote_id="user:2233445566", consent=None)
    connector.remove(upload, _one(Kind.EXTERNAL_ID, CUSTOMER))
    assert partner.uploads[0].json() == {
        "destinations": [{**ADS, "productDestinationId": "2233445566"}],
        "audienceMembers": [{"userIdData": {"userId": CUSTOMER}}],
        "validateOnly": False,
    }


@pytest.mark.parametrize(("members", "sizes"), [(5_000, [10_000]), (5_001, [10_000, 2])])
def test_user_ids_keep_to_the_limit_of_rows(members: int, sizes: list[int]) -> None:
    """A person with two ids is two rows; what is over goes in a request of its own."""
    connector, partner = _started(_request(1), _request(2), further_accounts=[], user_id_lists=True)
    batch = made_up_members(members, (Kind.EXTERNAL_ID,), slots=2)
    receipt = connector.add(made_up_upload(remote_id="user:1"), batch)
    assert [len(sent.json()["audienceMembers"]) for sent in partner.uploads] == sizes
    assert (receipt.accepted, receipt.sent) == (members, members)


def test_a_user_id_list_is_created_as_the_reference_says() -> None:
    """A list of its own, beside that of the contacts, and only where it is wanted."""
    kinds = (Kind.EMAIL, Kind.EXTERNAL_ID)
    answers = (answered({}), answered({"id": "98"})) * 2
    connector, partner = _started(*answers, further_accounts=[], user_id_lists=True)
    assert connector.ensure_audience(made_up_audience(kinds=kinds)) == "contact:98,user:98"
    made = partner.uploads[3].json()
    assert made["displayName"] == "lapsed-vip (user IDs)"
    assert made["ingestedUserListInfo"] == {
        "uploadKeyTypes": ["USER_ID"],
        "userIdInfo": {"dataSourceType": "DATA_SOURCE_TYPE_FIRST_PARTY"},
    }
    careful, _ = _started(answered({}), answered({"id": "98"}), further_accounts=[])
    assert careful.ensure_audience(made_up_audience(kinds=kinds)) == "contact:98"
    assert Kind.EXTERNAL_ID not in GoogleConnector.sendable(careful.settings)
    assert Kind.EXTERNAL_ID in GoogleConnector.sendable(connector.settings)


def test_dropping_strangers_is_the_references() -> None:
    """One request a part with the lists of all accounts, and the moment in UTC."""
    connector, partner = _started(_request(1), _request(2))
    moment = datetime(2026, 11, 21, 2, tzinfo=UTC)
    connector.drop_stale(f"{BOTH},ios:12", moment)
    assert {sent.url for sent in partner.uploads} == {"v1/audienceMembers:removeAll"}
    assert [sent.json() for sent in partner.uploads] == [
        {
            "destinations": [
                {"reference": "1234567890", **ADS, "productDestinationId": "9876543210"},
                {"reference": "5551234", **VIDEO, "productDestinationId": "4455667788"},
            ],
            "removeAsOfTime": "2026-11-21T02:00:00Z",
            "validateOnly": False,
        },
        {
            "destinations": [{**ADS, "productDestinationId": "12"}],
            "removeAsOfTime": "2026-11-21T02:00:00Z",
            "validateOnly": False,
        },
    ]


def _gone() -> Answer:
    return answered({"error": {"code": 404, "status": "NOT_FOUND"}}, 404)


def test_a_deletion_is_the_references() -> None:
    """Each list of an audience goes from its own account, which the headers reach."""
    connector, partner = _started(answered({}), answered({}))
    connector.delete_audience(BOTH)
    accounts = "v1/accountTypes"
    assert [(sent.method, sent.url, sent.body) for sent in partner.uploads] == [
        ("DELETE", f"{accounts}/GOOGLE_ADS/accounts/1234567890/userLists/9876543210", None),
        (
            "DELETE",
            f"{accounts}/DISPLAY_VIDEO_ADVERTISER/accounts/5551234/userLists/4455667788",
            None,
        ),
    ]
    assert [sent.headers["login-account"] for sent in partner.uploads] == [
        "accountTypes/GOOGLE_ADS/accounts/9998887777",
        "accountTypes/DISPLAY_VIDEO_PARTNER/accounts/777001",
    ]


def test_a_list_that_is_gone_needs_no_deletion() -> None:
    """Only where the account can be read and shows it no more."""
    connector, partner = _started(_gone(), answered({}))
    connector.delete_audience("contact:98")
    assert partner.uploads[1].params == {"filter": "id=98"}
    for second in (answered({"userLists": [{"id": "98"}]}), _gone()):
        connector, _ = _started(_gone(), second)
        with pytest.raises(RefusedError):
            connector.delete_audience("contact:98")


def test_a_deletion_is_not_done_by_halves() -> None:
    """A list that one account keeps is an error, whatever the other did; later both are gone."""
    refused = answered({"error": {"code": 403, "status": "PERMISSION_DENIED"}}, 403)
    connector, _ = _started(answered({}), refused)
    with pytest.raises(AuthenticationError):
        connector.delete_audience(BOTH)
    later, _ = _started(_gone(), answered({}), answered({}))
    later.delete_audience(BOTH)


@pytest.mark.parametrize(("duration", "days"), [(540, 498), (30, 27), (1, 0)])
def test_members_are_sent_again_before_google_forgets_them(duration: int, days: int) -> None:
    """A part of the membership's time is left for runs that fail."""
    settings = _settings(membership_duration_days=duration)
    assert GoogleConnector.refresh_after(settings) == timedelta(days=days)


@pytest.mark.parametrize(
    ("credentials", "project"),
    [
        (CREDENTIALS, "77"),
        ('{"type":"service_account","project_id":"crm","client_id":"1"}', "crm"),
        ("no json", ""),
        ("[]", ""),
    ],
)
def test_quotas_are_counted_by_project(credentials: str, project: str) -> None:
    """Two destinations of one Cloud project share its requests; the set project comes first."""
    connector, _ = _started(credentials=credentials)
    assert connector.account() == project
    connector, _ = _started(credentials=credentials, quota_project="other")
    assert connector.account() == "other"


@pytest.mark.parametrize(
    "further",
    [
        [{"operating_account": "1234567890"}],
        [{"operating_account": "5"}, {"operating_account": "5"}],
        [{"operating_account": "x"}],
        [{"operating_account": "5", "credentials": CREDENTIALS}],
        [{"operating_account": str(number)} for number in range(10)],
    ],
)
def test_accounts_are_named_once_and_at_most_ten(further: list[dict[str, str]]) -> None:
    """Google takes ten destinations in a request, and the credentials are the destination's."""
    with pytest.raises(ValidationError):
        _settings(further_accounts=further)


def test_ten_accounts_are_taken() -> None:
    """The limit itself is allowed."""
    further = [{"operating_account": str(number)} for number in range(9)]
    assert len(_settings(further_accounts=further).accounts) == 10
