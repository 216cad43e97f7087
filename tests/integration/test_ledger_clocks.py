"""Machines whose clocks differ share PostgreSQL: leases go by the server's clock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from audience_sync.errors import BusyError, StateError
from audience_sync.ledger import database
from audience_sync.ledger.database import utc_now
from audience_sync.ledger.ledger import Ledger
from audience_sync.readiness import readiness
from audience_sync.settings import load_settings
from audience_sync.testing.project_template import demo_project, write_demo_secrets
from audience_sync.worker.command import _entries, worker

SANDBOX = "http://127.0.0.1:8600"
OURS, THEIRS = "here:1:1", "there:1:1"


@pytest.fixture
def url(postgresql_url: str) -> str:
    Ledger.migrate(postgresql_url)
    return postgresql_url


@contextmanager
def machine(url: str, ahead: float, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """The ledger as a machine sees it whose clock is wrong by so many seconds."""
    with monkeypatch.context() as patched:
        patched.setattr(database, "utc_now", lambda: utc_now() + timedelta(seconds=ahead))
        with Ledger.open(url) as ledger:
            yield ledger


@pytest.mark.parametrize("ahead", [-86_400.0, 86_400.0])
def test_a_wrong_clock_takes_nobodys_lease(
    url: str, ahead: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day ahead or behind: what another machine holds stays held, there and here."""
    with Ledger.open(url) as right, machine(url, ahead, monkeypatch) as wrong:
        lease = right.take_lease("vip/meta", OURS, 600)
        with pytest.raises(BusyError):
            wrong.take_lease("vip/meta", THEIRS, 600)
        assert [held.holder for held in wrong.leases_held("vip")] == [OURS]
        theirs = wrong.take_lease("vip/google", THEIRS, 600)
        renewed = wrong.renew_lease(theirs, 600)
        assert abs(renewed.expires_at - lease.expires_at) < timedelta(seconds=300)
        with pytest.raises(BusyError):
            right.take_lease("vip/google", OURS, 600)


@pytest.mark.parametrize("ahead", [-86_400.0, 86_400.0])
def test_a_lease_that_ended_is_free_for_every_clock(
    url: str, ahead: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that is a day late does not wait a day for a holder that died."""
    with Ledger.open(url) as right, machine(url, ahead, monkeypatch) as wrong:
        right.take_lease("vip/meta", OURS, 0)
        assert wrong.leases_held("vip") == []
        assert wrong.take_lease("vip/meta", THEIRS, 600).token == 2


@pytest.mark.parametrize(("ahead", "side"), [(90.0, "ahead of"), (-90.0, "behind")])
def test_a_clock_that_is_wrong_by_more_than_a_minute_is_refused(
    url: str, ahead: float, side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence says by how much; a few seconds do no harm."""
    with (
        machine(url, ahead, monkeypatch) as wrong,
        pytest.raises(StateError, match=f"is [0-9]+ seconds {side} the database's; set both"),
    ):
        wrong.check_clock()
    with machine(url, ahead / 9, monkeypatch) as nearly:
        assert side in nearly.check_clock()


def test_a_worker_does_not_start_with_a_wrong_clock(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor does beat, and `ready` says why: the times in the transfer log would be wrong."""
    (tmp_path / "audience-sync.yaml").write_text(demo_project(SANDBOX))
    write_demo_secrets(tmp_path, SANDBOX)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUDIENCE_SYNC_DATABASE_URL", url)
    monkeypatch.setenv("AUDIENCE_SYNC_BROKER_URL", "redis://127.0.0.1:1/0")
    started: list[str] = []
    worker([], lambda program, _argv, _environ: started.append(program))
    assert len(started) == 1

    with machine(url, 90, monkeypatch):
        with pytest.raises(StateError, match="this machine's clock is"):
            worker([], lambda program, _argv, _environ: started.append(program))
        with pytest.raises(StateError, match="this machine's clock is"):
            _entries()
        found = {look.subject: look for look in readiness(load_settings())}
    assert len(started) == 1
    assert isinstance(found["clock"].error, StateError)
    assert found["ledger"].error is None
