"""TikTok's codes become the error that says what to do."""

from __future__ import annotations

import pytest

from audience_sync.connector import (
    Answer,
    AuthenticationError,
    Kind,
    PartnerError,
    RefusedError,
    TemporaryPartnerError,
)
from audience_sync.testing.builders import (
    FakePartner,
    answered,
    made_up_members,
    made_up_upload,
)
from connectors.tiktok import TikTokConnector, TikTokSettings

SETTINGS = TikTokSettings(advertiser_id="7000000000000000001", access_token="tiktok-canary")
CONNECTOR = TikTokConnector(SETTINGS, FakePartner())
AGAIN, STOP, NO = TemporaryPartnerError, AuthenticationError, RefusedError


def _envelope(code: object, status: int = 200) -> Answer:
    return answered(
        {"code": code, "message": "partner's words", "request_id": "20261121", "data": {}}, status
    )


ROWS = [
    (20001, AGAIN, "part"),
    (40000, NO, "settings"),
    (40001, STOP, "Operator"),
    (40002, NO, "settings"),
    (40003, STOP, "Operator"),
    (40006, NO, "api_version"),
    (40007, NO, "exist"),
    (40009, NO, "sandbox"),
    (40011, NO, "more than"),
    (40013, NO, "sandbox"),
    (40061, NO, "more than"),
    (40062, NO, "not hashed"),
    (40100, AGAIN, "limit"),
    (40101, STOP, "allow"),
    (40102, STOP, "token"),
    (40103, STOP, "token"),
    (40104, STOP, "token"),
    (40105, STOP, "token"),
    (40110, STOP, "token"),
    (40113, STOP, "allow"),
    (40118, STOP, "allow"),
    (40125, STOP, "allow"),
    (40130, STOP, "allow"),
    (40132, AGAIN, "limit"),
    (40200, NO, "Ads Manager"),
    (40201, AGAIN, "at work"),
    (40202, AGAIN, "somebody else"),
    (40300, STOP, "Operator"),
    (40301, STOP, "Operator"),
    (40400, NO, "base_url"),
    (40700, NO, "settings"),
    (40900, NO, "whole"),
    (40905, NO, "whole"),
    (40906, NO, "file"),
    (40907, NO, "more than"),
    (40908, NO, "file"),
    (40909, NO, "file"),
    (40910, NO, "whole"),
    (40915, NO, "whole"),
    (41000, STOP, "blocked"),
    (42900, AGAIN, "limit"),
    (50000, AGAIN, "now"),
    (50002, AGAIN, "now"),
    (51003, AGAIN, "now"),
    (51010, AGAIN, "now"),
    (51063, AGAIN, "now"),
    (52001, AGAIN, "now"),
    (52999, AGAIN, "now"),
    (60001, AGAIN, "maintenance"),
    (61000, AGAIN, "limit"),
    (47110, NO, "refuses"),
]


@pytest.mark.parametrize(("code", "wanted", "word"), ROWS)
@pytest.mark.parametrize("status", [200, 400])
def test_a_code_decides_whatever_the_status(
    code: int, wanted: type[PartnerError], word: str, status: int
) -> None:
    """TikTok says no with HTTP 200, and the operator reads our sentence with its code."""
    found = CONNECTOR.explain(_envelope(code, status))
    assert type(found) is wanted
    assert word in found.message
    assert (found.status, found.code) == (status, str(code))
    assert "partner's words" not in str(found)


@pytest.mark.parametrize("code", [0, 40012, 40050])
def test_what_is_done_already_is_a_success(code: int) -> None:
    """Nothing to update, and a request that was made before, are no errors."""
    assert CONNECTOR.explain(_envelope(code)) is None


@pytest.mark.parametrize("body", [b"<html>Not Found</html>", b"{}"])
def test_a_wrong_address_says_so(body: bytes) -> None:
    """The edge before TikTok knows none of its codes."""
    found = CONNECTOR.explain(answered(body, 404))
    assert type(found) is NO
    assert "base_url" in found.message


IN_DOUBT = {20001, 40050, 40200, 40201, 40202, 40700, 60001, 47110, *range(50000, 60000)}


@pytest.mark.parametrize("code", sorted({code for code, *_ in ROWS} | {0, 40050}))
def test_a_code_proves_that_nothing_was_done_or_leaves_a_doubt(code: int) -> None:
    """TikTok refuses with HTTP 200; what it refused before it looked at the people is certain."""
    surely = code not in IN_DOUBT | {0}
    assert CONNECTOR.changed_nothing(_envelope(code)) is surely
    assert CONNECTOR.changed_nothing(_envelope(code, 400)) is surely


@pytest.mark.parametrize(
    ("body", "status", "surely"),
    [
        (b'{"code": 0, "data": {"file_path": "a1/1.csv"}}', 200, True),  # a file is on no list yet
        (b'{"code": 0, "data": {"custom_audience_id": "71"}}', 200, False),
        (b'{"code": 40105}', 502, False),
        (b"<html>Too Many Requests</html>", 429, True),
        (b"<html>Bad Gateway</html>", 502, False),
        (b"", 200, False),
        (b"[]", 200, False),
        (b'{"data": {"file_path": "a1/1.csv"}}', 200, False),
        (b'{"code": 0, "data": []}', 200, False),
    ],
)
def test_what_is_no_clear_word_proves_nothing(body: bytes, status: int, surely: bool) -> None:
    """A server in trouble may have done it, whatever it says; a plain 4xx of the edge has not."""
    assert CONNECTOR.changed_nothing(answered(body, status)) is surely


@pytest.mark.parametrize(("code", "wait"), [(40201, 60.0), (60001, 600.0), (40100, None)])
def test_waits_are_as_long_as_the_trouble(code: int, wait: float | None) -> None:
    """Maintenance takes minutes; a throttle begins with a second, and grows in the client."""
    found = CONNECTOR.explain(_envelope(code))
    assert isinstance(found, TemporaryPartnerError)
    assert found.retry_after == wait


@pytest.mark.parametrize(
    ("body", "status", "wanted"),
    [
        (b"<html>502 Bad Gateway</html>", 502, AGAIN),
        (b"<html>502 Bad Gateway</html>", 200, AGAIN),
        (b"", 200, AGAIN),
        (b'{"code": 0, "mess', 200, AGAIN),
        (b"{}", 200, AGAIN),
        (b'{"code": null}', 200, AGAIN),
        (b'{"code": true}', 200, AGAIN),
        (b'{"code": 47110}', 503, AGAIN),
        (b'{"code": 47110}', 401, STOP),
        (b"{}", 401, STOP),
        (b"{}", 404, NO),
        (b"{}", 429, AGAIN),
        (b'{"code": 0}', 500, AGAIN),
    ],
)
def test_what_is_no_envelope_goes_by_the_status(
    body: bytes, status: int, wanted: type[PartnerError]
) -> None:
    """The edge before TikTok answers in HTML; a success without a code is none."""
    assert type(CONNECTOR.explain(answered(body, status))) is wanted


def _started(*answers: Answer | Exception) -> tuple[TikTokConnector, FakePartner]:
    partner = FakePartner(*answers)
    connector = TikTokConnector(SETTINGS, partner)
    partner.bind(connector)
    return connector, partner


def _people(sent: FakePartner) -> list[int]:
    return [len(request.json()["batch_data"]) for request in sent.requests]


@pytest.mark.parametrize("refusal", [_envelope(40011), _envelope(40061), answered({}, 413)])
def test_what_is_too_much_goes_in_halves(refusal: Answer) -> None:
    """Too many ids, a bad batch size or HTTP 413: the same people in two requests."""
    done = _envelope(0)
    connector, partner = _started(refusal, done, refusal, done, done)
    members = made_up_members(4, (Kind.EMAIL,))
    assert connector.add(made_up_upload(remote_id="71"), members).accepted == 4
    assert _people(partner) == [4, 2, 2, 1, 1]


def test_one_person_is_never_too_much() -> None:
    """A request that cannot be halved is refused."""
    connector, partner = _started(*[_envelope(40011)] * 5)
    with pytest.raises(RefusedError):
        connector.add(made_up_upload(remote_id="71"), made_up_members(2, (Kind.EMAIL,)))
    assert _people(partner) == [2, 1]


def test_a_request_that_was_done_in_part_leaves_its_people_in_doubt() -> None:
    """Only those of that request; the client has sent it several times by then."""
    partly = TemporaryPartnerError("TikTok did only a part of the request", 200, "20001")
    connector, _ = _started(_envelope(40011), partly, _envelope(0))
    receipt = connector.add(made_up_upload(remote_id="71"), made_up_members(10, (Kind.EMAIL,)))
    assert (receipt.accepted, receipt.unattributed, receipt.reason) == (5, 5, "20001")


def test_another_trouble_is_not_taken_for_a_part() -> None:
    """A throttle in the midst of a batch stops it, to be sent again."""
    connector, _ = _started(_envelope(40100))
    with pytest.raises(TemporaryPartnerError):
        connector.add(made_up_upload(remote_id="71"), made_up_members(1, (Kind.EMAIL,)))


@pytest.mark.parametrize("operation", ["add", "remove"])
def test_a_request_that_tiktok_takes_for_a_copy_leaves_doubt(operation: str) -> None:
    """It may be a copy of a day when the people were elsewhere; a removal is then made again."""
    connector, _ = _started(_envelope(40050))
    members = made_up_members(4, (Kind.EMAIL,))
    receipt = getattr(connector, operation)(made_up_upload(remote_id="71"), members)
    assert (receipt.accepted, receipt.unattributed, receipt.reason) == (0, 4, "40050")


def test_a_file_that_was_put_to_use_before_is_no_copy_of_another() -> None:
    """The path is of one upload, so that only the same call can have come before."""
    uploaded = answered({"code": 0, "data": {"file_path": "a1/1.csv"}})
    connector, _ = _started(uploaded, _envelope(40050))
    receipt = connector.remove(
        made_up_upload(remote_id="email:71"), made_up_members(4, (Kind.EMAIL,))
    )
    assert (receipt.accepted, receipt.unattributed) == (4, 0)
