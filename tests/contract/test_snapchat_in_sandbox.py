"""Snapchat's own ways, over HTTP against the simulated Snapchat."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from partner_bench import Bench, control

from audience_sync.connector import AuthenticationError, RefusedError
from audience_sync.sandbox.server import running_sandbox
from audience_sync.testing.builders import identifiers, made_up_audience, made_up_upload


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_sandbox(match_share=1.0, snapchat_matching_seconds=60.0) as sandbox:
        yield sandbox.url


@pytest.fixture
def bench(url: str) -> Iterator[Bench]:
    control(url, "reset", {})
    made = Bench(url, "snapchat")
    yield made
    made.client.close()


def _journal(url: str, **wanted: str) -> list[dict[str, Any]]:
    asked = "&".join(f"{key}={value}" for key, value in {"partner": "snapchat", **wanted}.items())
    return list(control(url, f"journal?{asked}")["requests"])


def test_an_expired_token_is_fetched_anew(bench: Bench) -> None:
    """One plain-text 401 costs one refresh and one attempt."""
    remote_id, members = bench.ensure(), bench.members()
    bench.fault("expired-token", operation="add")
    with bench.client.recording() as exchange:
        receipt = bench.connector.add(made_up_upload(remote_id=remote_id), members)
    assert receipt.accepted == 20
    assert exchange.attempts == 5  # e-mails twice, phones, both kinds of device in two slots
    assert len(_journal(bench.url, operation="token")) == 2
    assert bench.held(remote_id) == identifiers(members)


def test_a_second_refusal_stops_the_destination(bench: Bench) -> None:
    """A new token that is not taken either needs a person; nothing is tried for ever."""
    remote_id = bench.ensure()
    bench.fault("expired-token", operation="add", times=None)
    with (
        bench.client.recording() as exchange,
        pytest.raises(AuthenticationError, match="authorise the app again"),
    ):
        bench.connector.add(made_up_upload(remote_id=remote_id), bench.members())
    assert (exchange.attempts, exchange.status) == (2, 401)
    assert not bench.slept


def test_a_token_ends_with_its_time(bench: Bench) -> None:
    """Half an hour later the connector that is asked again has another one."""
    bench.connector.check()
    control(bench.url, "clock", {"advance_seconds": 1_801})
    bench.connector.check()
    assert len(_journal(bench.url, operation="token")) == 2


def test_a_closed_app_stops_the_destination(url: str) -> None:
    """A refresh token that Snapchat does not take needs a person."""
    bench = Bench(url, "snapchat", refresh_token="no-such-token")
    with pytest.raises(AuthenticationError, match="refresh_token"):
        bench.connector.check()
    bench.client.close()


def test_a_refusal_within_a_success_is_seen(bench: Bench) -> None:
    """HTTP 200, and the one sub-request failed: nobody is held."""
    remote_id = bench.ensure()
    bench.fault("final-failure", operation="add")
    with pytest.raises(RefusedError):
        bench.connector.add(made_up_upload(remote_id=remote_id), bench.members())
    assert bench.held(remote_id) == set()


def test_a_missing_right_stops_the_destination(bench: Bench) -> None:
    """The app's user lost the ad account."""
    account = bench.connector.settings.ad_account_id
    control(bench.url, "terms", {"partner": "snapchat", "account": account, "accepted": False})
    with pytest.raises(AuthenticationError, match="Data Manager"):
        bench.connector.check()


def test_the_state_of_a_segment_is_read(bench: Bench) -> None:
    """Nothing uploaded, at work, too small, ready."""
    remote_id = bench.ensure()
    read = bench.connector.statistics
    assert read(remote_id).status == "in preparation, nothing uploaded"
    bench.connector.add(made_up_upload(remote_id=remote_id), bench.members(500))
    assert read(remote_id).status == "in preparation, upload under way"
    control(bench.url, "clock", {"advance_seconds": 61})
    assert read(remote_id).usable is True
    bench.connector.remove(made_up_upload(remote_id=remote_id), bench.members(400))
    control(bench.url, "clock", {"advance_seconds": 61})
    found = read(remote_id)
    assert (found.status, found.usable) == ("too small, upload complete", False)


def test_a_list_that_begins_afresh_loses_its_strangers(bench: Bench) -> None:
    """Members of an earlier ledger leave before anybody is added."""
    remote_id = bench.ensure()
    bench.connector.add(made_up_upload(remote_id=remote_id), bench.members(seed=1))
    members = bench.members()
    bench.connector.add(made_up_upload(remote_id=remote_id, afresh=True), members)
    assert bench.held(remote_id) == identifiers(members)


def test_many_segments_are_looked_through(bench: Bench) -> None:
    """Ours is found behind a page of a thousand others."""
    account = bench.connector.settings.ad_account_id
    foreign = [{"name": f"other {n}", "source_type": "FIRST_PARTY"} for n in range(1_000)]
    path = f"v1/adaccounts/{account}/segments"
    bench.client.request("POST", path, body=orjson.dumps({"segments": foreign}))
    remote_id = bench.ensure()
    assert bench.ensure() == remote_id
    assert len(_journal(bench.url, operation="list")) == 3  # the second look needs two pages


@pytest.mark.parametrize("then", ["5xx", "drop"])
def test_a_deleted_segment_is_gone(bench: Bench, then: str) -> None:
    """Ours and no other, though the answer was lost; the next one has another id."""
    other = bench.connector.ensure_audience(made_up_audience(marker="[somebody else]"))
    remote_id = bench.ensure()
    bench.connector.add(made_up_upload(remote_id=remote_id), bench.members())
    bench.fault("fail-after-change", operation="delete", then=then)
    bench.connector.delete_audience(remote_id)
    assert [one["id"] for one in control(bench.url, "state")["snapchat"]["lists"]] == [other]
    assert bench.ensure() != remote_id
