"""TikTok's own ways, over HTTP against the simulated TikTok."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from partner_bench import KINDS, Bench, control

from audience_sync.connector import AuthenticationError, Kind, PartnerError, RefusedError
from audience_sync.sandbox.server import running_sandbox
from audience_sync.testing.builders import identifiers, made_up_audience, made_up_upload


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_sandbox(match_share=1.0, tiktok_strict_minimum=True) as sandbox:
        yield sandbox.url


@pytest.fixture(autouse=True)
def fresh(url: str) -> None:
    control(url, "reset", {})


@pytest.fixture(params=["tiktok", "tiktok-files"])
def bench(url: str, request: pytest.FixtureRequest) -> Iterator[Bench]:
    made = Bench(url, request.param)
    yield made
    made.client.close()


@pytest.fixture
def files(url: str) -> Iterator[Bench]:
    made = Bench(url, "tiktok-files")
    yield made
    made.client.close()


def _journal(url: str, operation: str) -> list[dict[str, Any]]:
    found = control(url, f"journal?partner=tiktok&operation={operation}")["requests"]
    return list(found)


def test_a_part_that_failed_is_sent_again(bench: Bench) -> None:
    """TikTok did a part of a request; the next attempt does all of it."""
    remote_id, members = bench.ensure(), bench.members()
    bench.fault("reject-share", operation="add", share=0.3)
    receipt = bench.connector.add(made_up_upload(remote_id=remote_id), members)
    assert (receipt.accepted, receipt.unattributed) == (20, 0)
    assert bench.held(remote_id) == identifiers(members)


def test_a_part_that_always_fails_leaves_doubt(bench: Bench) -> None:
    """After all attempts the people of that request are unattributed, and the run goes on."""
    remote_id, members = bench.ensure(), bench.members()
    bench.fault("reject-share", operation="add", share=0.3, times=None)
    receipt = bench.connector.add(made_up_upload(remote_id=remote_id), members)
    assert (receipt.accepted, receipt.unattributed, receipt.reason) == (0, 20, "20001")


def test_a_dead_token_stops_the_destination(url: str) -> None:
    """TikTok's tokens cannot be refreshed, and its refusal is an HTTP 200."""
    for token in ("expired-token", "invalid-token"):
        bench = Bench(url, "tiktok", access_token=token)
        with pytest.raises(AuthenticationError, match="authorise the app again"):
            bench.connector.check()
        bench.client.close()
    seen = {(e["status"], e["outcome"]) for e in control(url, "journal")["requests"]}
    assert seen == {(200, "40102"), (200, "40105")}


def test_an_app_that_may_not_stream_is_told(url: str) -> None:
    """The endpoints for streaming are opened app by app."""
    with running_sandbox(tiktok_streaming=False) as sandbox:
        bench = Bench(sandbox.url, "tiktok")
        with pytest.raises(AuthenticationError, match="allow"):
            bench.ensure()
        bench.client.close()


def test_people_who_leave_a_small_list_from_files_cannot(files: Bench) -> None:
    """TikTok keeps 1,000 there; the operator is told, and the list is as it was."""
    remote_id = files.connector.ensure_audience(made_up_audience(kinds=(Kind.EMAIL,)))
    members = files.members(1_200)
    files.connector.add(made_up_upload(remote_id=remote_id), members.only(Kind.EMAIL))
    leaving = members.only(Kind.EMAIL).take(range(200))
    gone = made_up_upload(remote_id=remote_id, consent=None)
    assert files.connector.remove(gone, leaving).accepted == 200
    held = files.held(remote_id)
    with pytest.raises(RefusedError, match="streaming"):
        files.connector.remove(gone, members.only(Kind.EMAIL).take(range(200, 400)))
    assert files.held(remote_id) == held


def test_a_list_that_begins_afresh_loses_its_strangers(files: Bench) -> None:
    """An earlier ledger's members leave with the first file; small kinds are appended."""
    remote_id, strangers = files.ensure(), files.members(1_100, seed=1)
    files.connector.add(made_up_upload(remote_id=remote_id), strangers)
    members = files.members(1_050)
    files.connector.add(made_up_upload(remote_id=remote_id, afresh=True), members)
    assert files.held(remote_id) == identifiers(members)
    assert len(_journal(files.url, "replace")) == len(KINDS)


def test_an_expired_file_is_uploaded_again(files: Bench) -> None:
    """Between the upload and its use TikTok may have thrown it away."""
    remote_id, members = files.ensure(), files.members()
    files.fault("conflict", operation="add", code=40910)
    receipt = files.connector.add(made_up_upload(remote_id=remote_id), members)
    assert receipt.accepted == 20
    assert len(_journal(files.url, "upload")) == 2 * len(KINDS) + 1
    assert files.held(remote_id) == identifiers(members)


def test_a_lost_creation_makes_no_twin(bench: Bench) -> None:
    """What was made before the answer was lost is found by its marker."""
    bench.fault("fail-after-change", operation="create", then="drop")
    with pytest.raises(Exception, match="try again"):
        bench.ensure()
    remote_id = bench.ensure()
    names = [one["name"] for one in control(bench.url, "state")["tiktok"]["lists"]]
    assert len(names) == len(set(names)) == len(remote_id.split(","))


@pytest.mark.parametrize(
    ("code", "doubt"), [(40002, False), (40105, False), (40202, True), (50000, True)]
)
def test_what_tiktok_refused_with_success_is_not_in_doubt(
    bench: Bench, code: int, doubt: bool
) -> None:
    """A refusal in HTTP 200 took nobody; one that may have come midway leaves the doubt."""
    remote_id = bench.ensure()
    bench.fault("conflict", operation="add", code=code, times=None)
    with bench.client.recording() as exchange, pytest.raises(PartnerError):
        bench.connector.add(made_up_upload(remote_id=remote_id), bench.members())
    assert exchange.uncertain is doubt
    assert bench.held(remote_id) == set()


@pytest.mark.parametrize("then", ["5xx", "drop"])
def test_a_deleted_audience_is_gone(bench: Bench, then: str) -> None:
    """All its parts and no other, though an answer was lost; the next one has other ids."""
    marker = "[somebody else]"
    other = bench.connector.ensure_audience(made_up_audience(marker=marker, kinds=KINDS))
    remote_id = bench.ensure()
    bench.connector.add(made_up_upload(remote_id=remote_id), bench.members())
    bench.fault("fail-after-change", operation="delete", then=then)
    bench.connector.delete_audience(remote_id)
    left = {one["id"] for one in control(bench.url, "state")["tiktok"]["lists"]}
    assert left == {piece.rpartition(":")[2] for piece in other.split(",")}
    assert bench.ensure() != remote_id


def test_an_audience_that_tiktok_does_not_delete_is_told(bench: Bench) -> None:
    """One that an ad group uses stays, with whoever is on it."""
    remote_id, members = bench.ensure(), bench.members()
    bench.connector.add(made_up_upload(remote_id=remote_id), members)
    bench.fault("conflict", operation="delete", code=40002)
    with pytest.raises(RefusedError, match="ad group"):
        bench.connector.delete_audience(remote_id)
    assert bench.held(remote_id) == identifiers(members)


def test_a_failed_match_is_shown(bench: Bench) -> None:
    """TikTok tells it when the audience is read back."""
    remote_id = bench.ensure()
    bench.fault("final-failure", operation="add")
    bench.connector.add(made_up_upload(remote_id=remote_id), bench.members())
    assert bench.connector.statistics(remote_id).status == "failed"
