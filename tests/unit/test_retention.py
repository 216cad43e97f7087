"""Everything that is kept has a limit, and what is older goes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from ledger_contract.builders import NOON, Clock, batch, run

from audience_sync import retention
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.runs import RemoteList, RunState
from audience_sync.ledger.records.work import Job, JobState, Served
from audience_sync.ledger.tables import metadata
from audience_sync.project.privacy import Retention

DOCS = Path(__file__).parents[2] / "docs" / "retention.md"
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def _new(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ledger") / "new.db"
    Ledger.open(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(_new: Path, tmp_path: Path, clock: Clock) -> Iterator[Ledger]:
    path = shutil.copy(_new, tmp_path / "ledger.db")
    with Ledger.open(f"sqlite:///{path}", clock=clock) as ledger:
        yield ledger


def test_every_table_has_a_limit(ledger: Ledger) -> None:
    """One that is added without a word about its end does not pass."""
    named = [limit.name for limit in retention.TABLES]
    assert sorted(named) == sorted(metadata.tables)


def test_every_limit_that_has_a_setting_has_one() -> None:
    """And no setting is there for nothing."""
    limits = (*retention.TABLES, *retention.FILES)
    named = {limit.setting for limit in limits if limit.setting is not None}
    assert named == set(Retention.model_fields)


def test_the_documentation_is_true() -> None:
    """Both tables are those of the code."""
    assert DOCS.read_text().rstrip().endswith(retention.page_tables())


def test_ended_runs_go_but_the_newest_and_the_last_delivered_one(ledger: Ledger) -> None:
    """Guards compare with the last delivered run, and `status` shows the newest."""
    done = {"state": RunState.CONFIRMED, "finished_at": NOON}
    for day, (name, changes) in enumerate(
        {
            "r1": done,
            "r2": done,
            "r3": {"state": RunState.FAILED, "finished_at": NOON},
            "r4": {"state": RunState.CANCELLED, "finished_at": None},
            "other": {**done, "destination": "google-se"},
            "open": {"state": RunState.DELIVERING, "destination": "x"},
        }.items()
    ):
        ledger.create_run(run(name, planned_at=NOON + day * DAY, **changes), [batch(name)])
    assert ledger.purge_runs(NOON, dry=False) == 0
    later = NOON + 99 * DAY
    assert ledger.purge_runs(later, dry=True) == 2
    assert len(ledger.runs()) == 6
    assert ledger.purge_runs(later) == 2
    assert {found.id for found in ledger.runs()} == {"r2", "r4", "other", "open"}
    assert ledger.batches("r1") == []
    assert ledger.batches("r2") == [batch("r2")]


def test_ended_jobs_and_free_leases_go(ledger: Ledger, clock: Clock) -> None:
    """What is open or held stays, however old."""
    job = Job(id="j1", kind="plan", stage="read", created_at=NOON, changed_at=NOON)
    ledger.create_job(job, 2)
    ledger.create_job(replace(job, id="j2"), 1)
    ledger.end_job("j1", JobState.DONE)
    ledger.take_lease("long gone", "me", 60)
    ledger.take_lease("held", "me", 99 * 86_400)
    clock.move(40 * 86_400)
    assert ledger.purge_jobs(NOON + 30 * DAY) == 2
    assert [found.id for found in ledger.jobs(tuple(JobState))] == ["j2"]
    assert [lease.name for lease in ledger.leases_held("")] == ["held"]
    assert ledger.take_lease("long gone", "you", 60).token == 1


def test_served_times_of_dropped_audiences_go(ledger: Ledger) -> None:
    """Those of audiences that the project has stay."""
    lease = ledger.take_lease("schedule", "me", 60)
    for name in ("kept", "dropped"):
        ledger.save_served(Served(audience=name, rule="0 3 * * *", due_at=NOON), lease)
    assert ledger.purge_schedules(NOON, ["kept"]) == 0
    assert ledger.purge_schedules(NOON + DAY, ["kept"]) == 1
    assert ledger.served("dropped") is None
    assert ledger.served("kept") is not None


def test_lists_that_were_dropped_and_hold_nobody_go(ledger: Ledger) -> None:
    """A list that holds somebody, or that is named, is never forgotten."""
    lease = ledger.take_lease("list", "me", 60)
    for audience, members in (("empty", 0), ("full", 7), ("named", 0)):
        remote = RemoteList(
            audience=audience, destination="meta-se", members=members, generation=1, updated_at=NOON
        )
        ledger.save_remote_list(remote, expect_generation=0, lease=lease)

    def named(audience: str, _destination: str) -> bool:
        return audience == "named"

    assert ledger.purge_lists(NOON + DAY, named, dry=True) == 1
    assert ledger.purge_lists(NOON + DAY, named) == 1
    assert {remote.audience for remote in ledger.remote_lists()} == {"full", "named"}


def test_fingerprints_go_when_they_expire_or_the_project_says_so(ledger: Ledger) -> None:
    """A shorter limit counts for those that are there already."""
    made = np.arange(64, dtype=np.uint8).reshape(2, 32)
    ledger.remember("meta-se", made[:1], "rejected", NOON + 30 * DAY)
    ledger.remember("meta-se", made[1:], "rejected", NOON + 40 * DAY)
    assert ledger.purge_fingerprints(NOON, NOON - 30 * DAY) == 0
    assert ledger.purge_fingerprints(NOON + 8 * DAY, NOON + 5 * DAY) == 1
    assert ledger.purge_fingerprints(NOON + 40 * DAY, NOON) == 1
