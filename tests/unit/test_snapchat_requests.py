"""Requests to Snapchat are exactly those of its reference."""

from __future__ import annotations

from datetime import timedelta
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
    Sent,
    answered,
    made_up_audience,
    made_up_members,
    made_up_upload,
)
from connectors.snapchat import SnapchatConnector, SnapchatSettings

JANE = "86e0b9e56c17cc4d12387e1949b85053fbe73bc3ce5a1188713a9d300cc6133d"
DOE = "d6117306485ed0e50afab3ac871e98f81699151f30281527d63ff5f233656c69"
PHONE = "413ba75461ab5f99d36820e561ea97e2bd80f9cb586f7ecea6cf4c496518950a"
DEVICE = "d4181bb455a74b3bc8b37c75ac9b2c702eb6b9930bd040b861403b31ca85634d"
NONE = "00" * 32
ACCOUNT = "422ef6f5-0000-4000-8000-000000000001"
SEGMENT = "5677923948298240"
SEGMENTS = f"v1/adaccounts/{ACCOUNT}/segments"


class Partner(FakePartner):
    """Gives a token; everything else is prepared."""

    def respond(self, sent: Sent) -> Answer:
        assert sent.anonymous, f"no answer is prepared for {sent.method} {sent.url}"
        return answered({"access_token": "snap-access", "expires_in": 1800})


def _success(**parts: Any) -> Answer:
    return answered({"request_status": "SUCCESS", "request_id": "5f3b", **parts})


def _counted(count: Any) -> Answer:
    user = {"number_uploaded_users": count}
    return _success(users=[{"sub_request_status": "SUCCESS", "user": user}])


def _listed(*found: dict[str, Any], link: str | None = None) -> Answer:
    paging = {} if link is None else {"paging": {"next_link": link}}
    parts = [{"sub_request_status": "SUCCESS", "segment": one} for one in found]
    return _success(segments=parts, **paging)


def _started(*answers: Answer | Exception, **changes: Any) -> tuple[SnapchatConnector, Partner]:
    usual = {
        "ad_account_id": ACCOUNT,
        "client_id": "snap-app",
        "client_secret": "snap-secret-canary",
        "refresh_token": "snap-refresh-canary",
    }
    partner = Partner(*answers)
    connector = SnapchatConnector(SnapchatSettings(**(usual | changes)), partner)
    partner.bind(connector)
    return connector, partner


def _column(*rows: list[str]) -> np.ndarray[Any, Any]:
    """Slots of identifiers as bytes."""
    raw = [[list(bytes.fromhex(cell)) for cell in row] for row in rows]
    return np.array(raw, dtype=np.uint8)


def _body(schema: str, *values: str) -> dict[str, Any]:
    return {"users": [{"schema": [schema], "data": [[value] for value in values]}]}


@pytest.mark.parametrize(("operation", "method"), [("add", "POST"), ("remove", "DELETE")])
def test_members_are_lists_of_one_hash(operation: str, method: str) -> None:
    """The body is the reference's, to the byte, and the same for a removal."""
    connector, partner = _started(_counted(2))
    members = Members({Kind.EMAIL: _column([JANE], [DOE])})
    receipt = getattr(connector, operation)(made_up_upload(remote_id=SEGMENT), members)
    assert (receipt.accepted, receipt.reference) == (2, "5f3b")
    (sent,) = partner.uploads
    assert (sent.method, sent.url) == (method, f"v1/segments/{SEGMENT}/users")
    assert sent.headers == {"Authorization": "Bearer snap-access"}
    assert sent.content_type == "application/json"
    assert sent.body == (
        b'{"users":[{"schema":["EMAIL_SHA256"],"data":['
        b'["86e0b9e56c17cc4d12387e1949b85053fbe73bc3ce5a1188713a9d300cc6133d"],'
        b'["d6117306485ed0e50afab3ac871e98f81699151f30281527d63ff5f233656c69"]]}]}'
    )


def test_each_kind_is_a_request_of_its_own() -> None:
    """Both kinds of device are one schema; members are counted once."""
    connector, partner = _started(_counted(2), _counted(1), _counted(2))
    members = Members(
        {
            Kind.EMAIL: _column([JANE], [DOE]),
            Kind.PHONE: _column([PHONE], [NONE]),
            Kind.IDFA: _column([DEVICE], [NONE]),
            Kind.GAID: _column([NONE], [DEVICE]),
        }
    )
    receipt = connector.add(made_up_upload(remote_id=SEGMENT), members)
    assert (receipt.accepted, receipt.unattributed, receipt.sent) == (2, 0, 2)
    assert [sent.json() for sent in partner.uploads] == [
        _body("EMAIL_SHA256", JANE, DOE),
        _body("PHONE_SHA256", PHONE),
        _body("MOBILE_AD_ID_SHA256", DEVICE, DEVICE),
    ]


def test_second_identifiers_follow_by_themselves() -> None:
    """A request holds a person once, so that Snapchat's count is one of people."""
    connector, partner = _started(_counted(2), _counted(1))
    members = Members({Kind.EMAIL: _column([JANE, DOE], [PHONE, NONE])})
    assert connector.add(made_up_upload(remote_id=SEGMENT), members).accepted == 2
    assert [sent.json() for sent in partner.uploads] == [
        _body("EMAIL_SHA256", JANE, PHONE),
        _body("EMAIL_SHA256", DOE),
    ]


def test_who_has_nothing_to_send_is_rejected() -> None:
    """A person without a usable identifier is named."""
    connector, _ = _started(_counted(1))
    members = Members({Kind.EMAIL: _column([NONE], [DOE])})
    receipt = connector.add(made_up_upload(remote_id=SEGMENT), members)
    assert [(r.position, r.reason) for r in receipt.rejected] == [(0, "no_usable_identifier")]
    assert receipt.sent == 2


@pytest.mark.parametrize(
    ("counts", "added", "removed"),
    [((10, 10), 0, 0), ((7, 10), 3, 3), ((7, 6), 4, 7), ((0, 0), 10, 10), ((12, 10), 0, 0)],
)
def test_members_that_are_missing_in_the_count_are_unattributed(
    counts: tuple[int, int], added: int, removed: int
) -> None:
    """Of those who leave, everybody who may have stayed; never more than there are."""
    members = made_up_members(10, (Kind.EMAIL, Kind.PHONE))
    for operation, missing in (("add", added), ("remove", removed)):
        connector, _ = _started(*map(_counted, counts))
        receipt = getattr(connector, operation)(made_up_upload(remote_id=SEGMENT), members)
        assert (receipt.accepted, receipt.unattributed) == (10 - missing, missing)
        assert receipt.reason == ("number_uploaded_users" if missing else None)


@pytest.mark.parametrize("users", [[], None, [{}], [{"user": {}}], [{"user": None}], "no"])
def test_an_answer_without_a_count_is_asked_again(users: Any) -> None:
    """What Snapchat took is read, never assumed."""
    connector, _ = _started(_success(users=users))
    with pytest.raises(TemporaryPartnerError):
        connector.add(made_up_upload(remote_id=SEGMENT), made_up_members(1, (Kind.EMAIL,)))


@pytest.mark.parametrize(
    ("count", "wanted"), [(100_000, [100_000]), (100_001, [100_000, 1]), (250_000, [100_000] * 2)]
)
def test_a_request_holds_a_hundred_thousand(count: int, wanted: list[int]) -> None:
    """One more goes in a request of its own."""
    wanted = wanted if sum(wanted) == count else [*wanted, count - sum(wanted)]
    connector, partner = _started(*map(_counted, wanted))
    members = made_up_members(count, (Kind.EMAIL,))
    assert connector.limits.members_per_request == 100_000
    assert connector.add(made_up_upload(remote_id=SEGMENT), members).accepted == count
    assert [(sent.body or b"").count(b'["') - 1 for sent in partner.uploads] == wanted


def test_requests_can_be_made_smaller() -> None:
    """Snapchat does not publish how many bytes it takes."""
    connector, partner = _started(*map(_counted, [3, 3, 1]), identifiers_per_request=3)
    members = made_up_members(7, (Kind.EMAIL,))
    assert connector.limits.members_per_request == 3
    assert connector.add(made_up_upload(remote_id=SEGMENT), members).accepted == 7
    assert len(partner.uploads) == 3


def test_a_list_that_begins_afresh_is_cleared_first() -> None:
    """Whoever is on it without our knowing leaves before anybody is added."""
    connector, partner = _started(_listed({"id": SEGMENT}), _counted(1))
    members = Members({Kind.EMAIL: _column([JANE])})
    connector.add(made_up_upload(remote_id=SEGMENT, afresh=True), members)
    clear, add = partner.uploads
    assert (clear.method, clear.url) == ("DELETE", f"v1/segments/{SEGMENT}/all_users")
    assert clear.body is None
    assert add.method == "POST"


@pytest.mark.parametrize("days", [None, 180])
def test_a_segment_is_made_with_the_marker_in_its_description(days: int | None) -> None:
    """Without a retention its members stay."""
    connector, partner = _started(_listed(), _listed({"id": SEGMENT}), retention_days=days)
    assert connector.ensure_audience(made_up_audience()) == SEGMENT
    look, made = partner.uploads
    assert (look.method, look.url, look.params) == ("GET", SEGMENTS, {"limit": "1000"})
    assert (made.method, made.url, made.repeatable) == ("POST", SEGMENTS, False)
    title = "VIP customers who have not bought for a while"
    assert made.json() == {
        "segments": [
            {
                "name": "lapsed-vip",
                "description": f"{title} [audience-sync 7f3a]",
                "source_type": "FIRST_PARTY",
                "ad_account_id": ACCOUNT,
            }
            | ({} if days is None else {"retention_in_days": days})
        ]
    }


def test_what_is_ours_is_found_on_any_page() -> None:
    """By the marker in the description; a segment of the same name is somebody else's."""
    link = f"https://adsapi.snapchat.com/{SEGMENTS}?cursor=abc"
    foreign = {"id": "1", "name": "lapsed-vip", "description": ""}
    ours = {"id": "2", "name": "renamed", "description": "x [audience-sync 7f3a]"}
    connector, partner = _started(_listed(foreign, link=link), _listed(ours))
    assert connector.ensure_audience(made_up_audience()) == "2"
    assert [sent.url for sent in partner.uploads] == [SEGMENTS, link]


def test_a_name_is_cut_and_a_marker_is_not() -> None:
    """375 characters at most."""
    connector, partner = _started(_listed(), _listed({"id": SEGMENT}))
    connector.ensure_audience(made_up_audience(name="n" * 400))
    assert partner.uploads[1].json()["segments"][0]["name"] == "n" * 375


@pytest.mark.parametrize("made", [_listed(), _listed({}), _success(segments=[{}])])
def test_a_segment_without_an_id_is_asked_for_again(made: Answer) -> None:
    """Nothing is sent to a list that has no name."""
    connector, _ = _started(_listed(), made)
    with pytest.raises(TemporaryPartnerError):
        connector.ensure_audience(made_up_audience())


def test_a_segment_is_deleted_as_the_reference_says() -> None:
    """By its id and without a body; the answer names no segment."""
    connector, partner = _started(_listed())
    connector.delete_audience(SEGMENT)
    (sent,) = partner.uploads
    assert (sent.method, sent.url, sent.body) == ("DELETE", f"v1/segments/{SEGMENT}", None)


def test_a_segment_that_is_gone_counts_as_deleted() -> None:
    """A 404 may also be for another account's, so the account must not list it."""
    missing = answered({"request_status": "ERROR", "error_code": "E1004"}, 404)
    connector, partner = _started(missing, _listed({"id": "1"}))
    connector.delete_audience(SEGMENT)
    assert (partner.uploads[1].method, partner.uploads[1].url) == ("GET", SEGMENTS)
    connector, _ = _started(missing, _listed({"id": SEGMENT}))
    with pytest.raises(RefusedError):
        connector.delete_audience(SEGMENT)
    connector, partner = _started(answered({"request_status": "ERROR"}, 400))
    with pytest.raises(RefusedError):
        connector.delete_audience(SEGMENT)
    assert len(partner.uploads) == 1


def test_check_looks_at_the_segments() -> None:
    """One is enough."""
    connector, partner = _started(_listed())
    connector.check()
    (sent,) = partner.uploads
    assert (sent.method, sent.url, sent.params) == ("GET", SEGMENTS, {"limit": "1"})


def test_check_proves_the_secret_though_a_token_is_good() -> None:
    """A renewal costs nothing at Snapchat."""
    connector, partner = _started(_listed(), _listed())
    connector.check()
    connector.check()
    renewals = [sent for sent in partner.requests if b"refresh_token" in (sent.body or b"")]
    assert len(renewals) == 2


@pytest.mark.parametrize(
    ("target", "upload", "status", "usable"),
    [
        ("READY", "COMPLETE", "ready for use, upload complete", True),
        ("NOT_READY", "PROCESSING", "in preparation, upload under way", False),
        ("TOO_FEW_USERS", "COMPLETE", "too small, upload complete", False),
        ("NOT_READY", "NO_UPLOAD", "in preparation, nothing uploaded", False),
        ("partner's words", None, None, False),
        (None, None, None, None),
    ],
)
def test_statistics_are_read_back(
    target: str | None, upload: str | None, status: str | None, usable: bool | None
) -> None:
    """A size, two states in our words, and whether ads can use it; no match rate."""
    shown = {
        "id": SEGMENT,
        "approximate_number_users": 8200,
        "targetable_status": target,
        "upload_status": upload,
    }
    connector, partner = _started(_listed(shown))
    found = connector.statistics(SEGMENT)
    assert (found.size_lower, found.size_upper) == (8200, 8200)
    assert (found.status, found.usable, found.match_range) == (status, usable, None)
    assert partner.uploads[0].url == f"v1/segments/{SEGMENT}"


@pytest.mark.parametrize("remote_id", ["", "abc", "1,2", "email:71"])
def test_a_remote_id_of_another_shape_is_refused(remote_id: str) -> None:
    """A segment is named by digits."""
    connector, _ = _started()
    with pytest.raises(ConfigurationError, match="remote_id"):
        connector.add(made_up_upload(remote_id=remote_id), made_up_members(1, (Kind.EMAIL,)))


def test_an_audience_without_a_usable_kind_is_refused() -> None:
    """Snapchat knows nobody by our own key."""
    connector, _ = _started()
    with pytest.raises(ConfigurationError):
        connector.ensure_audience(made_up_audience(kinds=(Kind.EXTERNAL_ID,)))


@pytest.mark.parametrize(("days", "wanted"), [(None, None), (180, 150), (40, 20), (1, 0.5)])
def test_members_are_sent_again_before_they_are_forgotten(
    days: int | None, wanted: float | None
) -> None:
    """A month before, or half the time where that is short."""
    connector, _ = _started(retention_days=days)
    found = connector.refresh_after(connector.settings)
    assert found == (None if wanted is None else timedelta(days=wanted))


@pytest.mark.parametrize(
    "changes",
    [
        {"ad_account_id": "1234567890"},
        {"identifiers_per_request": 100_001},
        {"identifiers_per_request": 0},
        {"retention_days": 10_000},
        {"retention_days": 0},
    ],
)
def test_settings_are_checked(changes: dict[str, Any]) -> None:
    """An ad account is a UUID, and a request holds 100,000 at most."""
    with pytest.raises(ValidationError):
        _started(**changes)
