"""Whole lists over HTTP at the simulated partners: replaced, refreshed, left, two at once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import orjson
import pytest
import requests

from audience_sync.connector import Connector, Kind, RefusedError, TemporaryPartnerError
from audience_sync.delivery.client import HttpPartnerClient
from audience_sync.sandbox.credentials import demo_service_account
from audience_sync.sandbox.server import running_sandbox
from audience_sync.testing.builders import (
    identifiers,
    made_up_audience,
    made_up_members,
    made_up_upload,
)
from connectors.google import GoogleConnector
from connectors.meta import MetaConnector

EMAIL = (Kind.EMAIL,)
DAY = 86_400  # seconds


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_sandbox(google_processing_seconds=0, match_share=1.0) as sandbox:
        yield sandbox.url


@pytest.fixture(autouse=True)
def fresh(url: str) -> None:
    _control(url, "reset", {})


def _control(url: str, path: str, wanted: dict[str, Any] | None = None) -> Any:
    method = "GET" if wanted is None else "POST"
    answer = requests.request(method, f"{url}/_control/{path}", json=wanted, timeout=10)
    answer.raise_for_status()
    return answer.json()


class Desk:
    """A destination at a simulated partner, with a client that never sleeps."""

    def __init__(self, url: str, kind: type[Connector[Any]], **settings: Any) -> None:
        self.url, self.name = url, kind.name
        chosen = kind.settings_class(base_url=f"{url}/{kind.name}", **settings)
        self.client = HttpPartnerClient(chosen.base_url, sleep=lambda _: None, timeout=(20, 20))
        self.sessions = count(1)
        self.connector = kind(chosen, self.client)
        self.client.bind(self.connector)

    def list(self, *kinds: Kind) -> str:
        return self.connector.ensure_audience(made_up_audience(kinds=kinds or EMAIL))

    def add(self, remote_id: str, seed: int, **changes: Any) -> Any:
        session = next(self.sessions)
        upload = made_up_upload(remote_id=remote_id, session=session, total=120, **changes)
        return self.connector.add(upload, made_up_members(120, EMAIL, seed=seed))

    def held(self, number: str) -> set[str]:
        listed = _control(self.url, f"members?partner={self.name}&list={number}")
        return set().union(*listed["identifiers"].values())

    def fault(self, kind: str, **options: Any) -> None:
        _control(self.url, "faults", {"partner": self.name, "kind": kind, **options})

    def wait(self, seconds: float) -> None:
        _control(self.url, "clock", {"advance_seconds": seconds})


@pytest.fixture
def meta(url: str) -> Iterator[Desk]:
    desk = Desk(url, MetaConnector, ad_account_id="1234567890", access_token="sandbox-token")
    yield desk
    desk.client.close()


def _google(url: str, **settings: Any) -> Desk:
    usual: dict[str, Any] = {
        "operating_account": "1234567890",
        "credentials": orjson.dumps(demo_service_account(url)).decode(),
        "poll_after": 0,
    }
    return Desk(url, GoogleConnector, **(usual | settings))


@pytest.fixture
def both(url: str) -> Iterator[Desk]:
    """Google Ads and Display & Video 360 as one destination."""
    further = {"operating_account": "5551234", "account_type": "DISPLAY_VIDEO_ADVERTISER"}
    desk = _google(url, further_accounts=[further])
    yield desk
    desk.client.close()


def _people(*seeds: int) -> set[str]:
    return set().union(*(identifiers(made_up_members(120, EMAIL, seed=seed)) for seed in seeds))


def test_strangers_at_meta_leave_with_the_first_batch(meta: Desk) -> None:
    """Whoever an earlier ledger sent is replaced, and what follows is added."""
    lost = meta.list()
    meta.add(lost, seed=1)
    receipt = meta.add(lost, seed=2, afresh=True)
    assert (receipt.accepted, receipt.pending) == (120, True)
    assert meta.held(lost) == _people(2)
    final = meta.connector.poll(receipt.reference)
    assert (final.accepted, final.pending, final.lost) == (120, False, False)
    meta.add(lost, seed=3)
    assert meta.held(lost) == _people(2, 3)


def test_a_new_list_at_meta_is_not_replaced(meta: Desk) -> None:
    """Nobody is on it, so an ordinary upload does, which is answered at once."""
    receipt = meta.add(meta.list(), seed=1, afresh=True)
    assert (receipt.accepted, receipt.pending) == (120, False)
    done = _control(meta.url, "journal?partner=meta&operation=replace")["requests"]
    assert done == []


def test_a_replacement_takes_its_time(meta: Desk) -> None:
    """Meanwhile nothing else may change the list; Meta says so and the batch waits."""
    lost = meta.list()
    meta.add(lost, seed=1)
    meta.fault("slow-processing", operation="replace", seconds=600)
    receipt = meta.add(lost, seed=2, afresh=True)
    assert meta.connector.poll(receipt.reference).pending
    with pytest.raises(TemporaryPartnerError):
        meta.add(lost, seed=3)
    meta.wait(601)
    assert not meta.connector.poll(receipt.reference).pending
    meta.add(lost, seed=3)
    assert meta.held(lost) == _people(2, 3)


def test_a_failed_replacement_is_lost(meta: Desk) -> None:
    """The list is as it was, and the batch is to be sent again."""
    lost = meta.list()
    meta.add(lost, seed=1)
    meta.fault("final-failure", operation="replace")
    receipt = meta.add(lost, seed=2, afresh=True)
    final = meta.connector.poll(receipt.reference)
    assert (final.accepted, final.unattributed, final.lost) == (0, 120, True)
    assert meta.held(lost) == _people(1)


def test_a_repeated_replacement_ends_the_same(meta: Desk) -> None:
    """An answer that was lost after the change costs a second replacement, not a doubled one."""
    lost = meta.list()
    meta.add(lost, seed=1)
    meta.fault("fail-after-change", operation="replace")
    assert meta.add(lost, seed=2, afresh=True).accepted == 120
    assert meta.held(lost) == _people(2)


def test_a_withdrawal_reaches_every_list_of_the_account(meta: Desk) -> None:
    """People leave lists that others made, too; everybody else stays."""
    ours = meta.list()
    other = meta.connector.ensure_audience(made_up_audience(name="b", marker="[somebody else]"))
    for number in (ours, other):
        meta.add(number, seed=1)
    leaving = made_up_members(120, EMAIL, seed=1).take(range(20))
    receipt = meta.connector.withdraw(leaving)
    assert receipt is not None
    assert (receipt.accepted, receipt.sent) == (20, 20)
    assert meta.held(ours) == meta.held(other) == _people(1) - identifiers(leaving)
    assert meta.connector.withdraw(leaving) == receipt


@pytest.mark.parametrize("faults", [(), ("fail-after-change",)])
def test_a_deleted_list_is_gone_at_meta(meta: Desk, faults: tuple[str, ...]) -> None:
    """The list goes with all on it, others stay; an answer that was lost is no trouble."""
    ours = meta.list()
    other = meta.connector.ensure_audience(made_up_audience(name="b", marker="[somebody else]"))
    for number in (ours, other):
        meta.add(number, seed=1)
    for fault in faults:
        meta.fault(fault, operation="delete")
    meta.connector.delete_audience(ours)
    assert [found["id"] for found in _control(meta.url, "state")["meta"]["lists"]] == [other]
    assert meta.held(other) == _people(1)
    again = meta.list()
    assert again != ours
    assert meta.add(again, seed=2).accepted == 120


def test_a_deleted_list_is_gone_at_google(both: Desk) -> None:
    """In both accounts, though the first answer was lost; the next list has another number."""
    ours = both.list()
    both.add(ours, seed=1)
    both.fault("fail-after-change", operation="delete")
    both.connector.delete_audience(ours)
    assert _control(both.url, "state")["google"]["lists"] == []
    assert both.list() != ours


def test_limited_data_use_and_own_ids_are_taken(url: str) -> None:
    """The simulated Meta checks both columns as it checks the others."""
    desk = Desk(
        url,
        MetaConnector,
        ad_account_id="1234567890",
        access_token="sandbox-token",
        send_external_id=True,
        limited_data_use=True,
        limited_data_use_country=1,
        limited_data_use_state=1000,
    )
    kinds = (Kind.EMAIL, Kind.EXTERNAL_ID)
    members, remote_id = made_up_members(5, kinds), desk.list(*kinds)
    receipt = desk.connector.add(made_up_upload(remote_id=remote_id, total=5), members)
    assert (receipt.accepted, receipt.unattributed) == (5, 0)
    assert desk.held(remote_id) == identifiers(members)
    desk.client.close()


def test_members_at_meta_end_with_the_retention(url: str) -> None:
    """Who is sent again in time stays; who is not is forgotten by Meta."""
    desk = Desk(
        url,
        MetaConnector,
        ad_account_id="1234567890",
        access_token="sandbox-token",
        retention_days=30,
    )
    remote_id = desk.list()
    desk.add(remote_id, seed=1)
    desk.add(remote_id, seed=2)
    again = desk.connector.refresh_after(desk.connector.settings)
    assert again is not None
    desk.wait(again.total_seconds())
    desk.add(remote_id, seed=2)
    desk.wait(4 * DAY)
    assert desk.held(remote_id) == _people(2)
    desk.client.close()


def test_members_at_google_end_with_their_time(url: str) -> None:
    """The same at Google, where 540 days are the longest membership."""
    desk = _google(url)
    remote_id = desk.list()
    number = remote_id.rpartition(":")[2]
    desk.add(remote_id, seed=1)
    desk.add(remote_id, seed=2)
    again = desk.connector.refresh_after(desk.connector.settings)
    assert again is not None
    desk.wait(again.total_seconds())
    desk.add(remote_id, seed=2)
    assert desk.held(number) == _people(1, 2)
    desk.wait(43 * DAY)
    assert desk.held(number) == _people(2)
    desk.client.close()


def test_one_upload_fills_both_accounts(both: Desk) -> None:
    """One request, two lists with the same members, and one removal for both."""
    remote_id = both.list()
    numbers = [piece.rpartition(":")[2] for piece in remote_id.split(",")]
    assert remote_id == f"contact:{numbers[0]},contact@5551234:{numbers[1]}"
    assert both.list() == remote_id
    receipt = both.add(remote_id, seed=1)
    assert [both.held(number) for number in numbers] == [_people(1)] * 2
    final = both.connector.poll(receipt.reference)
    assert (final.accepted, final.pending) == (120, False)
    leaving = made_up_members(120, EMAIL, seed=1).take(range(20))
    upload = made_up_upload(remote_id=remote_id, consent=None)
    both.connector.remove(upload, leaving)
    assert [both.held(number) for number in numbers] == [_people(1) - identifiers(leaving)] * 2
    sent = _control(both.url, "journal?partner=google&operation=add")["requests"]
    assert len(sent) == 1


def test_an_account_that_failed_in_the_end_loses_the_batch(both: Desk) -> None:
    """What the other account took can still be removed, and everybody is sent again."""
    remote_id = both.list()
    first, second = (piece.rpartition(":")[2] for piece in remote_id.split(","))
    both.fault("final-failure", values=[second])
    receipt = both.add(remote_id, seed=1)
    final = both.connector.poll(receipt.reference)
    assert (final.accepted, final.unattributed, final.lost) == (0, 120, True)
    assert (both.held(first), both.held(second)) == (_people(1), set())
    both.add(remote_id, seed=1)
    assert both.held(first) == both.held(second) == _people(1)


def test_one_account_without_terms_stops_both(both: Desk) -> None:
    """A request is taken as a whole or not at all, so no account is ahead of the other."""
    remote_id = both.list()
    wish = {"partner": "google", "account": "5551234", "accepted": False}
    _control(both.url, "terms", wish)
    with pytest.raises(Exception, match="terms"):
        both.add(remote_id, seed=1)
    assert [both.held(piece.rpartition(":")[2]) for piece in remote_id.split(",")] == [set()] * 2


def test_strangers_at_google_are_dropped(both: Desk) -> None:
    """Whoever was last added before a time leaves every list; those sent since then stay."""
    remote_id = both.list()
    both.add(remote_id, seed=1)
    both.add(remote_id, seed=2)
    both.wait(DAY)
    both.add(remote_id, seed=2)
    before = datetime.now(UTC) + timedelta(hours=12)
    both.connector.drop_stale(remote_id, before)
    for piece in remote_id.split(","):
        assert both.held(piece.rpartition(":")[2]) == _people(2)


def test_a_future_moment_is_refused(both: Desk) -> None:
    """Google drops nobody by a clock that is ahead of its own."""
    with pytest.raises(RefusedError):
        both.connector.drop_stale(both.list(), datetime.now(UTC) + timedelta(days=1))


def test_user_ids_have_a_list_of_their_own(url: str) -> None:
    """Contacts and ids are apart, and both leave together."""
    desk = _google(url, user_id_lists=True)
    kinds = (Kind.EMAIL, Kind.EXTERNAL_ID)
    remote_id, members = desk.list(*kinds), made_up_members(5, kinds, slots=2)
    contact, user = (piece.rpartition(":")[2] for piece in remote_id.split(","))
    receipt = desk.connector.add(made_up_upload(remote_id=remote_id), members)
    assert desk.held(contact) == identifiers(members.only(Kind.EMAIL))
    assert desk.held(user) == identifiers(members.only(Kind.EXTERNAL_ID))
    assert desk.connector.poll(str(receipt.reference)).accepted == 5
    desk.connector.remove(made_up_upload(remote_id=remote_id, consent=None), members)
    assert desk.held(contact) == desk.held(user) == set()
    desk.client.close()
