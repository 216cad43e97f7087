"""The shipped connectors over HTTP against the simulated partners, faults switched on."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import pytest
import requests

from audience_sync.connector import (
    AuthenticationError,
    Connector,
    Kind,
    Members,
    RefusedError,
    TemporaryPartnerError,
)
from audience_sync.delivery.client import HttpPartnerClient
from audience_sync.sandbox.credentials import demo_refresh_token, demo_service_account
from audience_sync.sandbox.server import running_sandbox
from audience_sync.testing.builders import (
    identifiers,
    made_up_audience,
    made_up_members,
    made_up_upload,
)
from connectors.google import GoogleConnector
from connectors.meta import MetaConnector

KINDS = (Kind.EMAIL, Kind.PHONE, Kind.IDFA, Kind.GAID)
SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_sandbox(
        google_processing_seconds=0, meta_app_secret=SECRET, match_share=1.0
    ) as sandbox:
        yield sandbox.url


@pytest.fixture(autouse=True)
def fresh(url: str) -> None:
    _control(url, "reset", {})


def _control(url: str, path: str, wanted: dict[str, Any] | None = None) -> Any:
    address = f"{url}/_control/{path}"
    answer = (
        requests.get(address, timeout=10)
        if wanted is None
        else requests.post(address, json=wanted, timeout=10)
    )
    answer.raise_for_status()
    return answer.json()


class Bench:
    """A connector with a client that never sleeps, and a look at what the partner holds."""

    def __init__(self, url: str, connector: str, **changes: Any) -> None:
        self.url, self.name, self.slept = url, connector, list[float]()
        kind: type[Connector[Any]]
        if connector == "meta":
            usual: dict[str, Any] = {
                "base_url": f"{url}/meta",
                "ad_account_id": "act_1234567890",
                "access_token": "sandbox-token",
                "app_secret": SECRET,
                "allow_unhashed_device_ids": True,
            }
            kind = MetaConnector
        else:
            usual = {
                "base_url": f"{url}/google",
                "operating_account": "1234567890",
                "credentials": orjson.dumps(demo_service_account(url)).decode(),
                "allow_unhashed_device_ids": True,
                "ios_app_id": "123456789",
                "android_app_id": "com.example.app",
                "poll_after": 0,
            }
            kind = GoogleConnector
        settings = kind.settings_class(**(usual | changes))
        self.client = HttpPartnerClient(settings.base_url, sleep=self.slept.append, timeout=(2, 2))
        self.connector = kind(settings, self.client)
        self.client.bind(self.connector)

    def ensure(self) -> str:
        return self.connector.ensure_audience(made_up_audience(kinds=KINDS))

    def held(self, remote_id: str) -> set[str]:
        found: set[str] = set()
        for piece in remote_id.split(","):
            number = piece.rpartition(":")[2]
            listed = _control(self.url, f"members?partner={self.name}&list={number}")
            found.update(*listed["identifiers"].values())
        return found

    def fault(self, kind: str, **options: Any) -> None:
        _control(self.url, "faults", {"partner": self.name, "kind": kind, **options})


@pytest.fixture(params=["meta", "google"])
def bench(url: str, request: pytest.FixtureRequest) -> Iterator[Bench]:
    made = Bench(url, request.param)
    yield made
    made.client.close()


def _members(count: int = 20, slots: int = 1) -> Members:
    return made_up_members(count, KINDS, slots=slots)


def test_a_list_is_made_filled_and_emptied(bench: Bench) -> None:
    """What was added is held, to the identifier, until it is removed."""
    bench.connector.check()
    remote_id = bench.ensure()
    assert bench.ensure() == remote_id
    members = _members(150, slots=2)
    receipt = bench.connector.add(made_up_upload(remote_id=remote_id, total=150), members)
    assert receipt.accepted == 150
    assert bench.held(remote_id) == identifiers(members)
    if receipt.pending:
        final = bench.connector.poll(str(receipt.reference))
        assert (final.accepted, final.pending) == (150, False)
    assert bench.connector.statistics(remote_id).size_upper
    leaving = members.take(range(100))
    gone = bench.connector.remove(
        made_up_upload(remote_id=remote_id, session=5, consent=None), leaving
    )
    assert gone.accepted == 100
    assert bench.held(remote_id) == identifiers(members.take(range(100, 150)))


def test_a_repeated_batch_ends_the_same(bench: Bench) -> None:
    """A batch that is sent again, though the partner took it, changes nothing."""
    remote_id, members = bench.ensure(), _members()
    upload = made_up_upload(remote_id=remote_id, total=20)
    first = bench.connector.add(upload, members)
    again = bench.connector.add(upload, members)
    assert first.accepted == again.accepted == 20
    assert bench.held(remote_id) == identifiers(members)


@pytest.mark.parametrize(
    "kind", ["5xx", "html", "empty", "half-json", "drop", "fail-after-change", "conflict", "huge"]
)
def test_a_passing_fault_is_outlived(bench: Bench, kind: str) -> None:
    """One bad answer costs a wait and an attempt, and the batch arrives."""
    remote_id, members = bench.ensure(), _members()
    bench.fault(kind)
    with bench.client.recording() as exchange:
        receipt = bench.connector.add(made_up_upload(remote_id=remote_id, total=20), members)
    assert receipt.accepted == 20
    assert exchange.attempts >= 2
    assert bench.slept
    assert bench.held(remote_id) == identifiers(members)


def test_a_throttle_is_handed_up_with_its_wait(bench: Bench) -> None:
    """A wait that outlasts our patience belongs to the task queue."""
    remote_id = bench.ensure()
    bench.fault("rate-limit", minutes=7)
    with pytest.raises(TemporaryPartnerError) as caught:
        bench.connector.add(made_up_upload(remote_id=remote_id), _members())
    assert caught.value.retry_after == {"meta": 420.0, "google": 60.0}[bench.name]
    assert not bench.slept


def test_missing_terms_stop_the_destination(bench: Bench) -> None:
    """Terms that were not accepted need a person."""
    bench.fault("terms-not-accepted", operation="create", times=None)
    with pytest.raises(AuthenticationError, match="terms"):
        bench.ensure()


def test_refused_members_are_named(bench: Bench) -> None:
    """A member that the partner names is rejected; the others arrive."""
    remote_id, members = bench.ensure(), _members()
    bad = identifiers(members.take([4]))
    bench.fault("reject-values", values=sorted(bad), times=None)
    receipt = bench.connector.add(made_up_upload(remote_id=remote_id, total=20), members)
    assert [rejection.position for rejection in receipt.rejected] == [4]
    assert receipt.accepted == 19
    assert bench.held(remote_id) == identifiers(members) - bad


def test_an_expired_token_at_google_is_fetched_anew(url: str) -> None:
    """Google's tokens end within the hour; a new one is fetched and the request goes again."""
    bench = Bench(url, "google", credentials=orjson.dumps(demo_refresh_token(url)).decode())
    remote_id = bench.ensure()
    bench.fault("expired-token", operation="add")
    with bench.client.recording() as exchange:
        receipt = bench.connector.add(made_up_upload(remote_id=remote_id), _members())
    assert receipt.accepted == 20
    assert exchange.attempts == 4  # three lists, one of them twice
    bench.client.close()


def test_an_expired_token_at_meta_stops_the_destination(url: str) -> None:
    """Meta's expired tokens cannot be exchanged."""
    bench = Bench(url, "meta", access_token="expired-token")
    with pytest.raises(AuthenticationError):
        bench.connector.check()
    bench.client.close()


def test_an_unknown_list_is_refused(bench: Bench) -> None:
    """A list that is not there is nothing to try again."""
    with pytest.raises(RefusedError):
        bench.connector.add(made_up_upload(remote_id="4711"), made_up_members(2, KINDS[:2]))


def test_counted_refusals_are_unattributed(bench: Bench) -> None:
    """Members that the partner only counts are accounted for, at once or when it is polled."""
    remote_id = bench.ensure().split(",")[0]
    bench.fault("reject-share", share=0.1)
    members = made_up_members(200, KINDS[:2])
    receipt = bench.connector.add(made_up_upload(remote_id=remote_id, total=200), members)
    if receipt.pending:
        receipt = bench.connector.poll(str(receipt.reference))
    assert (receipt.accepted, receipt.unattributed, receipt.rejected) == (180, 20, ())
    assert receipt.reason


def test_a_failed_upload_is_known_when_polled(url: str) -> None:
    """An upload that Google accepted and failed later holds nobody."""
    bench = Bench(url, "google")
    remote_id = bench.ensure().split(",")[0]
    bench.fault("final-failure")
    members = made_up_members(5, KINDS[:2])
    receipt = bench.connector.add(made_up_upload(remote_id=remote_id), members)
    assert (receipt.accepted, receipt.pending) == (5, True)
    final = bench.connector.poll(str(receipt.reference))
    assert (final.accepted, final.unattributed, final.pending) == (0, 5, False)
    bench.client.close()


def test_uploads_at_the_same_time_all_arrive(bench: Bench) -> None:
    """Threads share a connector, its connections and its token."""
    remote_id = bench.ensure()
    batches = [made_up_members(20, KINDS, seed=seed) for seed in range(24)]

    def add(number: int) -> int:
        upload = made_up_upload(remote_id=remote_id, session=number + 1, total=20)
        return bench.connector.add(upload, batches[number]).accepted

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(add, range(24))) == 24 * 20
    assert bench.held(remote_id) == set().union(*map(identifiers, batches))
