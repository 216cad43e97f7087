"""Destinations that may not be planned: each is told, and none stops another."""

from __future__ import annotations

from pathlib import Path

import pytest

from audience_sync.app import App
from audience_sync.cli import codes
from audience_sync.errors import ConfigurationError
from audience_sync.ledger.records.runs import RemoteList, RunState
from audience_sync.runs.outcome import Outcome

PROJECT = """\
project: aims-test
controller: Aims Test AB
source:
  url: customers.ndjson
  columns: {customer_id: id, email: email, consent: consent}
guards: {minimum_members: off}
destinations:
  meta-se:
    connector: meta
    ad_account_id: "1234567890"
    access_token: file:token
  meta-no:
    connector: meta
    ad_account_id: "2345678901"
    access_token: file:token
audiences:
  everyone: {destinations: [meta-se, meta-no]}
  others: {destinations: [meta-no, meta-se], schedule: "0 3 * * *"}
"""
ROWS = 100  # in each of two files
ALL = [(audience, there) for audience in ("everyone", "others") for there in ("meta-no", "meta-se")]
REST = [pair for pair in ALL if pair[1] == "meta-no"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose destination meta-se has filled lists of another account."""
    monkeypatch.setenv("AUDIENCE_SYNC_SPLIT_ROWS", "10")
    (tmp_path / "token").write_text("made-up-token")
    path = tmp_path / "audience-sync.yaml"
    path.write_text(PROJECT)
    for part in range(2):
        rows = range(part * ROWS, (part + 1) * ROWS)
        lines = [
            f'{{"id": "{n}", "email": "p{n}@example.com", "consent": "granted"}}' for n in rows
        ]
        (tmp_path / f"customers-{part}.ndjson").write_text("\n".join(lines))
    path.write_text(PROJECT.replace("customers.ndjson", "customers-*.ndjson"))
    with App.open(path) as app:
        known = RemoteList(
            audience="everyone", destination="meta-se", remote_id="1", account="9999999999"
        )
        app.ledger.save_remote_list(known, expect_generation=0)
    return path


def refused(outcomes: list[Outcome]) -> list[tuple[str, str]]:
    """The lists that are refused because of the account."""
    told = [one for one in outcomes if isinstance(one.error, ConfigurationError)]
    assert all("put 9999999999 back" in str(one.error) for one in told)
    return [(one.audience, one.destination) for one in told]


def test_a_wrong_account_stops_its_own_destination_alone(project: Path) -> None:
    """The others are planned, and the exit code says that something failed."""
    with App.open(project) as app:
        outcomes = app.sync(deliver=False)

    assert sorted(refused(outcomes)) == [pair for pair in ALL if pair not in REST]
    planned = [one for one in outcomes if one.run is not None]
    assert [(one.audience, one.destination) for one in planned] == REST
    assert {one.run.state for one in planned if one.run} == {RunState.PLANNED}
    assert [one.audience for one in outcomes] == ["everyone"] * 2 + ["others"] * 2
    assert codes.of_outcomes(outcomes) == codes.PARTLY


def test_nothing_but_a_wrong_account_is_a_wrong_configuration(project: Path) -> None:
    """As before, where nothing else was asked for."""
    with App.open(project) as app:
        outcomes = app.sync(destination="meta-se", deliver=False)

    assert codes.of_outcomes(outcomes) == codes.USAGE
    assert len(refused(outcomes)) == len(outcomes) == len(ALL) - len(REST)


def test_workers_plan_the_others_too(project: Path) -> None:
    """A job of pieces never hears of what is refused."""
    with App.open(project, sharing=True) as app:
        assert sorted(refused(app.plan_for_later())) == [pair for pair in ALL if pair not in REST]
        assert [list(job.spec["lists"]) for job in app.ledger.jobs()] == [list(map(list, REST))]
