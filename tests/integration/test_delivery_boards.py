"""Boards keep the same promises in memory and in a real Redis, across processes and deaths."""

from __future__ import annotations

import logging
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from audience_sync.connector import Limits
from audience_sync.delivery.board import Board, LocalBoard, Rate
from audience_sync.delivery.circuit import WithheldError
from audience_sync.delivery.limits import Gate
from audience_sync.delivery.redis_board import RedisBoard, SteadyBoard, board_at
from audience_sync.delivery.slots import Slots

NOWHERE = "redis://127.0.0.1:1/0"
PATIENCE = 30.0  # seconds


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """By how many seconds the clocks of this process are put forward."""
    now, added = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: now() + added[0])
    return added


@pytest.fixture(params=["memory", "redis"])
def board(request: pytest.FixtureRequest, ahead: list[float]) -> Board:
    if request.param == "memory":
        return LocalBoard(lambda: time.monotonic() + ahead[0])
    return RedisBoard(request.getfixturevalue("redis_url"))


@pytest.fixture
def shared(redis_url: str) -> RedisBoard:
    return RedisBoard(redis_url)


@pytest.mark.redis
def test_notes_end_by_themselves(board: Board) -> None:
    """A note is kept for the longest time asked for, and may be taken off."""
    assert board.remaining("a") == 0
    board.hold("a", 60)
    board.hold("a", 0.1)
    assert 50 < board.remaining("a") <= 60
    board.hold("b", 0.05)
    time.sleep(0.06)
    assert board.remaining("b") == 0
    board.hold("b", 60)
    board.forget("a", "b", "never there")
    assert board.remaining("a") == 0
    assert board.remaining("b") == 0


@pytest.mark.redis
def test_the_longest_of_many_notes_stays(board: Board) -> None:
    """Workers that are told of waits at one moment keep the longest, in whatever order."""
    waits = [60.0, *(float(number) for number in range(1, 16))]
    with ThreadPoolExecutor(len(waits)) as threads:
        for number in range(20):
            list(threads.map(lambda wait, key=f"k{number}": board.hold(key, wait), waits))
            assert board.remaining(f"k{number}") > 40


@pytest.mark.redis
def test_one_claims(board: Board) -> None:
    """Of many threads one has the note, until it ends."""
    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(lambda _: board.claim("probe", 60), range(32))) == 1
    board.forget("probe")
    assert board.claim("probe", 0.05)
    time.sleep(0.06)
    assert board.claim("probe", 1)


@pytest.mark.redis
def test_counters_forget(board: Board) -> None:
    """Nothing is lost between threads; the time runs from the last call."""
    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(lambda _: board.count("n", 60), range(20))) == list(range(1, 21))
    assert board.count("n", 0.1) == 21
    time.sleep(0.11)
    assert board.count("n", 1) == 1


@pytest.mark.redis
def test_rates_hold_in_every_window(board: Board, ahead: list[float]) -> None:
    """At most so many in a minute and in three; who is refused is told when to come."""
    rates = [Rate(3, 60), Rate(5, 180)]
    assert [board.take("k", rates) for _ in range(3)] == [0, 0, 0]
    assert 30 < board.take("k", rates) < 61
    assert board.take("other", rates) == 0
    ahead[0] = 61.0
    assert [board.take("k", rates) for _ in range(2)] == [0, 0]
    assert 90 < board.take("k", rates) < 120


@pytest.mark.redis
def test_places_are_leases(board: Board) -> None:
    """Who does not renew a place loses it; who renews it keeps it; a given one is free."""
    assert board.enter("k", 2, "one", 0.05)
    assert board.enter("k", 2, "one", 30)
    assert board.enter("k", 2, "two", 30)
    time.sleep(0.06)
    assert not board.enter("k", 2, "three", 30)
    assert board.enter("k", 2, "one", 0.05)
    time.sleep(0.06)
    assert board.enter("k", 2, "three", 30)
    assert not board.enter("k", 2, "one", 30)
    board.leave("k", "two")
    assert board.enter("k", 2, "one", 30)


@pytest.mark.redis
def test_uploads_never_outnumber_the_places(board: Board) -> None:
    """Many threads that want several each: together never more than the partner takes."""
    made = Slots(board, patience=20.0)
    now, most = 0, 0

    def upload(_number: int) -> int:
        nonlocal now, most
        with made.some("k", 3, 2) as places:
            now += places
            most = max(most, now)
            time.sleep(0.005)
            now -= places
        return places

    with ThreadPoolExecutor(8) as threads:
        got = list(threads.map(upload, range(16)))
    assert most <= 3
    assert set(got) <= {1, 2}
    with made.some("k", 3, 9) as places:
        assert places == 3


@pytest.mark.redis
def test_a_place_is_kept_while_its_upload_lasts(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Renewed beside the work, however long it takes; then given back."""
    entered, enter = threading.Semaphore(0), board.enter

    def noted(key: str, places: int, name: str, seconds: float) -> bool:
        found = enter(key, places, name, seconds)
        entered.release()
        return found

    monkeypatch.setattr(board, "enter", noted)
    made, others = Slots(board, patience=0.0, every=0.01), Slots(board, patience=0.0)
    with made.some("k", 1, 1):
        for _ in range(4):
            assert entered.acquire(timeout=PATIENCE)
        with pytest.raises(WithheldError, match="other workers"), others.some("k", 1, 1):
            pass
    with others.some("k", 1, 1):
        pass


def test_processes_share_rates_and_a_dead_one_gives_back_its_places(
    shared: RedisBoard, redis_url: str
) -> None:
    """Another process counts with ours; killed, it keeps a place no longer than its lease."""
    code = (
        "import sys, time\n"
        "from audience_sync.delivery.redis_board import RedisBoard\n"
        "from audience_sync.delivery.board import Rate\n"
        "board = RedisBoard(sys.argv[1])\n"
        "print(board.enter('k', 1, 'theirs', 3.0), board.take('r', [Rate(2, 60)]), flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, redis_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:  # noqa: S603 - ourselves
        assert other.stdout is not None
        assert other.stdout.readline() == "True 0.0\n"
        assert not shared.enter("k", 1, "ours", 30)
        assert shared.take("r", [Rate(2, 60)]) == 0
        assert shared.take("r", [Rate(2, 60)]) > 50
        other.kill()
    end = time.monotonic() + PATIENCE
    while not shared.enter("k", 1, "ours", 30):
        assert time.monotonic() < end, "the dead one's lease never ended"
        time.sleep(0.05)


def test_redis_learns_no_account_and_everything_ends(shared: RedisBoard, redis_url: str) -> None:
    """Keys are digests, every key has an end, and values are counters and times."""
    gate = Gate("meta https://graph.example 1234567890", shared, patience=0.0)
    gate.limit(Limits(members_per_request=1, requests_per_minute=9, requests_per_day=99))
    gate.wait()
    gate.rest(60)
    gate.circuit("https graph.example").failed()
    with gate.slots("lapsed-vip", 1), redis.Redis.from_url(redis_url) as client:
        keys = client.keys("*")
        assert len(keys) == 5
        for key in keys:
            assert key.startswith(b"audience-sync:board:")
            assert client.ttl(key) > 0
            for word in (b"meta", b"1234567890", b"graph", b"lapsed"):
                assert word not in key


def test_a_redis_that_is_away_stops_no_delivery(caplog: pytest.LogCaptureFixture) -> None:
    """Each process then counts for itself, says so once, and asks Redis again later."""
    now = [0.0]
    steady = SteadyBoard(RedisBoard(NOWHERE), LocalBoard(), clock=lambda: now[0])
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert steady.take("k", [Rate(3, 60)]) == 0
        assert steady.take("k", [Rate(3, 60)]) > 0
        assert len(caplog.records) == 1
        now[0] += 31
        steady.remaining("k")
        assert len(caplog.records) == 2
    assert "127.0.0.1" not in caplog.text


def test_a_redis_that_came_back_is_used_again(redis_url: str) -> None:
    """What the process counted for itself meanwhile is forgotten; the shared count goes on."""
    now = [0.0]
    steady = SteadyBoard(RedisBoard(NOWHERE), LocalBoard(), clock=lambda: now[0])
    assert steady.claim("k", 60)
    steady._shared = RedisBoard(redis_url)
    assert not steady.claim("k", 60)
    now[0] += 31
    assert steady.claim("k", 60)
    assert not steady.claim("k", 60)


def test_the_broker_is_the_board(redis_url: str) -> None:
    """Without a Redis each process counts for itself; a copy knows its Redis and tells nobody."""
    assert isinstance(board_at(None), LocalBoard)
    board = board_at(redis_url)
    copied = pickle.loads(pickle.dumps(board))  # noqa: S301 - our own object
    assert board.claim("k", 60)
    assert not copied.claim("k", 60)
    assert "secret" not in repr(RedisBoard("redis://:secret@127.0.0.1:1/0"))
