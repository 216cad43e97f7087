"""A plan that failed in the hands of many workers is tried again, not for ever, and says why."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from fanned_world import FannedWorld
from pipeline_world import granted, new_ledger

from audience_sync.errors import BusyError
from audience_sync.ledger.records.runs import Run, RunState
from audience_sync.ledger.records.work import Job, JobState
from audience_sync.runs.calendar import RETRY_AFTER, Calendar
from audience_sync.runs.fanout import delivering, planning
from audience_sync.runs.fanout.again import TRIES, Again

NIGHT = datetime(2026, 10, 23, 3, tzinfo=UTC)
WHY = "the source does not answer"
SOON = timedelta(minutes=1)


class Office:
    """A calendar with one audience that is due every night, its ledger and a clock."""

    def __init__(self, folder: Path) -> None:
        self.time = NIGHT - timedelta(hours=5)
        self.ledger = new_ledger(folder / "ledger.db", lambda: self.time)
        self.audience: Any = SimpleNamespace(
            name="vip", schedule="0 3 * * *", timezone=ZoneInfo("UTC")
        )
        self.calendar = Calendar(
            ledger=self.ledger, holder="one", alive=lambda _: True, now=lambda: self.time
        )
        self.calendar.meet([self.audience])
        self.time = NIGHT + SOON

    def serve(self) -> str:
        """Begin what is due, as a job."""
        with self.calendar.serving([self.audience]) as serving:
            assert list(serving.due) == ["vip"]
            return self.begin()

    def begin(self, kind: str = planning.KIND) -> str:
        id = self.ledger.new_run_id().replace("r", "j", 1)  # noqa: A001 - the record's word
        spec = {"lists": [["vip", "meta"], ["vip", "google"], ["gone", "meta"]]}
        named = {"id": id, "kind": kind, "stage": "read", "spec": spec}
        self.ledger.create_job(Job(**named, created_at=self.time, changed_at=self.time), 1)
        return id

    def fail(self, job: str, state: JobState = JobState.FAILED) -> None:
        self.time += SOON
        self.ledger.end_job(job, state, WHY)

    def sync(self, *destinations: str) -> None:
        """By hand."""
        self.time += SOON
        for there in destinations:
            planned = {"state": RunState.CONFIRMED, "planned_at": self.time}
            self.ledger.create_run(Run(id=there, audience="vip", destination=there, **planned), [])

    def sweep(self) -> list[str]:
        """The audiences that the sweep finds due."""
        self.time += SOON
        Again(ledger=self.ledger, calendar=self.calendar).look({"vip": self.audience})
        return [found.name for found in self.calendar.unserved([self.audience])]

    @property
    def note(self) -> str | None:
        served = self.ledger.served("vip")
        assert served is not None
        return served.note


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path)
    yield office
    office.ledger.close()


def test_a_plan_that_failed_is_due_again_after_a_quarter_of_an_hour(office: Office) -> None:
    """Its reason is told meanwhile; once it has gone well nothing is due any more."""
    office.fail(office.serve())
    assert office.sweep() == []
    assert office.note == f"{WHY}; it is tried again"
    office.time += RETRY_AFTER
    assert office.sweep() == ["vip"]
    office.fail(office.serve(), JobState.DONE)
    office.time += RETRY_AFTER
    assert office.sweep() == []
    assert office.note is None


def test_it_is_tried_a_few_times_for_each_due_time(office: Office) -> None:
    """Then it waits for the next one, which is served as if nothing had been."""
    for _ in range(TRIES):
        office.fail(office.serve())
        office.sweep()
        office.time += RETRY_AFTER
    assert office.sweep() == []
    assert office.note == f"{WHY}; it was tried {TRIES} times"
    office.time = NIGHT + timedelta(days=1)
    assert office.sweep() == ["vip"]
    office.fail(office.serve())
    office.sweep()
    assert office.note == f"{WHY}; it is tried again"


def test_the_next_due_time_does_not_wait_for_the_one_that_failed(office: Office) -> None:
    """It takes its place at once."""
    office.time = NIGHT + timedelta(days=1, minutes=-5)
    office.fail(office.serve())
    assert office.sweep() == []
    office.time = NIGHT + timedelta(days=1)
    assert office.sweep() == ["vip"]


def test_what_somebody_synced_since_or_cancelled_is_left_alone(office: Office) -> None:
    """Nor does a delivery that failed make a plan due."""
    office.fail(office.serve(), JobState.CANCELLED)
    office.fail(office.begin(delivering.KIND))
    failed = office.begin()
    office.fail(failed)
    office.sync("meta", "google")
    assert office.sweep() == []
    office.time += RETRY_AFTER
    assert office.sweep() == []
    assert office.note is None


@pytest.mark.parametrize("synced", ["meta", "google"])
def test_what_was_synced_to_one_destination_waits_for_the_others(
    office: Office, synced: str
) -> None:
    """Whoever tried one of them again by hand did not do the rest of the plan."""
    office.fail(office.serve())
    office.sync(synced)
    assert office.sweep() == []
    assert office.note == f"{WHY}; it is tried again"
    office.time += RETRY_AFTER
    assert office.sweep() == ["vip"]


def test_who_serves_it_just_now_is_not_disturbed(office: Office) -> None:
    """The next sweep tells the calendar."""
    office.fail(office.serve())
    lease = office.ledger.take_lease("schedule vip", "another", 600)
    office.sweep()
    assert office.note is None
    with pytest.raises(BusyError):
        office.ledger.take_lease("schedule vip", "one", 600)
    office.ledger.release_lease(lease)
    office.sweep()
    assert office.note == f"{WHY}; it is tried again"


def test_a_plan_in_parts_that_met_a_changed_file_is_due_again(tmp_path: Path) -> None:
    """A real one: its lists name the audience that was served too early."""
    here = FannedWorld(tmp_path)
    people = [granted(str(number), email=f"p{number}@example.com") for number in range(7)]
    here.write(people)
    audience: Any = SimpleNamespace(
        name=here.target.audience, schedule="* * * * *", timezone=ZoneInfo("UTC")
    )
    calendar = Calendar(
        ledger=here.ledger, holder="one", alive=lambda _: True, now=lambda: here.now() + SOON
    )
    with calendar.serving([audience]):
        _, wake = here.begin([here.target])
    here.work_off(wake[:3])
    here.write(people[1:])
    assert here.coordinator().work(wake[3]).ended is not None

    Again(ledger=here.ledger, calendar=calendar).look({audience.name: audience})

    served = here.ledger.served(audience.name)
    assert served is not None
    assert "was changed while it was read" in (served.note or "")
    assert served.retry_at is not None
