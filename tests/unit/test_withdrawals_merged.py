"""Files of withdrawals are merged, and nobody can tell but by counting them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pipeline_world import fast_folder, granted
from withdrawn_world import WithdrawnWorld, written

from audience_sync.errors import StateError
from audience_sync.ledger.ledger import Ledger
from audience_sync.membership.digests import match
from audience_sync.membership.location import FolderLocation
from audience_sync.membership.sealed import Keyring, key_of
from audience_sync.runs import merging
from audience_sync.runs.merging import Merger
from audience_sync.runs.named import FOLDER, holders
from audience_sync.runs.refusals import Refusals
from audience_sync.runs.rekey import keys_in_use, rekey
from audience_sync.runs.standing import Standing

NUMBERS = range(6)
PEOPLE = [granted(f"c{n}", email=f"p{n}@example.com") for n in NUMBERS]
MANY_DAYS = timedelta(days=4)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three files of a size are enough."""
    monkeypatch.setattr(merging, "TOGETHER", 3)


@pytest.fixture
def world(tmp_path: Path) -> WithdrawnWorld:
    return new_world(tmp_path)


def new_world(folder: Path) -> WithdrawnWorld:
    """One whose ledger has the same clock, since files are named by it."""
    world = WithdrawnWorld(folder)
    world.ledger.close()
    world.ledger = Ledger.open(f"sqlite:///{folder}/ledger.sqlite", clock=lambda: world.time)
    world.write(PEOPLE)
    return world


def merger(world: WithdrawnWorld) -> Merger:
    """Merges this world's files."""
    return Merger(
        ledger=world.ledger,
        location=world.location,
        keyring=world.keyring,
        holder="merger:1",
        alive=world.alive,
        now=world.now,
    )


def standing(world: WithdrawnWorld) -> Standing:
    """Reads them."""
    return Standing(world.ledger, world.location, world.keyring)


def files(world: WithdrawnWorld) -> set[str]:
    """The files there are."""
    return {f"{FOLDER}/{name}" for name in world.location.names(FOLDER)}


def answers(world: WithdrawnWorld) -> dict[str, Any]:
    """Everything that anybody asks of withdrawals, in plain values."""
    here, newest = standing(world), world.ledger.newest_withdrawal()

    def plain(values: Any, at: Any) -> dict[bytes, int]:
        return {one.tobytes(): int(time) for one, time in zip(values, at, strict=True)}

    refused: dict[Any, int] = {}
    for through in range(newest + 1):
        for partner, named in here.known(through):
            for family, (values, at) in named.items():
                for digest, time in plain(values, at).items():
                    key = through, partner, family, digest
                    refused[key] = max(time, refused.get(key, time))
    everybody = here.digests(0, newest, "memory")
    return {
        "refused": refused,
        "customers": {
            (one.partner, digest): time
            for one in Refusals(here, newest).customers
            for digest, time in plain(one.digests, one.at).items()
        },
        "each": [
            {number: values.tobytes() for number, values in here.each(after, newest, who).items()}
            for after in range(newest)
            for who in ("memory", "other")
        ],
        "named": [
            {family: plain(*found) for family, found in here.named(one).items()}
            for one in world.ledger.withdrawals()
        ],
        "naming": [one.id for one in here.naming(everybody)],
        "naming some": [one.id for one in here.naming(everybody[:1])],
    }


@given(
    people=st.lists(
        st.tuples(
            st.sampled_from(["email", "customer_id", "file"]),
            st.sampled_from(NUMBERS),
            st.sampled_from([None, None, "memory", "other"]),
        ),
        max_size=10,
    ),
    merged_after=st.sets(st.integers(0, 10)),
)
@settings(
    max_examples=12,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_the_answers_stay_the_same(
    people: list[tuple[str, int, str | None]], merged_after: set[int]
) -> None:
    """Whoever withdrew how often, from whom, and whenever files were merged."""
    world = new_world(fast_folder())
    for number, (how, who, partner) in enumerate(people):
        at = world.now()
        if how == "file":
            frame = world.frame([f"p{who}@example.com", f"x{who}@example.com"])
            world.recorder().receive_frames([frame], partner=partner)
        else:
            value = f"p{who}@example.com" if how == "email" else f"c{who}"
            world.withdraw(**{how: value}, partner=partner, decided_at=at)
        if number % 3 == 0:
            world.lane().resolve()
        if number in merged_after:
            before = answers(world)
            merger(world).merge()
            assert answers(world) == before
    before = answers(world)
    merger(world).merge()
    assert answers(world) == before
    used = {file.path for file in world.ledger.withdrawal_files()}
    assert used == files(world)
    world.ledger.close()


def test_there_are_never_many_files(world: WithdrawnWorld) -> None:
    """Two of each size at most, however many withdraw; each is read and written few times."""
    for number in range(40):
        world.withdraw(email=f"x{number}@example.com")
        merger(world).merge()
    counts = sorted(file.withdrawals for file in world.ledger.withdrawal_files())
    assert sum(counts) == 40
    assert len(counts) <= 8
    assert len(files(world)) == len(counts)


def test_large_files_stay_as_they_are(
    world: WithdrawnWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What takes long to write is not written again and again."""
    monkeypatch.setattr(merging, "_LARGEST", 0)
    for number in range(4):
        world.withdraw(email=f"x{number}@example.com")
    assert merger(world).merge() == 0
    assert len(files(world)) == 4


def test_whoever_reads_meanwhile_reads_the_same(world: WithdrawnWorld) -> None:
    """The file that the ledger named a moment ago is gone; it stands in another by then."""
    for number in NUMBERS:
        world.withdraw(email=f"p{number}@example.com", customer_id=f"c{number}")
    before = world.ledger.withdrawals()
    named = [standing(world).digests_of([one]).tobytes() for one in before]
    assert merger(world).merge() > 0
    assert not files(world) & {one.file for one in before}
    assert [standing(world).digests_of([one]).tobytes() for one in before] == named
    gone = world.ledger.withdrawal_files()[0].path
    world.location.delete(gone)
    with pytest.raises(StateError):
        standing(world).digests_of(before)


class _Died(BaseException):
    """What happens where a process is killed."""


def _die(*_words: Any, **_more: Any) -> None:
    raise _Died


@pytest.mark.parametrize(
    ("where", "step"),
    [(merging, "write_many"), (Ledger, "move_withdrawals"), (FolderLocation, "delete")],
)
def test_a_death_loses_nothing(
    world: WithdrawnWorld, monkeypatch: pytest.MonkeyPatch, where: Any, step: str
) -> None:
    """Whatever was left behind goes after some days, and the merge is made by the next."""
    for number in NUMBERS:
        world.withdraw(email=f"p{number}@example.com")
    before = answers(world)
    with monkeypatch.context() as broken:
        broken.setattr(where, step, _die)
        with pytest.raises(_Died):
            merger(world).merge()
    assert answers(world) == before
    merger(world).merge()
    world.time += MANY_DAYS
    merger(world).tidy()
    assert answers(world) == before
    assert files(world) == {file.path for file in world.ledger.withdrawal_files()}
    world.ran()
    assert world.partner.holds == set()


def test_what_is_purged_leaves_a_file_of_many(world: WithdrawnWorld) -> None:
    """The others stay blocked, and nothing of who was purged rests anywhere."""
    for number in NUMBERS:
        world.withdraw(email=f"p{number}@example.com")
        world.time += timedelta(days=1)
    world.lane_works()
    merger(world).merge()
    digests = standing(world).digests(0, 3, "memory")
    before = world.ledger.withdrawals()[3].received_at
    done = world.ledger.withdrawal_deliveries()
    assert all(one.confirmed_at is not None for one in done)
    world.ledger.purge_withdrawals(before + timedelta(days=10))
    world.time += MANY_DAYS
    assert merger(world).tidy() > 0
    left = world.ledger.withdrawals()
    assert [one.sequence for one in left] == [6]  # the newest, since numbers only grow
    for path in files(world):
        assert holders(world.location, world.keyring, path) <= {6}
        assert not (match(standing(world).digests_of(left), digests) >= 0).any()
    world.ran()
    assert world.partner.holds == {
        cell for n in NUMBERS[:5] for cell in written(f"p{n}@example.com", None)
    }


def test_a_file_that_is_not_on_record_yet_is_left_alone(world: WithdrawnWorld) -> None:
    """Whoever takes a withdrawal in writes its file first."""
    world.withdraw(email="p1@example.com")
    made = {f"{FOLDER}/w{world.time:%Y%m%d}-0123456789ab.sealed", f"{FOLDER}/notes.txt"}
    for path in made:
        with world.location.create(path) as file:
            file.write(b"sealed")
    merger(world).tidy()
    assert made <= files(world)
    world.time += MANY_DAYS
    merger(world).tidy()
    assert files(world) & made == {f"{FOLDER}/notes.txt"}


def test_a_rotation_of_keys_reaches_them(world: WithdrawnWorld) -> None:
    """Those of their own and those of many are written anew, and read without the older key."""
    for number in range(4):
        world.withdraw(email=f"p{number}@example.com")
    merger(world).merge()
    world.withdraw(customer_id="c5")
    before = answers(world)
    assert len(files(world)) == 2
    older = world.keyring
    world.keyring = Keyring("k2", {**older.keys, "k2": bytes(32)})
    done = rekey(world.ledger, world.location, world.keyring, "keys:1", alive=world.alive)
    assert (done.written, done.left) == (2, {})
    assert {key_of(world.location, path) for path in files(world)} == {"k2"}
    assert keys_in_use(world.location) == {"k2": 2}
    world.keyring = Keyring("k2", {"k2": bytes(32)})
    assert answers(world) == before
