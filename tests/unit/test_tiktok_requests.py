"""Requests to TikTok are exactly those of its reference."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import orjson
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
from connectors.tiktok import TikTokConnector, TikTokSettings

JANE = "86e0b9e56c17cc4d12387e1949b85053fbe73bc3ce5a1188713a9d300cc6133d"
DOE = "d6117306485ed0e50afab3ac871e98f81699151f30281527d63ff5f233656c69"
PHONE = "36a2cef4ff9bf7a1abd2a93359136b870393be4106e6c5d19b72ff564f9deca4"
DEVICE = "d4181bb455a74b3bc8b37c75ac9b2c702eb6b9930bd040b861403b31ca85634d"
NONE = "00" * 32
ADVERTISER = "7000000000000000001"
STREAMING = "7100000000000000010"
API = "open_api/v1.3/"
# The reference's own file: two lines, 130 bytes, with the MD5 of exactly these.
FORM = (
    "--audience-sync-49cadaa69ec306cb49a59d518ed3e947\r\n"
    'Content-Disposition: form-data; name="advertiser_id"\r\n\r\n'
    "7000000000000000001\r\n"
    "--audience-sync-49cadaa69ec306cb49a59d518ed3e947\r\n"
    'Content-Disposition: form-data; name="calculate_type"\r\n\r\n'
    "EMAIL_SHA256\r\n"
    "--audience-sync-49cadaa69ec306cb49a59d518ed3e947\r\n"
    'Content-Disposition: form-data; name="file_signature"\r\n\r\n'
    "49cadaa69ec306cb49a59d518ed3e947\r\n"
    "--audience-sync-49cadaa69ec306cb49a59d518ed3e947\r\n"
    'Content-Disposition: form-data; name="file"; '
    'filename="49cadaa69ec306cb49a59d518ed3e947.csv"\r\n'
    "Content-Type: text/csv\r\n\r\n"
    f"{JANE}\n{DOE}\n"
    "\r\n--audience-sync-49cadaa69ec306cb49a59d518ed3e947--\r\n"
)


def _ok(found: Any = None, code: int = 0) -> Answer:
    return answered(
        {"code": code, "message": "OK", "request_id": "2023080321", "data": found or {}}
    )


def _listed(*audiences: dict[str, Any], page: int = 1, pages: int = 1) -> Answer:
    info = {"page": page, "page_size": 100, "total_number": 1, "total_page": pages}
    return _ok({"list": list(audiences), "page_info": info})


def _started(*answers: Answer | Exception, **changes: Any) -> tuple[TikTokConnector, FakePartner]:
    usual = {"advertiser_id": ADVERTISER, "access_token": "tiktok-canary"}
    partner = FakePartner(*answers)
    connector = TikTokConnector(TikTokSettings(**(usual | changes)), partner)
    partner.bind(connector)
    return connector, partner


def _column(*rows: list[str]) -> np.ndarray[Any, Any]:
    """Slots of identifiers as bytes."""
    raw = [[list(bytes.fromhex(cell)) for cell in row] for row in rows]
    return np.array(raw, dtype=np.uint8)


def _cell(value: str) -> dict[str, Any]:
    return {"id": value, "audience_ids": [STREAMING]}


@pytest.mark.parametrize(("operation", "action"), [("add", "add"), ("remove", "delete")])
def test_people_are_streamed_by_position(operation: str, action: str) -> None:
    """One person an array, an empty object for an absent kind; the body is the reference's."""
    connector, partner = _started(_ok())
    members = Members({Kind.EMAIL: _column([JANE], [DOE]), Kind.PHONE: _column([PHONE], [NONE])})
    receipt = getattr(connector, operation)(made_up_upload(remote_id=STREAMING), members)
    assert (receipt.accepted, receipt.reference) == (2, "2023080321")
    (sent,) = partner.requests
    assert (sent.method, sent.url) == ("POST", f"{API}segment/mapping/")
    assert sent.content_type == "application/json"
    assert sent.headers == {"Access-Token": "tiktok-canary"}
    found = sent.json()
    found["batch_data"].sort(key=len, reverse=True)
    assert sorted(found["batch_data"], key=str) == sorted(
        [[_cell(JANE), _cell(PHONE)], [_cell(DOE), {}]], key=str
    )
    del found["batch_data"]
    assert found == {
        "advertiser_ids": [ADVERTISER],
        "action": action,
        "id_schema": ["EMAIL_SHA256", "PHONE_SHA256"],
    }


def test_android_has_another_name_in_a_stream_than_in_a_file() -> None:
    """AAID where people are streamed, GAID in files; a second identifier is a row of its own."""
    members = Members({Kind.EMAIL: _column([JANE, DOE]), Kind.GAID: _column([DEVICE])})
    connector, partner = _started(_ok())
    assert connector.add(made_up_upload(remote_id=STREAMING), members).accepted == 1
    found = partner.requests[0].json()
    assert found["id_schema"] == ["EMAIL_SHA256", "AAID_SHA256"]
    assert found["batch_data"] == [[_cell(JANE), _cell(DEVICE)], [_cell(DOE), {}]]

    uploaded = _ok({"file_path": "a1/1.csv"})
    connector, partner = _started(uploaded, _ok(), flow="files")
    connector.add(made_up_upload(remote_id="gaid:72"), members)
    assert b"\r\nGAID_SHA256\r\n" in (partner.requests[0].body or b"")


def test_a_kind_that_nobody_has_is_not_in_the_schema() -> None:
    """A column of nothing would only make rows longer."""
    connector, partner = _started(_ok())
    members = Members({Kind.EMAIL: _column([JANE]), Kind.PHONE: _column([NONE])})
    connector.add(made_up_upload(remote_id=STREAMING), members)
    assert partner.requests[0].json()["id_schema"] == ["EMAIL_SHA256"]


def test_who_has_nothing_to_send_is_rejected() -> None:
    """A person without a usable identifier is named, and no row of nothing is sent."""
    connector, partner = _started(_ok())
    members = Members({Kind.EMAIL: _column([JANE], [NONE])})
    receipt = connector.add(made_up_upload(remote_id=STREAMING), members)
    assert [(r.position, r.reason) for r in receipt.rejected] == [(1, "no_usable_identifier")]
    assert receipt.accepted == 1
    assert len(partner.requests[0].json()["batch_data"]) == 1


@pytest.mark.parametrize(("people", "wanted"), [(1_000, [1_000]), (1_001, [1_000, 1])])
def test_a_streaming_request_holds_a_thousand_people(people: int, wanted: list[int]) -> None:
    """One more goes in a request of its own."""
    connector, partner = _started(*[_ok()] * 2)
    members = made_up_members(people, (Kind.EMAIL,))
    assert connector.add(made_up_upload(remote_id=STREAMING), members).accepted == people
    assert [len(sent.json()["batch_data"]) for sent in partner.requests] == wanted


def test_second_identifiers_count_as_people() -> None:
    """A person with two addresses is two rows, and both are in one request."""
    connector, partner = _started(*[_ok()] * 4, people_per_request=5)
    members = made_up_members(6, (Kind.EMAIL,), slots=2)
    assert connector.add(made_up_upload(remote_id=STREAMING), members).accepted == 6
    assert [len(sent.json()["batch_data"]) for sent in partner.requests] == [4, 4, 4]


def test_a_streaming_request_keeps_to_its_bytes() -> None:
    """With every kind and the longest ids, no body is larger than the setting."""
    forms = dict.fromkeys(TikTokConnector.forms, "device/lower")
    members = made_up_members(400, tuple(TikTokConnector.forms), forms=forms)
    connector, partner = _started(*[_ok()] * 40, bytes_per_request=20_000)
    assert connector.add(made_up_upload(remote_id=STREAMING), members).accepted == 400
    sizes = [len(sent.body or b"") for sent in partner.requests]
    assert max(sizes) <= 20_000
    assert max(sizes) > 17_000


def test_a_file_is_signed_uploaded_and_appended() -> None:
    """The very form of the reference, then the call that puts the file to use."""
    connector, partner = _started(_ok({"file_path": "a1b2c3/1.csv"}), _ok(), flow="files")
    members = Members({Kind.EMAIL: _column([JANE], [DOE])})
    receipt = connector.add(made_up_upload(remote_id="email:7100000000000000009"), members)
    assert receipt.accepted == 2
    upload, change = partner.requests
    assert upload.url == f"{API}dmp/custom_audience/file/upload/"
    assert (upload.body or b"").decode() == FORM
    boundary = "audience-sync-49cadaa69ec306cb49a59d518ed3e947"
    assert upload.content_type == f"multipart/form-data; boundary={boundary}"
    assert change.url == f"{API}dmp/custom_audience/update/"
    assert change.json() == {
        "advertiser_id": ADVERTISER,
        "custom_audience_id": "7100000000000000009",
        "action": "APPEND",
        "file_paths": ["a1b2c3/1.csv"],
    }


def test_removal_names_its_action() -> None:
    """A call without one would replace the whole list."""
    connector, partner = _started(_ok({"file_path": "a1/1.csv"}), _ok())
    members = Members({Kind.EMAIL: _column([JANE])})
    connector.remove(made_up_upload(remote_id="email:71", consent=None), members)
    assert partner.requests[1].json()["action"] == "REMOVE"


@pytest.mark.parametrize(("people", "action"), [(1_000, "REPLACE"), (999, "APPEND")])
def test_a_list_that_begins_afresh_is_replaced(people: int, action: str) -> None:
    """By the first file alone, and only by one that TikTok takes for a whole list."""
    uploaded = _ok({"file_path": "a1/1.csv"})
    connector, partner = _started(*[uploaded, _ok()] * 2, flow="files", lines_per_file=people)
    members = made_up_members(people + 1, (Kind.EMAIL,))
    connector.add(made_up_upload(remote_id="email:71", afresh=True), members)
    changes = [sent.json() for sent in partner.requests[1::2]]
    assert [change["action"] for change in changes] == [action, "APPEND"]


@pytest.mark.parametrize(("people", "files"), [(100_000, 1), (100_001, 2)])
def test_a_file_holds_a_hundred_thousand_lines(people: int, files: int) -> None:
    """Far below 50 MB; one more goes in a file of its own."""
    uploaded = _ok({"file_path": "a1/1.csv"})
    connector, partner = _started(*[uploaded, _ok()] * 2, flow="files")
    members = made_up_members(people, (Kind.EMAIL,))
    assert connector.limits.members_per_request == 100_000
    assert connector.add(made_up_upload(remote_id="email:71"), members).accepted == people
    uploads = partner.requests[::2]
    assert len(uploads) == files
    assert max(len(sent.body or b"") for sent in uploads) < connector.limits.bytes_per_request


def test_a_file_that_is_too_large_is_halved() -> None:
    """TikTok's own limit wins over the setting."""
    uploaded, done = _ok({"file_path": "a1/1.csv"}), _ok()
    connector, partner = _started(_ok(code=40907), *[uploaded, done] * 2)
    members = made_up_members(4, (Kind.EMAIL,))
    assert connector.add(made_up_upload(remote_id="email:71"), members).accepted == 4
    assert len(partner.requests) == 5


@pytest.mark.parametrize("code", [40900, 40905, 40910, 40915])
@pytest.mark.parametrize("step", ["upload", "update"])
def test_a_file_that_was_lost_is_uploaded_once_more(code: int, step: str) -> None:
    """A second failure is final."""
    uploaded, lost = _ok({"file_path": "a1/1.csv"}), _ok(code=code)
    failed = [lost] if step == "upload" else [uploaded, lost]
    members = made_up_members(2, (Kind.EMAIL,))
    connector, _ = _started(*failed, uploaded, _ok())
    assert connector.add(made_up_upload(remote_id="email:71"), members).accepted == 2
    connector, partner = _started(*failed, *failed, uploaded, _ok())
    with pytest.raises(RefusedError):
        connector.add(made_up_upload(remote_id="email:71"), members)
    assert len(partner.requests) == 2 * len(failed)


def test_a_removal_that_a_file_list_cannot_make_says_what_to_do() -> None:
    """Under 1,000 members TikTok takes nobody off such a list."""
    connector, _ = _started(_ok({"file_path": "a1/1.csv"}), _ok(code=40002))
    with pytest.raises(RefusedError, match="under 1,000"):
        connector.remove(made_up_upload(remote_id="email:71"), made_up_members(1, (Kind.EMAIL,)))


def test_a_kind_without_a_list_is_told() -> None:
    """An adopted list takes its own kind; who has only others is rejected."""
    connector, _ = _started(_ok({"file_path": "a1/1.csv"}), _ok())
    members = Members({Kind.EMAIL: _column([JANE], [NONE]), Kind.PHONE: _column([PHONE], [PHONE])})
    receipt = connector.add(made_up_upload(remote_id="email:71"), members)
    assert [rejection.position for rejection in receipt.rejected] == [1]
    assert receipt.reason == "no_list_for_phone"


def test_a_streaming_audience_is_made_with_the_marker_in_its_name() -> None:
    """TikTok has no description."""
    connector, partner = _started(_listed(), _ok({"audience_id": STREAMING}))
    assert connector.ensure_audience(made_up_audience()) == STREAMING
    look, made = partner.requests
    assert (look.method, look.url) == ("GET", f"{API}dmp/custom_audience/list/")
    assert look.params == {"advertiser_id": ADVERTISER, "page": "1", "page_size": "100"}
    assert (made.url, made.repeatable) == (f"{API}segment/audience/", False)
    assert made.json() == {
        "advertiser_id": ADVERTISER,
        "custom_audience_name": "lapsed-vip [audience-sync 7f3a]",
        "action": "create",
    }


@pytest.mark.parametrize("key", ["custom_audience_id", "audience_id"])
def test_audiences_from_files_are_made_one_a_kind(key: str) -> None:
    """A file comes with the making, so the first one holds a line that is nobody's."""
    uploaded = _ok({"file_path": "a1/1.csv"})
    connector, partner = _started(
        _listed(), uploaded, _ok({key: "71"}), uploaded, _ok({key: "72"}),
        flow="files", retention_days=180,
    )  # fmt: skip
    assert connector.ensure_audience(made_up_audience()) == "email:71,phone:72"
    _, upload, made, *_ = partner.requests
    lines = (upload.body or b"").split(b"\r\n\r\n")[-1].split(b"\r\n")[0]
    assert lines.decode() == hashlib.sha256(b"audience-sync").hexdigest() + "\n"
    assert (made.url, made.repeatable) == (f"{API}dmp/custom_audience/create/", False)
    assert made.json() == {
        "advertiser_id": ADVERTISER,
        "custom_audience_name": "lapsed-vip [audience-sync 7f3a] EMAIL_SHA256",
        "file_paths": ["a1/1.csv"],
        "calculate_type": "EMAIL_SHA256",
        "audience_sub_type": "NORMAL",
        "retention_in_days": 180,
    }


def test_what_is_ours_is_found_on_any_page() -> None:
    """By the marker, whatever stands before it; of twins the first one made counts."""
    marker = "[audience-sync 7f3a]"
    first = _listed({"audience_id": "9", "name": "lapsed-vip"}, pages=2)
    second = _listed(
        {"audience_id": "32", "name": f"renamed {marker}"},
        {"audience_id": "31", "name": f"lapsed-vip {marker}"},
        {"audience_id": "5", "name": f"lapsed-vip {marker} EMAIL_SHA256"},
        page=2,
        pages=2,
    )
    connector, partner = _started(first, second)
    assert connector.ensure_audience(made_up_audience()) == "31"
    assert [sent.params["page"] for sent in partner.requests] == ["1", "2"]


def test_a_repeated_creation_is_found_again() -> None:
    """TikTok answers a request that it had already without naming the audience."""
    ours = {"audience_id": "31", "name": "lapsed-vip [audience-sync 7f3a]"}
    connector, _ = _started(_listed(), _ok(code=40050), _listed(ours))
    assert connector.ensure_audience(made_up_audience()) == "31"
    connector, _ = _started(_listed(), _ok(code=40050), _listed())
    with pytest.raises(TemporaryPartnerError):
        connector.ensure_audience(made_up_audience())


def test_names_are_cut_and_markers_are_not() -> None:
    """A name has 128 characters at most; the marker is what we find the list by."""
    connector, partner = _started(_listed(), _ok({"audience_id": "31"}))
    marker = f"[audience-sync:{'m' * 60}]"
    connector.ensure_audience(made_up_audience(name="n" * 300, marker=marker))
    name = partner.requests[1].json()["custom_audience_name"]
    assert len(name) == 128
    assert name.endswith(f"n {marker}")
    connector, partner = _started(_listed(), _ok({"audience_id": "31"}))
    long = f"[audience-sync:{'m' * 200}]"
    connector.ensure_audience(made_up_audience(name="n" * 300, marker=long))
    name = partner.requests[1].json()["custom_audience_name"]
    assert len(name) == 128
    found = _listed({"audience_id": "31", "name": name})
    connector, _ = _started(found)
    assert connector.ensure_audience(made_up_audience(name="other", marker=long)) == "31"


def test_a_new_kind_gets_its_audience_from_files() -> None:
    """Those that are there stay; a streaming audience takes every kind as it is."""
    uploaded = _ok({"file_path": "a1/1.csv"})
    connector, partner = _started(_listed(), uploaded, _ok({"audience_id": "72"}), flow="files")
    assert connector.complete_audience("phone:72,email:71", made_up_audience()) == (
        "email:71,phone:72"
    )
    assert partner.requests == []
    assert connector.complete_audience("email:71", made_up_audience()) == "email:71,phone:72"
    assert connector.complete_audience("71", made_up_audience()) == "71"


@pytest.mark.parametrize(
    ("remote_id", "path", "wanted"),
    [
        (STREAMING, "segment/audience/", [{"action": "delete", "audience_id": STREAMING}]),
        (
            "email:71,phone:72",
            "dmp/custom_audience/delete/",
            [{"custom_audience_ids": ["71"]}, {"custom_audience_ids": ["72"]}],
        ),
    ],
)
def test_audiences_are_deleted_and_looked_for(
    remote_id: str, path: str, wanted: list[dict[str, Any]]
) -> None:
    """One by one, since a call is refused whole where one is gone; then TikTok lists none."""
    other = {"audience_id": "9", "name": "somebody else's"}
    connector, partner = _started(*[_ok() for _ in wanted], _listed(other))
    connector.delete_audience(remote_id)
    *deletions, look = partner.requests
    assert {(sent.method, sent.url) for sent in deletions} == {("POST", f"{API}{path}")}
    assert [sent.json() for sent in deletions] == [
        {"advertiser_id": ADVERTISER} | body for body in wanted
    ]
    assert (look.method, look.url) == ("GET", f"{API}dmp/custom_audience/list/")


def test_an_audience_that_is_gone_counts_as_deleted() -> None:
    """TikTok's word for it is also the one for an audience of somebody else, so it must list it."""
    ours = {"audience_id": "72", "name": "x"}
    connector, _ = _started(_ok(code=40007), _ok(), _listed())
    connector.delete_audience("email:71,phone:72")
    for answer in (_ok(code=40007), _ok(code=40050), _ok()):
        connector, _ = _started(_ok(), answer, _listed(ours))
        with pytest.raises(TemporaryPartnerError, match="still lists"):
            connector.delete_audience("email:71,phone:72")


def test_an_audience_in_use_is_not_deleted_and_says_so() -> None:
    """TikTok keeps an audience that an active ad group uses."""
    connector, _ = _started(_ok(code=40002))
    with pytest.raises(RefusedError, match="ad group"):
        connector.delete_audience(STREAMING)
    connector, _ = _started(_ok(code=40105))
    with pytest.raises(AuthenticationError):
        connector.delete_audience(STREAMING)


def test_check_asks_for_the_advertiser_and_its_audiences() -> None:
    """The ids are an array within the query."""
    info = _ok({"list": [{"advertiser_id": ADVERTISER}]})
    connector, partner = _started(info, _listed())
    connector.check()
    assert [sent.url for sent in partner.requests] == [
        f"{API}advertiser/info/",
        f"{API}dmp/custom_audience/list/",
    ]
    assert partner.requests[0].params == {"advertiser_ids": f'["{ADVERTISER}"]'}
    connector, _ = _started(_ok({"list": [{"advertiser_id": "1"}]}))
    with pytest.raises(AuthenticationError, match="advertiser"):
        connector.check()


def _details(**changes: Any) -> dict[str, Any]:
    usual = {"cover_num": 8200, "is_valid": True, "is_expiring": False, "error_msg": None}
    return {"audience_details": usual | changes}


@pytest.mark.parametrize(
    ("details", "wanted"),
    [
        ([_details()], (8200, 8200, "ready", True)),
        ([_details(cover_num=0, is_valid=False)], (0, 0, "in preparation", False)),
        ([_details(is_expiring=True)], (8200, 8200, "expiring", True)),
        ([_details(error_msg="partner's words")], (8200, 8200, "failed", True)),
    ],
)
def test_statistics_are_read_back(details: list[Any], wanted: tuple[Any, ...]) -> None:
    """A matched size, a state in our words, and whether ads can use it; no match rate."""
    connector, partner = _started(_ok({"list": details}))
    found = connector.statistics("71")
    assert (found.size_lower, found.size_upper, found.status, found.usable) == wanted
    assert found.match_range is None
    assert partner.requests[0].params["custom_audience_ids"] == '["71"]'


def test_audiences_of_several_kinds_overlap() -> None:
    """At least the largest, at most all of them together."""
    connector, partner = _started(_ok({"list": [_details(), _details(cover_num=3000)]}))
    found = connector.statistics("email:71,phone:72")
    assert (found.size_lower, found.size_upper) == (8200, 11_200)
    assert orjson.loads(partner.requests[0].params["custom_audience_ids"]) == ["71", "72"]


def test_a_list_of_which_a_part_is_gone_is_not_all_gone() -> None:
    """Nobody may forget it while people are on the other part; TikTok refuses for either."""
    other = {"audience_id": "72", "name": "x"}
    connector, _ = _started(_ok(code=40007), _listed(other))
    with pytest.raises(ConfigurationError, match="only some"):
        connector.statistics("email:71,phone:72")
    connector, _ = _started(_ok(code=40007), _listed({"audience_id": "9", "name": "y"}))
    with pytest.raises(RefusedError, match="exist"):
        connector.statistics("email:71,phone:72")
    connector, partner = _started(_ok(code=40007))
    with pytest.raises(RefusedError, match="exist"):
        connector.statistics("71")
    assert len(partner.requests) == 1


@pytest.mark.parametrize("remote_id", ["", "email", "email:x", "mail:71", "71,72"])
def test_a_remote_id_of_another_shape_is_refused(remote_id: str) -> None:
    """The sentence says how one is written."""
    connector, _ = _started()
    with pytest.raises(ConfigurationError, match="email:71"):
        connector.add(made_up_upload(remote_id=remote_id), made_up_members(1, (Kind.EMAIL,)))


def test_an_audience_without_a_usable_kind_is_refused() -> None:
    """TikTok knows nobody by our own key."""
    connector, _ = _started()
    with pytest.raises(ConfigurationError):
        connector.ensure_audience(made_up_audience(kinds=(Kind.EXTERNAL_ID,)))


@pytest.mark.parametrize(
    "changes",
    [
        {"advertiser_id": "act_7"},
        {"api_version": "1.3"},
        {"people_per_request": 10_001},
        {"lines_per_file": 0},
        {"retention_days": 366, "flow": "files"},
        {"retention_days": 30},
    ],
)
def test_settings_are_checked(changes: dict[str, Any]) -> None:
    """A streaming audience has no retention, and digits are digits."""
    usual = {"advertiser_id": ADVERTISER, "access_token": "t"}
    with pytest.raises(ValidationError):
        TikTokSettings(**(usual | changes))
    assert TikTokSettings(**usual).flow == "streaming"


def test_limits_follow_the_settings() -> None:
    """What TikTok does not publish can be set."""
    connector, _ = _started(
        people_per_request=5_000,
        bytes_per_request=2_000_000,
        requests_per_second=20,
        requests_per_minute=1_200,
    )
    limits = connector.limits
    assert (limits.members_per_request, limits.bytes_per_request) == (5_000, 2_000_000)
    assert (limits.requests_per_second, limits.requests_per_minute) == (20, 1_200)
    assert connector.account() == ADVERTISER


@pytest.mark.parametrize("found", [{}, {"list": None}, {"list": 5}, {"list": [5, None, {}]}])
def test_lists_of_another_shape_are_no_crash(found: dict[str, Any]) -> None:
    """A success that holds something else is an error of ours, not a fault of Python."""
    connector, _ = _started(*[_ok(found)] * 2, _ok({"audience_id": "x"}), _listed())
    with pytest.raises(AuthenticationError):
        connector.check()
    with pytest.raises(TemporaryPartnerError):
        connector.ensure_audience(made_up_audience())
    connector, _ = _started(_ok(found))
    with pytest.raises(TemporaryPartnerError):
        connector.statistics("email:71,phone:72,idfa:73,gaid:74")
