"""The shipped connectors over HTTP against the simulated partners, faults switched on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest
from partner_bench import KINDS, SECRET, SETUPS, Bench, Setup, control

from audience_sync.connector import AuthenticationError, RefusedError, TemporaryPartnerError
from audience_sync.sandbox.credentials import demo_refresh_token
from audience_sync.sandbox.server import running_sandbox
from audience_sync.testing.builders import (
    identifiers,
    made_up_audience,
    made_up_members,
    made_up_upload,
)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_sandbox(
        google_processing_seconds=0, meta_app_secret=SECRET, match_share=1.0
    ) as sandbox:
        yield sandbox.url


@pytest.fixture(autouse=True)
def fresh(url: str) -> None:
    control(url, "reset", {})


@pytest.fixture(params=SETUPS)
def bench(url: str, request: pytest.FixtureRequest) -> Iterator[Bench]:
    made = Bench(url, request.param)
    yield made
    made.client.close()


def _where(fits: Callable[[Setup], object]) -> pytest.MarkDecorator:
    """Only at partners that are like this."""
    names = [name for name, setup in SETUPS.items() if fits(setup)]
    return pytest.mark.parametrize("bench", names, indirect=True)


def test_a_list_is_made_filled_and_emptied(bench: Bench) -> None:
    """What was added is held, to the identifier, until it is removed."""
    bench.connector.check()
    remote_id = bench.ensure()
    assert bench.ensure() == remote_id
    members = bench.members(150, slots=2)
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
    remote_id, members = bench.ensure(), bench.members()
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
    remote_id, members = bench.ensure(), bench.members()
    bench.fault(kind)
    with bench.client.recording() as exchange:
        receipt = bench.connector.add(made_up_upload(remote_id=remote_id, total=20), members)
    assert receipt.accepted == 20
    assert exchange.attempts >= 2
    assert bench.slept
    assert bench.held(remote_id) == identifiers(members)


@_where(lambda setup: setup.throttled is None)
def test_a_throttle_without_a_wait_is_outlived(bench: Bench) -> None:
    """A partner that names no time is asked again, later with every attempt."""
    remote_id, members = bench.ensure(), bench.members()
    bench.fault("rate-limit", times=3)
    receipt = bench.connector.add(made_up_upload(remote_id=remote_id), members)
    assert receipt.accepted == 20
    assert len([wait for wait in bench.slept if wait >= 0.5]) == 3
    assert bench.held(remote_id) == identifiers(members)


@_where(lambda setup: setup.throttled)
def test_a_throttle_is_handed_up_with_its_wait(bench: Bench) -> None:
    """A wait that outlasts our patience belongs to the task queue."""
    remote_id = bench.ensure()
    bench.fault("rate-limit", minutes=7)
    with pytest.raises(TemporaryPartnerError) as caught:
        bench.connector.add(made_up_upload(remote_id=remote_id), bench.members())
    assert caught.value.retry_after == pytest.approx(bench.setup.throttled, abs=2)
    assert not bench.slept


@_where(lambda setup: setup.terms)
def test_missing_terms_stop_the_destination(bench: Bench) -> None:
    """Terms that were not accepted, or a right that is missing, need a person."""
    bench.fault("terms-not-accepted", operation="create", times=None)
    with pytest.raises(AuthenticationError, match=bench.setup.terms):
        bench.ensure()


@_where(lambda setup: setup.names)
def test_refused_members_are_named(bench: Bench) -> None:
    """A member that the partner names is rejected; the others arrive."""
    remote_id, members = bench.ensure(), bench.members()
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
        receipt = bench.connector.add(made_up_upload(remote_id=remote_id), bench.members())
    assert receipt.accepted == 20
    assert exchange.attempts == 4  # three lists, one of them twice
    bench.client.close()


def test_an_expired_token_at_pinterest_is_renewed(url: str) -> None:
    """The refresh token that came with the last one is sent, and the next one is kept."""
    bench = Bench(url, "pinterest")
    remote_id = bench.ensure()
    before = dict(bench.credentials)
    bench.fault("expired-token", operation="add")
    assert bench.connector.add(made_up_upload(remote_id=remote_id), bench.members()).accepted == 20
    assert bench.credentials.keys() == before.keys()
    assert bench.credentials != before
    bench.client.close()


def test_records_that_pinterest_did_not_count_are_unattributed(url: str) -> None:
    """Nobody is named; the list is waited for all the same."""
    bench = Bench(url, "pinterest")
    remote_id = bench.ensure()
    bench.fault("reject-share", operation="add", share=0.1)
    members = made_up_members(200, KINDS[:1])
    receipt = bench.connector.add(made_up_upload(remote_id=remote_id, total=200), members)
    assert (receipt.accepted, receipt.unattributed, receipt.pending) == (180, 20, True)
    assert bench.connector.poll(str(receipt.reference)).accepted == 180
    bench.client.close()


def test_a_batch_that_x_did_not_take_whole_is_not_accepted(url: str) -> None:
    """The counts of a success differ; the batch goes again with the next attempt of the run."""
    bench = Bench(url, "x")
    remote_id, members = bench.ensure(), bench.members()
    bench.fault("reject-share", share=0.5)
    with pytest.raises(TemporaryPartnerError, match="whole batch"):
        bench.connector.add(made_up_upload(remote_id=remote_id), members)
    assert bench.held(remote_id) == set()
    assert bench.connector.add(made_up_upload(remote_id=remote_id), members).accepted == 20
    bench.client.close()


def test_whoever_withdraws_is_put_on_the_do_not_reach_list_of_x(url: str) -> None:
    """Where the destination wants it: e-mail and phone, once however often it is told."""
    bench = Bench(url, "x", do_not_reach=True)
    members = bench.members(3)
    for _ in range(2):
        receipt = bench.connector.withdraw(members)
        assert receipt is not None
        assert (receipt.accepted, receipt.sent) == (3, 3)
    [listed] = control(url, "state")["x"]["lists"]
    assert listed["kind"] == "do not reach"
    assert bench.held(listed["id"]) == identifiers(members.only(*KINDS[:2]))
    bench.client.close()


def test_a_deleted_list_of_x_is_gone(url: str) -> None:
    """Ours and no other, though the answer was lost; its name is free again."""
    bench = Bench(url, "x")
    asked = made_up_audience(name="another", marker="[somebody else]")
    other = bench.connector.ensure_audience(asked)
    remote_id = bench.ensure()
    bench.connector.add(made_up_upload(remote_id=remote_id), bench.members())
    bench.fault("fail-after-change", operation="delete")
    bench.connector.delete_audience(remote_id)
    assert [one["id"] for one in control(url, "state")["x"]["lists"]] == [other]
    assert bench.ensure() != remote_id
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


@_where(lambda setup: setup.counts)
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
    batches = [bench.members(20, seed=seed) for seed in range(24)]

    def add(number: int) -> int:
        upload = made_up_upload(remote_id=remote_id, session=number + 1, total=20)
        return bench.connector.add(upload, batches[number]).accepted

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(add, range(24))) == 24 * 20
    assert bench.held(remote_id) == set().union(*map(identifiers, batches))
