"""Whole lists at Meta: replaced where their members are lost, and people off all of them."""

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
    answered,
    made_up_members,
    made_up_upload,
)
from connectors.meta import MetaConnector, MetaSettings

MARY = "f1904cf1a9d73a55fa5de0ac823c4403ded71afd4c3248d00bdcd0866552bb79"
DANA = "07e2f1394b0ea80e2adca010ea8318df697001a005ba7452720edda4b0ce57b3"
PHONE = "1ef970831d7963307784fa8688e8fce101a15685d62aa765fed23f3a2c576a4e"
CUSTOMER = "84d8b5ae5d7bdd0c1b28b83c9b6d7d1a6a8a2a9d0fcd8d0a6e7d5a1b6a3c4d5e"
IDFA = "6d92078a-8246-4ba4-ae5b-76104861e7dc"
SESSION = {
    "session_id": 9778993,
    "batch_seq": 1,
    "last_batch_flag": True,
    "estimated_num_total": 2,
}
AFRESH = made_up_upload(remote_id="23851", afresh=True)


def _started(*answers: Answer | Exception, **changes: Any) -> tuple[MetaConnector, FakePartner]:
    usual = {"ad_account_id": "1234567890", "access_token": "EAATESTTOKEN"}
    partner = FakePartner(*answers)
    connector = MetaConnector(MetaSettings(**(usual | changes)), partner)
    partner.bind(connector)
    return connector, partner


def _counts(received: int, invalid: int = 0, samples: Any = None) -> Answer:
    return answered(
        {
            "account_id": "23851",
            "session_id": "9778993",
            "num_received": received,
            "num_invalid_entries": invalid,
            "invalid_entry_samples": {} if samples is None else samples,
        }
    )


def _audience(status: int, upper: int = 9600) -> Answer:
    return answered(
        {"id": "1", "operation_status": {"code": status}, "approximate_count_upper_bound": upper}
    )


def _refused(code: int, subcode: int) -> Answer:
    return answered({"error": {"code": code, "error_subcode": subcode}}, 400)


def _column(*rows: list[str]) -> np.ndarray[Any, Any]:
    raw = [[list(bytes.fromhex(cell.replace("-", ""))) for cell in row] for row in rows]
    return np.array(raw, dtype=np.uint8)


EMAILS = Members({Kind.EMAIL: _column([MARY], [DANA])})


def test_a_lost_list_is_replaced_as_the_reference_says() -> None:
    """The first batch to a list of ours that holds strangers is a replacement of one request."""
    connector, partner = _started(_audience(200), _counts(2))
    receipt = connector.add(AFRESH, EMAILS)
    looked, sent = partner.requests
    assert (looked.method, looked.url) == ("GET", "v26.0/23851")
    assert (sent.method, sent.url) == ("POST", "v26.0/23851/usersreplace")
    assert sent.json() == {
        "session": SESSION,
        "payload": {"schema": "EMAIL_SHA256", "data": [MARY, DANA]},
    }
    assert (receipt.accepted, receipt.pending, receipt.poll_after) == (2, True, 300.0)
    assert receipt.reference == "replaced 23851 2"


@pytest.mark.parametrize(("status", "upper"), [(410, -1), (441, 900), (414, 900), (200, 0)])
def test_a_list_without_strangers_is_filled(status: int, upper: int) -> None:
    """A list that nothing was uploaded to is not replaced, nor one that Meta is at work on."""
    connector, partner = _started(_audience(status, upper), _counts(2))
    receipt = connector.add(AFRESH, EMAILS)
    assert partner.requests[1].url == "v26.0/23851/users"
    assert (receipt.accepted, receipt.pending) == (2, False)


@pytest.mark.parametrize(
    ("changes", "kinds", "afresh"),
    [
        ({"replace_lost_lists": False}, [Kind.EMAIL], True),
        ({"limited_data_use": True}, [Kind.EMAIL], True),
        ({"send_external_id": True}, [Kind.EMAIL, Kind.EXTERNAL_ID], True),
        ({}, [Kind.EMAIL], False),
    ],
)
def test_a_replacement_that_meta_would_not_take_is_not_tried(
    changes: dict[str, Any], kinds: list[Kind], afresh: bool
) -> None:
    """Columns that a replacement has no place for, the setting, and lists whose members we know."""
    connector, partner = _started(_counts(2), **changes)
    connector.add(made_up_upload(remote_id="23851", afresh=afresh), made_up_members(2, kinds))
    assert [sent.url for sent in partner.requests] == ["v26.0/23851/users"]


def test_a_list_too_large_to_be_replaced_is_filled() -> None:
    """Meta replaces fewer than 100 million members; additions still arrive."""
    connector, partner = _started(_audience(200), _refused(2650, 1870144), _counts(2))
    assert connector.add(AFRESH, EMAILS).accepted == 2
    assert partner.requests[2].url == "v26.0/23851/users"


@pytest.mark.parametrize(
    ("subcode", "error"), [(1870145, TemporaryPartnerError), (1870148, TemporaryPartnerError)]
)
def test_a_replacement_that_cannot_be_now_is_tried_again(
    subcode: int, error: type[Exception]
) -> None:
    """The list is being updated, or the replacement failed: the whole of it goes again."""
    connector, _ = _started(_audience(200), _refused(2650, subcode))
    with pytest.raises(error):
        connector.add(AFRESH, EMAILS)


def test_a_bug_of_ours_is_refused() -> None:
    """A replacement without its first batch is nothing to try again."""
    connector, _ = _started(_audience(200), _refused(2650, 1870147))
    with pytest.raises(RefusedError):
        connector.add(AFRESH, EMAILS)


def test_a_repeated_replacement_has_a_session_of_its_own() -> None:
    """A session that Meta has finished takes no batch again; the next one replaces the same."""
    connector, partner = _started(_audience(200), _refused(2650, 1870159), _counts(2))
    assert connector.add(AFRESH, EMAILS).accepted == 2
    first, second = (sent.json()["session"] for sent in partner.requests[1:])
    assert first["session_id"] != second["session_id"]
    assert (second["batch_seq"], second["last_batch_flag"]) == (1, True)


@pytest.mark.parametrize(("members", "rows"), [(5_000, [10_000]), (5_001, [10_000, 2])])
def test_a_replacement_keeps_to_the_limit_of_rows(members: int, rows: list[int]) -> None:
    """Rows beyond the first request are added; a second replacement would undo the first."""
    connector, partner = _started(_audience(200), _counts(rows[0]), _counts(2))
    receipt = connector.add(AFRESH, made_up_members(members, (Kind.EMAIL,), slots=2))
    sent = partner.requests[1:]
    assert [len(one.json()["payload"]["data"]) for one in sent] == rows
    assert [one.url.rpartition("/")[2] for one in sent] == ["usersreplace", "users"][: len(rows)]
    assert receipt.accepted == members


def test_bad_entries_of_a_replacement_are_rejections() -> None:
    """A replacement counts and names them as any upload does."""
    connector, _ = _started(_audience(200), _counts(2, 1, [DANA]))
    receipt = connector.add(AFRESH, EMAILS)
    assert [rejection.position for rejection in receipt.rejected] == [1]
    assert (receipt.accepted, receipt.reference) == (1, "replaced 23851 1")


@pytest.mark.parametrize(
    ("status", "wanted"),
    [(414, (2, 0, True, False)), (415, (0, 2, False, True)), (200, (2, 0, False, False))],
)
def test_what_became_of_a_replacement_is_read(
    status: int, wanted: tuple[int, int, bool, bool]
) -> None:
    """Meta shows it in the audience's state; a failed one is sent again."""
    connector, partner = _started(_audience(status))
    found = connector.poll("replaced 23851 2")
    assert (found.accepted, found.unattributed, found.pending, found.lost) == wanted
    assert partner.requests[0].params["fields"] == "id,operation_status"


def test_a_state_that_is_not_told_is_no_success() -> None:
    """Without Meta's word nobody knows whether the replacement is done."""
    connector, _ = _started(answered({"id": "23851"}))
    with pytest.raises(TemporaryPartnerError):
        connector.poll("replaced 23851 2")


@pytest.mark.parametrize("reference", ["session 9", "replaced", "replaced 1", "replaced ../x 2"])
def test_nothing_else_is_polled(reference: str) -> None:
    """Whatever is not the reference of a replacement leads to no request."""
    connector, partner = _started()
    with pytest.raises(ConfigurationError):
        connector.poll(reference)
    assert partner.requests == []


@pytest.mark.parametrize(
    ("remove_with", "method", "params"),
    [("delete", "DELETE", {}), ("method-override", "POST", {"method": "DELETE"})],
)
def test_a_withdrawal_is_the_references(
    remove_with: str, method: str, params: dict[str, str]
) -> None:
    """People leave every audience of the ad account by one request with a body."""
    connector, partner = _started(_counts(2), remove_with=remove_with)
    members = Members({Kind.EMAIL: _column([MARY], [DANA]), Kind.PHONE: _column([PHONE], [PHONE])})
    receipt = connector.withdraw(members)
    (sent,) = partner.requests
    assert (sent.method, sent.url) == (method, "v26.0/act_1234567890/usersofanyaudience")
    assert sent.params == params
    assert sent.json() == {
        "payload": {"schema": ["EMAIL", "PHONE"], "data": [[MARY, PHONE], [DANA, PHONE]]}
    }
    assert receipt is not None
    assert (receipt.accepted, receipt.sent, receipt.pending) == (2, 2, False)


def test_a_withdrawal_takes_every_identifier() -> None:
    """A device or an id that may not be sent any more can still be taken off."""
    connector, partner = _started(_counts(1))
    members = Members({Kind.IDFA: _column([IDFA]), Kind.EXTERNAL_ID: _column([CUSTOMER])})
    connector.withdraw(members)
    assert partner.requests[0].json()["payload"] == {
        "schema": ["MADID", "EXTERN_ID"],
        "data": [[IDFA, CUSTOMER]],
    }


@pytest.mark.parametrize(("members", "sizes"), [(10_000, [10_000]), (10_001, [10_000, 1])])
def test_a_withdrawal_keeps_to_the_limit(members: int, sizes: list[int]) -> None:
    """More people than a request holds are several requests."""
    connector, partner = _started(*map(_counts, sizes))
    receipt = connector.withdraw(made_up_members(members, (Kind.EMAIL,)))
    assert receipt is not None
    assert receipt.accepted == members
    assert [len(sent.json()["payload"]["data"]) for sent in partner.requests] == sizes


def test_a_withdrawal_can_be_limited_to_our_lists() -> None:
    """An ad account that others use too may not want it."""
    connector, partner = _started(withdraw_everywhere=False)
    assert connector.withdraw(EMAILS) is None
    assert partner.requests == []


@pytest.mark.parametrize(
    ("changes", "columns", "cells"),
    [
        ({}, ["DATA_PROCESSING_OPTIONS"], [["LDU"]]),
        (
            {"limited_data_use_country": 1, "limited_data_use_state": 1000},
            [
                "DATA_PROCESSING_OPTIONS",
                "DATA_PROCESSING_OPTIONS_COUNTRY",
                "DATA_PROCESSING_OPTIONS_STATE",
            ],
            [["LDU"], 1, 1000],
        ),
        (
            {"limited_data_use_country": 0, "limited_data_use_state": 0},
            [
                "DATA_PROCESSING_OPTIONS",
                "DATA_PROCESSING_OPTIONS_COUNTRY",
                "DATA_PROCESSING_OPTIONS_STATE",
            ],
            [["LDU"], 0, 0],
        ),
    ],
)
def test_limited_data_use_is_the_references(
    changes: dict[str, Any], columns: list[str], cells: list[Any]
) -> None:
    """Every row says so in columns of its own, and where the person is when that is set."""
    connector, partner = _started(_counts(2), limited_data_use=True, **changes)
    connector.add(made_up_upload(remote_id="23851"), EMAILS)
    assert partner.requests[0].json()["payload"] == {
        "schema": ["EMAIL", *columns],
        "data": [[MARY, *cells], [DANA, *cells]],
    }


def test_a_removal_says_nothing_of_limited_data_use() -> None:
    """Nobody's use is limited by leaving."""
    connector, partner = _started(_counts(2), limited_data_use=True)
    connector.remove(made_up_upload(remote_id="23851", consent=None), EMAILS)
    assert partner.requests[0].json()["payload"]["schema"] == "EMAIL_SHA256"


def test_an_external_id_is_a_column() -> None:
    """Our id for a person, hashed, beside the other identifiers."""
    connector, partner = _started(_counts(1), send_external_id=True)
    members = Members({Kind.EMAIL: _column([MARY]), Kind.EXTERNAL_ID: _column([CUSTOMER])})
    connector.add(made_up_upload(remote_id="23851"), members)
    assert partner.requests[0].json()["payload"] == {
        "schema": ["EMAIL", "EXTERN_ID"],
        "data": [[MARY, CUSTOMER]],
    }


def test_external_ids_alone_are_a_flat_list() -> None:
    """The single key has the column's own name."""
    connector, partner = _started(_counts(1))
    upload = made_up_upload(remote_id="23851", consent=None)
    connector.remove(upload, Members({Kind.EXTERNAL_ID: _column([CUSTOMER])}))
    assert partner.requests[0].json()["payload"] == {"schema": "EXTERN_ID", "data": [CUSTOMER]}


def test_external_ids_are_sent_where_they_are_wanted() -> None:
    """Otherwise they are left out, and a person with nothing else is accounted for."""
    connector, partner = _started(_counts(1))
    assert Kind.EXTERNAL_ID not in MetaConnector.sendable(connector.settings)
    wanting = connector.settings.model_copy(update={"send_external_id": True})
    assert Kind.EXTERNAL_ID in MetaConnector.sendable(wanting)
    none = "00" * 32
    members = Members(
        {Kind.EMAIL: _column([MARY], [none]), Kind.EXTERNAL_ID: _column([CUSTOMER], [CUSTOMER])}
    )
    receipt = connector.add(made_up_upload(remote_id="23851"), members)
    assert partner.requests[0].json()["payload"] == {"schema": "EMAIL_SHA256", "data": [MARY]}
    assert [rejection.position for rejection in receipt.rejected] == [1]


@pytest.mark.parametrize(
    ("retention", "own_ids", "days"),
    [
        (None, False, None),
        (180, False, 166),
        (7, False, 6),
        (None, True, 83),
        (180, True, 83),
        (7, True, 6),
    ],
)
def test_members_are_sent_again_before_meta_forgets_them(
    retention: int | None,
    own_ids: bool,
    days: int | None,
) -> None:
    """A list with a retention forgets people, and Meta forgets external ids after 90 days."""
    settings = MetaSettings(
        ad_account_id="1", access_token="x", retention_days=retention, send_external_id=own_ids
    )
    wanted = None if days is None else timedelta(days=days)
    assert MetaConnector.refresh_after(settings) == wanted


@pytest.mark.parametrize(
    "changes",
    [
        {"limited_data_use": True, "limited_data_use_country": 1},
        {"limited_data_use": True, "limited_data_use_state": 1000},
        {"limited_data_use_country": 1, "limited_data_use_state": 1000},
        {
            "limited_data_use": True,
            "limited_data_use_country": -1,
            "limited_data_use_state": 0,
        },
    ],
)
def test_half_a_place_is_refused(changes: dict[str, Any]) -> None:
    """Country and state belong together, and to limited data use."""
    with pytest.raises(ValidationError):
        MetaSettings(ad_account_id="1", access_token="x", **changes)


def test_a_deletion_is_the_references() -> None:
    """A list goes by its id alone, and only Meta's yes counts."""
    connector, partner = _started(answered({"success": True}))
    connector.delete_audience("23851")
    (sent,) = partner.requests
    assert (sent.method, sent.url, sent.body) == ("DELETE", "v26.0/23851", None)


def test_a_list_that_is_gone_needs_no_deletion() -> None:
    """Meta's word for it may also mean a missing right, so the account's lists are looked through.

    An account that still shows the list, or that cannot be read, proves nothing.
    """
    gone, there = answered({"data": [{"id": "7"}]}), answered({"data": [{"id": "23851"}]})
    connector, partner = _started(_refused(100, 33), gone)
    connector.delete_audience("23851")
    assert partner.requests[1].url == "v26.0/act_1234567890/customaudiences"
    for second in (there, _refused(100, 33), answered({})):
        connector, _ = _started(_refused(100, 33), second)
        with pytest.raises((RefusedError, TemporaryPartnerError)):
            connector.delete_audience("23851")


@pytest.mark.parametrize("answer", [{}, {"id": "23851"}, {"success": "perhaps"}])
def test_a_deletion_that_nobody_confirms_is_tried_again(answer: Any) -> None:
    """Whoever is on the list may still be there."""
    connector, _ = _started(answered(answer))
    with pytest.raises(TemporaryPartnerError):
        connector.delete_audience("23851")


def test_a_list_that_lookalikes_need_stays() -> None:
    """A person has to delete these first, and is told so."""
    connector, partner = _started(answered({"error": {"code": 2656}}, 400))
    with pytest.raises(RefusedError, match="lookalike"):
        connector.delete_audience("23851")
    assert len(partner.requests) == 1


def test_the_smallest_audience_is_a_setting() -> None:
    """Meta does not document how many people an ad needs."""
    usual = {"ad_account_id": "1", "access_token": "x"}
    assert MetaConnector.minimum_of(MetaSettings(**usual)) == 100
    assert MetaConnector.minimum_of(MetaSettings(**usual, minimum_audience=20)) == 20
