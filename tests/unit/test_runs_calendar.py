"""Each due time is served once: whoever asks, whoever dies, whatever was missed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipeline_world import new_ledger

from audience_sync.cron import last_due, next_due
from audience_sync.errors import ConfigurationError, SourceError
from audience_sync.ledger.records.runs import Run, RunState
from audience_sync.runs.calendar import RETRY_AFTER, Calendar
from audience_sync.stopping import StoppedError

STOCKHOLM = ZoneInfo("Europe/Stockholm")
EVENING = datetime(2026, 10, 23, 20, tzinfo=UTC)
DAY = timedelta(days=1)


def audience(name: str = "vip", schedule: str | None = "0 3 * * *") -> Any:
    return SimpleNamespace(name=name, schedule=schedule, timezone=STOCKHOLM)


class Office:
    """Calendars of several processes on one ledger, and a clock."""

    def __init__(self, folder: Path) -> None:
        self.time = EVENING
        self.ledger = new_ledger(folder / "ledger.db", lambda: self.time)
        self.dead: set[str] = set()
        self.served: list[tuple[str, datetime]] = []

    def calendar(self, holder: str = "one") -> Calendar:
        return Calendar(
            ledger=self.ledger,
            holder=holder,
            alive=lambda found: found not in self.dead,
            now=lambda: self.time,
        )

    def serve(self, *audiences: Any, holder: str = "one", error: Exception | None = None) -> None:
        with self.calendar(holder).serving(audiences) as serving:
            if error is not None and serving.due:
                raise error
            self.served += [(name, self.time) for name in serving.due]


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path)
    yield office
    office.ledger.close()


@given(
    st.sampled_from(["0 3 * * *", "30 2 * * *", "*/20 * * * *", "0 * * * 1", "15 4 1 * *"]),
    st.sampled_from(["Europe/Stockholm", "America/New_York", "UTC", "Australia/Lord_Howe"]),
    st.datetimes(datetime(2026, 3, 1), datetime(2027, 4, 15)),  # noqa: DTZ001 - hypothesis wants them so
)
def test_the_last_due_time_is_the_one_before_the_next(
    cron: str, zone: str, moment: datetime
) -> None:
    """Through every change of the clocks: nothing is due between the last and now."""
    now, place = moment.replace(tzinfo=UTC), ZoneInfo(zone)
    last = last_due(cron, place, now)
    assert last <= now < next_due(cron, place, last)
    assert last_due(cron, place, last) == last


def test_two_beats_are_served_once(office: Office) -> None:
    """Two messages for one due time: the second finds nothing to do."""
    office.calendar().meet([audience()])
    office.time += DAY
    office.serve(audience())
    office.serve(audience(), holder="two")
    assert [name for name, _ in office.served] == ["vip"]
    assert office.calendar().unserved([audience()]) == []


def test_messages_at_one_moment_are_served_once(office: Office) -> None:
    """Many at once: one serves, the others see that it does, or that it did."""
    office.calendar().meet([audience()])
    office.time += DAY
    begin = threading.Barrier(6)

    def beat(number: int) -> None:
        begin.wait()
        office.serve(audience(), holder=f"worker {number}")

    threads = [threading.Thread(target=beat, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [name for name, _ in office.served] == ["vip"]


def test_times_missed_in_an_outage_count_once(office: Office) -> None:
    """A week without anybody: one run, and the next one at its own time."""
    office.calendar().meet([audience()])
    office.time += 7 * DAY
    assert [found.name for found in office.calendar().unserved([audience()])] == ["vip"]
    office.serve(audience())
    office.serve(audience())
    assert len(office.served) == 1
    served = office.ledger.served("vip")
    assert served is not None
    assert f"{served.due_at.astimezone(STOCKHOLM):%d %H:%M}" == "30 03:00"
    office.time += DAY
    office.serve(audience())
    assert len(office.served) == 2


def test_a_new_schedule_begins_with_its_next_time(office: Office) -> None:
    """What would have been due before anybody knew the schedule is not made up for."""
    office.calendar().meet([audience()])
    assert office.calendar().unserved([audience()]) == []
    office.time += timedelta(hours=6)
    changed = audience(schedule="0 1 * * *")
    office.calendar().meet([changed])
    assert office.calendar().unserved([changed]) == []
    office.time += DAY
    assert office.calendar().unserved([changed]) != []


def test_a_list_that_was_synced_before_is_due_since_then(office: Office) -> None:
    """A ledger from before schedules were remembered knows when its runs were planned."""
    office.ledger.create_run(
        Run(
            id="r1",
            audience="vip",
            destination="meta-se",
            state=RunState.CONFIRMED,
            planned_at=EVENING - 3 * DAY,
        ),
        [],
    )
    office.calendar().meet([audience()])
    assert len(office.calendar().unserved([audience()])) == 1


def test_a_worker_that_dies_is_replaced(office: Office) -> None:
    """Its due time stays unserved: hidden while it lives, served by another when it is dead."""
    office.calendar().meet([audience()])
    office.time += DAY
    dying = office.calendar("dying").serving([audience()])
    assert list(dying.__enter__().due) == ["vip"]
    assert office.calendar().unserved([audience()]) == []
    office.serve(audience(), holder="two")
    assert office.served == []

    office.dead.add("dying")
    assert len(office.calendar().unserved([audience()])) == 1
    office.serve(audience(), holder="two")

    assert [name for name, _ in office.served] == ["vip"]
    served = office.ledger.served("vip")
    assert served is not None
    assert served.served_at == office.time
    assert not dying.__exit__(StoppedError, StoppedError("its thread ends with the test"), None)


def test_a_failed_time_is_tried_again_until_the_next(office: Office) -> None:
    """Not at once, not for ever: a quarter of an hour apart, and the reason can be read."""
    office.calendar().meet([audience()])
    office.time += DAY
    error = SourceError("the customers cannot be read")
    with pytest.raises(SourceError):
        office.serve(audience(), error=error)
    served = office.ledger.served("vip")
    assert served is not None
    assert served.note == "the customers cannot be read; it is tried again"
    office.serve(audience())
    assert office.served == []
    office.time += RETRY_AFTER
    with pytest.raises(SourceError):
        office.serve(audience(), error=error)
    office.time += RETRY_AFTER
    office.serve(audience())
    office.serve(audience())
    assert len(office.served) == 1
    served = office.ledger.served("vip")
    assert served is not None
    assert (served.note, served.retry_at) == (None, None)


def test_what_only_a_person_can_mend_waits_for_the_next_time(office: Office) -> None:
    """A wrong project is told once a due time, not every quarter of an hour."""
    office.calendar().meet([audience()])
    office.time += DAY
    with pytest.raises(ConfigurationError):
        office.serve(audience(), error=ConfigurationError("the column email is gone"))
    assert office.calendar().unserved([audience()]) == []
    served = office.ledger.served("vip")
    assert served is not None
    assert served.note == "the column email is gone"


def test_work_that_was_handed_back_is_still_due(office: Office) -> None:
    """A worker that was told to stop marks nothing."""
    office.calendar().meet([audience()])
    office.time += DAY
    with pytest.raises(StoppedError):
        office.serve(audience(), error=StoppedError("told to stop"))
    assert len(office.calendar().unserved([audience()])) == 1


def test_what_was_skipped_is_noted(office: Office) -> None:
    """A note stays until the next time is served."""
    office.calendar().meet([audience()])
    office.time += DAY
    with office.calendar().serving([audience()]) as serving:
        serving.notes["vip"] = "meta-se was skipped: run r1 is still being delivered"
    served = office.ledger.served("vip")
    assert served is not None
    assert served.note == "meta-se was skipped: run r1 is still being delivered"


def test_audiences_without_a_schedule_are_left_out(office: Office) -> None:
    """Asked for or not."""
    by_hand = audience(schedule=None)
    office.calendar().meet([by_hand])
    office.time += DAY
    office.serve(by_hand)
    assert (office.served, office.calendar().unserved([by_hand])) == ([], [])
