"""Exact requests to Pinterest, and what its answers become."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from audience_sync.connector import (
    Answer,
    ConfigurationError,
    Kind,
    Limits,
    Members,
    RefusedError,
    TemporaryPartnerError,
)
from audience_sync.testing.builders import (
    FakePartner,
    Sent,
    answered,
    identifiers,
    made_up_audience,
    made_up_members,
    made_up_upload,
)
from connectors._pinterest_calls import PinterestSettings
from connectors._pinterest_wire import missed, placeholder
from connectors.pinterest import PinterestConnector

# SHA-256 of jane.doe@example.com, janedoe@gmail.com and of a device, as in the partner sheet.
JANE = "86e0b9e56c17cc4d12387e1949b85053fbe73bc3ce5a1188713a9d300cc6133d"
OTHER = "d6117306485ed0e50afab3ac871e98f81699151f30281527d63ff5f233656c69"
DEVICE = "d4181bb455a74b3bc8b37c75ac9b2c702eb6b9930bd040b861403b31ca85634d"
NONE = "00" * 32
LISTS = "ad_accounts/549756359984/customer_lists"
AUDIENCES = "ad_accounts/549756359984/audiences"


class Partner(FakePartner):
    """Answers a token at once, and else what it was given."""

    def respond(self, sent: Sent) -> Answer:
        if not sent.anonymous:
            return super().respond(sent)
        return answered({"access_token": "pina.1", "refresh_token": "pinr.1", "expires_in": 9999})

    @property
    def told(self) -> list[Sent]:
        return self.uploads


def _started(*answers: Answer | Exception, **changes: Any) -> tuple[PinterestConnector, Partner]:
    usual: dict[str, Any] = {
        "ad_account_id": "549756359984",
        "app_id": "1481",
        "app_secret": "app-secret",
        "refresh_token": "pinr.0",
    }
    partner = Partner(*answers)
    connector = PinterestConnector(PinterestSettings(**(usual | changes)), partner)
    partner.bind(connector)
    return connector, partner


def _shown(added: int = 0, removed: int = 0, **more: Any) -> Answer:
    usual = {
        "id": "643",
        "name": "vip [audience-sync 7f3a]",
        "status": "PROCESSING",
        "num_batches": 3,
        "num_uploaded_user_records": added,
        "num_removed_user_records": removed,
    }
    return answered(usual | more)


def _column(*rows: list[str]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.array([[list(bytes.fromhex(v)) for v in row] for row in rows], dtype=np.uint8)


def _people() -> Members:
    return Members({Kind.EMAIL: _column([JANE], [OTHER]), Kind.GAID: _column([NONE], [DEVICE])})


def test_an_addition_is_as_the_reference_says() -> None:
    """One string with commas, e-mails and devices mixed; the counter is read before."""
    connector, partner = _started(_shown(7), _shown(10))
    receipt = connector.add(made_up_upload(remote_id="643", last=False), _people())
    looked, sent = partner.told
    assert (looked.method, looked.url) == ("GET", f"{LISTS}/643")
    assert (sent.method, sent.url, sent.content_type) == (
        "PATCH",
        f"{LISTS}/643",
        "application/json",
    )
    assert sent.json() == {"operation_type": "ADD", "records": f"{JANE},{OTHER},{DEVICE}"}
    assert sent.headers["Authorization"] == "Bearer pina.1"
    assert (receipt.accepted, receipt.sent, receipt.pending) == (2, 2, False)


def test_a_removal_is_as_the_reference_says() -> None:
    """The same string with the other operation; nothing is waited for."""
    connector, partner = _started(_shown(0, 1), _shown(0, 3))
    members = Members({Kind.EMAIL: _column([JANE], [OTHER])})
    receipt = connector.remove(made_up_upload(remote_id="643", consent=None), members)
    assert partner.told[1].json() == {"operation_type": "REMOVE", "records": f"{JANE},{OTHER}"}
    assert (receipt.accepted, receipt.pending) == (2, False)


def test_check_proves_another_secret_and_costs_no_refresh_token_otherwise() -> None:
    """A renewal replaces the refresh token, so only a secret that was changed makes one."""
    nothing = answered({"items": []})
    connector, partner = _started(nothing, nothing, nothing)
    connector.check()
    connector.check()
    assert len(partner.requests) - len(partner.uploads) == 1
    changed, _ = _started(app_secret="another")
    changed.client = partner
    changed.check()
    assert len(partner.requests) - len(partner.uploads) == 2


def test_a_token_is_renewed_as_the_reference_says() -> None:
    """HTTP Basic and a form; older apps say that theirs is a continuous token."""
    for continuous in (False, True):
        connector, partner = _started(answered({"items": []}), continuous_refresh=continuous)
        connector.check()
        asked = partner.requests[0]
        assert (asked.method, asked.url) == ("POST", "oauth/token")
        assert asked.content_type == "application/x-www-form-urlencoded"
        assert asked.headers == {"Authorization": "Basic MTQ4MTphcHAtc2VjcmV0"}
        form = b"grant_type=refresh_token&refresh_token=pinr.0&scope=ads%3Aread%2Cads%3Awrite"
        assert asked.body == form + (b"&continuous_refresh=true" if continuous else b"")


def test_a_list_begins_with_a_record_of_nobody() -> None:
    """Pinterest makes no empty list, so ours begins with a hash that is taken off at once."""
    made = _shown(1, 0, num_batches=1)
    connector, partner = _started(answered({"items": []}), made, _shown(1, 1, num_batches=2))
    assert connector.ensure_audience(made_up_audience()) == "643"
    _, create, clear = partner.told
    nobody = placeholder("[audience-sync 7f3a]").decode()
    assert (create.method, create.url, create.repeatable) == ("POST", LISTS, False)
    assert create.json() == {
        "name": "lapsed-vip [audience-sync 7f3a]",
        "list_type": "EMAIL",
        "records": nobody,
    }
    assert (clear.method, clear.url) == ("PATCH", f"{LISTS}/643")
    assert clear.json() == {"operation_type": "REMOVE", "records": nobody}


def test_the_record_of_nobody_is_nobodys() -> None:
    """The hash of a text without an @, so of no e-mail address; the same for a list, always."""
    first, again = placeholder("[audience-sync 7f3a]"), placeholder("[audience-sync 7f3a]")
    assert first == again != placeholder("[audience-sync 7f3b]")
    assert len(bytes.fromhex(first.decode())) == 32
    assert placeholder("a@b") == placeholder("a b")


def test_a_list_of_devices_is_one() -> None:
    """The type says what most of its records are."""
    connector, partner = _started(answered({"items": []}), _shown(num_batches=2))
    connector.ensure_audience(made_up_audience(kinds=(Kind.GAID, Kind.IDFA)))
    assert partner.told[1].json()["list_type"] == "MAID"


def test_a_creation_whose_answer_was_lost_makes_no_twin() -> None:
    """The list is found by the marker in its name, and freed of its first record then."""
    lost = TemporaryPartnerError("the partner did not answer in time; try again later")
    connector, partner = _started(answered({"items": []}), lost)
    with pytest.raises(TemporaryPartnerError):
        connector.ensure_audience(made_up_audience())
    ours = {"id": "643", "name": "x [audience-sync 7f3a]", "num_batches": 1}
    partner.answers.extend((answered({"items": [{"id": "1"}, ours]}), _shown(num_batches=2)))
    assert connector.ensure_audience(made_up_audience()) == "643"
    assert [sent.method for sent in partner.told] == ["GET", "POST", "GET", "PATCH"]


def test_a_list_in_use_is_left_as_it_is() -> None:
    """Found on a later page, with more than its creation behind it."""
    first = {"items": [{"id": "1", "name": "other"}], "bookmark": "b1"}
    ours = {"id": "2", "name": "renamed [audience-sync 7f3a]", "num_batches": 4}
    connector, partner = _started(answered(first), answered({"items": [ours], "bookmark": None}))
    assert connector.ensure_audience(made_up_audience()) == "2"
    assert [sent.params for sent in partner.told] == [
        {"page_size": "250"},
        {"page_size": "250", "bookmark": "b1"},
    ]


def test_a_bookmark_that_turns_in_a_circle_ends() -> None:
    """A page that leads to itself is read once."""
    page = answered({"items": [], "bookmark": "b1"})
    connector, partner = _started(page, page, _shown(num_batches=2))
    connector.ensure_audience(made_up_audience())
    assert len(partner.told) == 3


@pytest.mark.parametrize(("records", "requests"), [(100, 1), (101, 2), (200, 2), (201, 3)])
def test_no_request_has_more_records_than_allowed(records: int, requests: int) -> None:
    """At the limit one request, above it another one; each is counted from the one before."""
    counts = [min(100 * turn, records) for turn in range(requests + 1)]
    connector, partner = _started(*map(_shown, counts), records_per_request=100)
    members = made_up_members(records, (Kind.EMAIL,))
    receipt = connector.add(made_up_upload(remote_id="643", last=False), members)
    sent = [request.json()["records"].split(",") for request in partner.told[1:]]
    assert [len(part) for part in sent] == [100] * (requests - 1) + [records - 100 * (requests - 1)]
    assert {record for part in sent for record in part} == identifiers(members)
    assert receipt.accepted == records


def test_records_are_counted_and_not_members() -> None:
    """A member with three identifiers is three records, and never split over two requests."""
    kinds = (Kind.EMAIL, Kind.IDFA, Kind.GAID)
    members = made_up_members(4, kinds, forms=PinterestConnector.forms)
    connector, partner = _started(*map(_shown, (0, 6, 12)), records_per_request=7)
    connector.add(made_up_upload(remote_id="643", last=False), members)
    assert [len(sent.json()["records"].split(",")) for sent in partner.told[1:]] == [6, 6]


def test_the_largest_request_fits_into_a_megabyte() -> None:
    """Whatever is set for the records of a request."""
    connector, partner = _started(_shown(0), _shown(15_000), records_per_request=15_000)
    members = made_up_members(15_000, (Kind.EMAIL,))
    connector.add(made_up_upload(remote_id="643", last=False), members)
    size = len(partner.told[1].body or b"")
    assert PinterestConnector.limits.bytes_per_request == 1_000_000 >= size > 975_000
    with pytest.raises(ValidationError):
        _started(records_per_request=15_001)


def test_what_is_too_large_goes_by_halves() -> None:
    """Pinterest documents no limit, so a 413 is an answer to expect."""
    much = answered({"code": 413, "message": "no"}, 413)
    connector, partner = _started(_shown(0), much, _shown(3), _shown(5))
    members = made_up_members(5, (Kind.EMAIL,))
    assert connector.add(made_up_upload(remote_id="643", last=False), members).accepted == 5
    assert [len(s.json()["records"].split(",")) for s in partner.told[1:]] == [5, 3, 2]
    connector, _ = _started(_shown(0), much)
    with pytest.raises(RefusedError):
        connector.add(made_up_upload(remote_id="643"), members.take([0]))


def test_records_that_were_not_counted_are_unattributed() -> None:
    """Nobody knows whose they are; a counter that rose too far is a batch that came twice."""
    members = made_up_members(5, (Kind.EMAIL,))
    for after, unattributed in ((15, 0), (13, 2), (10, 5), (20, 0)):
        connector, _ = _started(_shown(10), _shown(after))
        receipt = connector.add(made_up_upload(remote_id="643", last=False), members)
        assert (receipt.sent, receipt.unattributed) == (5, unattributed)
        assert receipt.reason == ("num_uploaded_user_records" if unattributed else None)


def test_lacking_records_become_members() -> None:
    """Added is who has one record there; removed is only who has none left."""
    counts = np.array([1, 3, 2, 0])
    assert [missed(counts, lacking, "ADD") for lacking in range(7)] == [0, 1, 1, 2, 2, 2, 3]
    assert [missed(counts, lacking, "REMOVE") for lacking in (0, 1, 3, 9)] == [0, 1, 3, 3]


@pytest.mark.parametrize("body", [{}, {"id": "643"}, {"id": "x"}, [], None])
def test_an_answer_without_counters_is_no_success(body: Any) -> None:
    """A 200 that does not say what was taken is asked again."""
    connector, _ = _started(_shown(0), answered(body))
    with pytest.raises(TemporaryPartnerError):
        connector.add(made_up_upload(remote_id="643"), made_up_members(1, (Kind.EMAIL,)))


def test_members_without_an_identifier_for_pinterest_are_rejected() -> None:
    """Phones are not taken: such a member is accounted for and not sent."""
    connector, partner = _started()
    receipt = connector.add(made_up_upload(), made_up_members(2, (Kind.PHONE,)))
    assert [r.reason for r in receipt.rejected] == ["no_usable_identifier"] * 2
    assert not receipt.pending
    assert partner.told == []


def test_the_last_upload_waits_for_the_list() -> None:
    """It stands for all of its session: the list is looked at once and not once a batch."""
    connector, _ = _started(_shown(0), _shown(2), poll_after=600)
    receipt = connector.add(made_up_upload(remote_id="643"), made_up_members(2, (Kind.EMAIL,)))
    assert (receipt.pending, receipt.reference, receipt.poll_after) == (True, "643/2", 600)


def test_a_ready_list_gets_its_audience() -> None:
    """The list is not targetable by itself; its audience is made when Pinterest is done."""
    others = {"items": [{"id": "9", "rule": {"customer_list_id": "642"}}, {"id": "8"}]}
    top = {"id": "2542620905473", "rule": {"customer_list_id": "643"}}
    connector, partner = _started(_shown(status="READY"), answered(others), answered(top))
    receipt = connector.poll("643/2")
    assert (receipt.accepted, receipt.pending) == (2, False)
    _, looked, made = partner.told
    assert (looked.method, looked.url) == ("GET", AUDIENCES)
    assert (made.method, made.url, made.repeatable) == ("POST", AUDIENCES, False)
    assert made.json() == {
        "ad_account_id": "549756359984",
        "name": "vip",
        "rule": {"customer_list_id": "643"},
        "audience_type": "CUSTOMER_LIST",
        "description": "vip [audience-sync 7f3a]",
    }


def test_a_refused_audience_is_tried_again_later() -> None:
    """Pinterest may find the list too small after all; the members are on it all the same."""
    refused = answered({"code": 1, "message": "too small"}, 400)
    connector, partner = _started(_shown(status="READY"), answered({"items": []}), refused)
    receipt = connector.poll("643/2")
    assert (receipt.accepted, receipt.pending) == (2, True)
    top = {"id": "2542620905473", "rule": {"customer_list_id": "643"}}
    partner.answers.extend((_shown(status="READY"), answered({"items": []}), answered(top)))
    assert not connector.poll("643/2").pending


def test_an_audience_is_made_once() -> None:
    """One that rests on the list is there already, whoever made it."""
    top = {"id": "7", "rule": {"customer_list_id": 643}}
    connector, partner = _started(_shown(status="READY"), answered({"items": [top]}))
    assert not connector.poll("643/2").pending
    assert len(partner.told) == 2


@pytest.mark.parametrize("status", ["PROCESSING", "UPLOADING", "strange", None])
def test_a_list_at_work_is_asked_about_later(status: str | None) -> None:
    """No audience is tried before the list is ready: Pinterest would refuse it."""
    connector, partner = _started(_shown(status=status))
    receipt = connector.poll("643/2")
    assert (receipt.accepted, receipt.pending, receipt.poll_after) == (2, True, 1_800)
    assert len(partner.told) == 1


def test_a_list_that_is_too_small_gets_none() -> None:
    """That is the end of this delivery; the next one looks again."""
    connector, partner = _started(_shown(status="TOO_SMALL"))
    receipt = connector.poll("643/2")
    assert (receipt.accepted, receipt.pending, receipt.reason) == (2, False, "too_small")
    assert len(partner.told) == 1


def test_statistics_are_of_the_audience() -> None:
    """A list tells no size; its counters count the same person twice."""
    top = {"id": "7", "rule": {"customer_list_id": "643"}, "size": 8200, "status": "READY"}
    connector, _ = _started(_shown(status="READY"), answered({"items": [top]}))
    found = connector.statistics("643")
    assert (found.size_lower, found.size_upper, found.usable) == (8200, 8200, True)
    assert found.status == "list ready, audience ready"
    connector, _ = _started(_shown(status="TOO_SMALL"), answered({"items": []}))
    found = connector.statistics("643")
    assert (found.size_lower, found.usable) == (None, False)
    assert found.status == "list too small, no audience yet"


@pytest.mark.parametrize("remote_id", ["", "64/3", "x", "6 4", "..", "\N{FULLWIDTH DIGIT ONE}"])
def test_a_remote_id_is_digits(remote_id: str) -> None:
    """An adopted list cannot lead to another address."""
    connector, partner = _started()
    with pytest.raises(ConfigurationError):
        connector.statistics(remote_id)
    with pytest.raises(ConfigurationError):
        connector.add(made_up_upload(remote_id=remote_id), _people())
    assert partner.told == []


def test_an_account_is_digits() -> None:
    """So that it cannot lead to another address either."""
    for account in ("", "5/6", "abc"):
        with pytest.raises(ValidationError):
            _started(ad_account_id=account)


def test_trial_access_is_counted_by_the_day() -> None:
    """A thousand requests; standard access is limited by the minute."""

    def limits(**changes: Any) -> Limits:
        return _started(**changes)[0].limits

    assert (limits().requests_per_day, limits().requests_per_minute) == (None, 400)
    assert limits(trial_access=True).requests_per_day == 1_000
