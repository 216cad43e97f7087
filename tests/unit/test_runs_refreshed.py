"""Everybody on a list is sent again before the partner forgets them, and strangers leave then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from pipeline_world import MemoryPartner, World, digest, granted

from audience_sync.connector import Receipt, RefusedError, TemporaryPartnerError
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.log import Event
from audience_sync.ledger.records.runs import RunState
from audience_sync.ledger.schema import MIGRATIONS

AGE = timedelta(days=500)


class Forgetful(MemoryPartner):
    """Can drop whoever was last added before a time; notes when it was asked to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, datetime]] = []
        self.trouble: Exception | None = None

    def drop_stale(self, remote_id: str, before: datetime) -> None:
        self.asked.append((remote_id, before))
        if self.trouble is not None:
            raise self.trouble


@pytest.fixture
def here(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.partner = Forgetful()
    world.write(people(5))
    return world


def people(count: int) -> list[dict[str, str | None]]:
    return [granted(str(n), email=f"p{n}@example.com") for n in range(count)]


def hashes(count: int) -> set[str]:
    return {digest(f"p{n}@example.com") for n in range(count)}


def sent(here: World) -> set[str]:
    return set().union(*here.partner.digests())


def due(here: World) -> None:
    here.aim(refreshed_before=here.time - AGE)


def asked(here: World) -> list[tuple[str, datetime]]:
    assert isinstance(here.partner, Forgetful)
    return here.partner.asked


def test_everybody_is_sent_again_when_it_is_due(here: World) -> None:
    """Unchanged members are silent until the partner's clock comes near, and after that again."""
    here.ran()
    here.partner.uploads.clear()
    here.time += AGE
    due(here)
    run = here.ran()
    assert sent(here) == hashes(5) == here.held()
    assert (run.delta["additions"], run.delta["changed"], run.delta["removals"]) == (5, 5, 0)
    here.partner.uploads.clear()
    here.ran()
    assert here.partner.uploads == []


def test_a_list_is_as_fresh_as_its_last_whole_upload(here: World) -> None:
    """Members that came later do not make the others any younger."""
    here.ran()
    first = here.ledger.remote_list("vip", "memory-1").refreshed_at
    here.time += timedelta(days=300)
    due(here)
    here.write(people(6))
    here.ran()
    assert here.ledger.remote_list("vip", "memory-1").refreshed_at == first
    here.time += timedelta(days=201)
    due(here)
    here.partner.uploads.clear()
    here.ran()
    assert sent(here) == hashes(6)


def test_who_left_is_not_sent_again(here: World) -> None:
    """A refresh removes whoever left as any other run does, and sends only who is wanted."""
    here.ran()
    here.time += AGE
    due(here)
    here.write(people(3))
    here.ran()
    assert here.partner.holds == hashes(3) == here.held()


def test_a_refresh_that_failed_is_due_again(here: World) -> None:
    """A partner that refuses half way leaves the list as old as it was."""
    here.ran()
    here.time += AGE
    due(here)

    def refuse(when: str, operation: str) -> None:
        if when == "before":
            raise RefusedError("no", 400)

    here.partner.fault = refuse
    assert here.ran().state is RunState.FAILED
    here.partner.fault = lambda _when, _operation: None
    here.partner.uploads.clear()
    here.ran()
    assert sent(here) == hashes(5)


def test_strangers_leave_once_everybody_was_sent(here: World) -> None:
    """The partner is asked with a time before the run, an hour early for clocks that differ."""
    run = here.ran()
    assert run.started_at is not None
    assert asked(here) == [("1", run.started_at - timedelta(hours=1))]
    told = [line for line in here.log() if line.batch is None]
    assert [(line.event, line.operation, line.sent) for line in told] == [
        (Event.INTENT, "remove", 0),
        (Event.OUTCOME, "remove", 0),
    ]
    here.write(people(6))
    here.ran()
    assert len(asked(here)) == 1


def test_nobody_is_dropped_before_the_last_word(here: World) -> None:
    """While an upload is pending, and after one that failed, the list is left as it is."""
    here.partner.pending = True
    run = here.ran()
    assert (run.state, asked(here)) == (RunState.DELIVERED, [])
    here.partner.answers = {
        "add-1": Receipt(accepted=3),
        "add-2": Receipt(accepted=0, unattributed=2, lost=True),
    }
    here.time += timedelta(hours=1)
    here.pipeline().resume(run)
    assert asked(here) == []


def test_a_last_word_lets_strangers_go(here: World) -> None:
    """A partner that answers later is asked when its last answer is in, and until it agrees."""
    here.partner.pending = True
    run = here.ran()
    here.partner.answers = {"add-1": Receipt(accepted=3), "add-2": Receipt(accepted=2)}
    here.time += timedelta(hours=1)
    assert isinstance(here.partner, Forgetful)
    here.partner.trouble = TemporaryPartnerError("not now", 503)
    with pytest.raises(TemporaryPartnerError):
        here.pipeline().resume(run)
    assert here.ledger.run(run.id).state is RunState.DELIVERED
    here.partner.trouble = None
    assert here.pipeline().resume(run).state is RunState.CONFIRMED
    assert len(asked(here)) == 2
    assert here.held() == hashes(5)


def test_a_refusal_to_drop_strangers_is_told(here: World) -> None:
    """The run is confirmed all the same: whoever is wanted is on the list."""
    assert isinstance(here.partner, Forgetful)
    here.partner.trouble = RefusedError("not this list", 400)
    run = here.ran()
    assert run.state is RunState.CONFIRMED
    assert run.reason == (
        "whoever was on the list before is perhaps on it still: not this list (HTTP 400)"
    )


def test_l15_a_list_of_somebody_elses_is_not_cleared(here: World) -> None:
    """Neither is it begun afresh nor is anybody dropped whom we did not send."""
    pipeline = here.pipeline()
    object.__setattr__(pipeline, "adopted", lambda _audience, _destination: "77")
    [outcome] = pipeline.sync(here.selection(), [here.target])
    assert outcome.error is None
    assert asked(here) == []
    assert not any(upload.afresh for _, upload, _ in here.partner.uploads)


def test_the_first_batch_of_a_list_says_so(here: World) -> None:
    """Only the first, which others wait for, and only while nobody of ours is on the list."""
    here.ran()
    assert [upload.afresh for _, upload, _ in here.partner.uploads] == [True, False]
    here.partner.uploads.clear()
    here.write(people(6))
    here.ran()
    assert [upload.afresh for _, upload, _ in here.partner.uploads] == [False]


def test_a_resumed_first_delivery_does_not_begin_afresh(here: World) -> None:
    """What arrived before the interruption stays on the list."""

    def stop(when: str, _operation: str) -> None:
        if when == "before" and len(here.partner.uploads) == 2:
            raise TemporaryPartnerError("not now", 503)

    here.partner.fault = stop
    assert here.sync().error is not None
    here.partner.fault = lambda _when, _operation: None
    here.partner.uploads.clear()
    here.ran()
    assert here.partner.uploads
    assert not any(upload.afresh for _, upload, _ in here.partner.uploads)
    assert here.partner.holds == hashes(5)


def test_lists_of_an_older_ledger_are_as_old_as_they_are(tmp_path: Path) -> None:
    """Nobody knows when their members were last sent, but not before the list was to be made."""
    engine = sa.create_engine(f"sqlite:///{tmp_path}/old.sqlite")
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(
            sa.text(
                "INSERT INTO remote_lists (audience, destination, creation_intended_at, adopted,"
                " generation, members, forms, manifest, statistics) VALUES ('vip', 'memory-1',"
                " '2025-01-02 03:04:05.000000', false, 1, 5, '{}', '{}', '{}')"
            )
        )
    engine.dispose()
    with Ledger.open(f"sqlite:///{tmp_path}/old.sqlite") as ledger:
        found = ledger.remote_list("vip", "memory-1").refreshed_at
    assert found == datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)
