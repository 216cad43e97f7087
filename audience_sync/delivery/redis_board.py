"""The board that all workers share: rates by the `limits` library, notes and places in Redis."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import redis
from limits import RateLimitItemPerSecond
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter
from redis.backoff import NoBackoff
from redis.retry import Retry

from audience_sync.delivery.board import Board, LocalBoard, Rate
from audience_sync.errors import StateError

T = TypeVar("T")

PREFIX = "audience-sync:board"  # nothing of Celery's begins so
ANSWERS_IN = 2.0  # seconds; a delivery does not wait long for a Redis that is away
AWAY_FOR = 30.0  # seconds until a Redis that did not answer is asked again
_JITTER = 0.05  # seconds, so that workers that wait for one place do not ask all at once
_SOCKET = "redis+socket://"  # Celery's word for it
_SCHEMES = ("redis://", "rediss://", _SOCKET)
_FAILURES = (redis.RedisError, OSError, ValueError)

# KEYS: the note. ARGV: for how many milliseconds; a longer one stays as it is.
_HOLD = """
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], 1, 'PX', ARGV[1])
end
return 1
"""

# KEYS: the places. ARGV: how many there are, who enters, for how many milliseconds.
_ENTER = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if not redis.call('ZSCORE', KEYS[1], ARGV[2])
   and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then
  return 0
end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[2])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return 1
"""

_log = logging.getLogger(__name__)


class RedisBoard:
    """Every note and place has an end, so nothing that a dead worker left stays for long."""

    def __init__(self, url: str) -> None:
        self._url = url
        address = f"unix://{url.removeprefix(_SOCKET)}" if url.startswith(_SOCKET) else url
        self._redis = redis.Redis.from_url(
            address,
            socket_timeout=ANSWERS_IN,
            socket_connect_timeout=ANSWERS_IN,
            health_check_interval=30,
            retry=Retry(NoBackoff(), 1),  # a connection from before a restart of Redis
        )
        pool = self._redis.connection_pool
        storage = RedisStorage("redis://", connection_pool=pool, key_prefix=f"{PREFIX}:rate")
        self._rates = MovingWindowRateLimiter(storage)
        self._hold = self._redis.register_script(_HOLD)
        self._enter = self._redis.register_script(_ENTER)

    def __reduce__(self) -> tuple[Any, ...]:
        return RedisBoard, (self._url,)

    def __repr__(self) -> str:
        return "RedisBoard()"  # its address may hold a password

    def take(self, key: str, rates: Sequence[Rate]) -> float:
        """See `Board.take`. The shortest comes first: what a longer one refuses costs little."""
        for rate in sorted(rates, key=lambda rate: rate.seconds):
            item = RateLimitItemPerSecond(rate.requests, rate.seconds)
            if not self._rates.hit(item, key):
                free_at = self._rates.get_window_stats(item, key).reset_time
                return max(0.0, free_at - time.time()) + random.uniform(0.001, _JITTER)  # noqa: S311 - spreads workers, guards nothing
        return 0.0

    def hold(self, key: str, seconds: float) -> None:
        """See `Board.hold`; of several at a time the longest stays, whichever comes last."""
        self._hold([_name(key)], [_milliseconds(seconds)])

    def remaining(self, key: str) -> float:
        """See `Board.remaining`."""
        left: Any = self._redis.pttl(_name(key))
        return max(0.0, float(left) / 1000)

    def claim(self, key: str, seconds: float) -> bool:
        """See `Board.claim`."""
        return bool(self._redis.set(_name(key), 1, px=_milliseconds(seconds), nx=True))

    def count(self, key: str, seconds: float) -> int:
        """See `Board.count`."""
        with self._redis.pipeline() as both:
            both.incr(_name(key))
            both.pexpire(_name(key), _milliseconds(seconds))
            return int(both.execute()[0])

    def forget(self, *keys: str) -> None:
        """See `Board.forget`."""
        self._redis.delete(*map(_name, keys))

    def enter(self, key: str, places: int, name: str, seconds: float) -> bool:
        """See `Board.enter`; by the clock of Redis, which all machines share."""
        return bool(self._enter([_name(key)], [places, name, _milliseconds(seconds)]))

    def leave(self, key: str, name: str) -> None:
        """See `Board.leave`."""
        self._redis.zrem(_name(key), name)

    def ping(self) -> None:
        """Raise what keeps Redis from answering."""
        self._redis.ping()

    def close(self) -> None:
        """Give the connections back."""
        self._redis.close()


class SteadyBoard:
    """The shared board; this process's own while Redis is away, since deliveries go on then.

    Limits may be overstepped meanwhile, once for each process: partners tell us, and we wait.
    """

    def __init__(
        self, shared: Board, own: Board, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._shared = shared
        self._own = own
        self._clock = clock
        self._back_at = 0.0

    def __reduce__(self) -> tuple[Any, ...]:
        return SteadyBoard, (self._shared, self._own)

    def take(self, key: str, rates: Sequence[Rate]) -> float:
        """See `Board.take`."""
        return self._ask(lambda board: board.take(key, rates))

    def hold(self, key: str, seconds: float) -> None:
        """See `Board.hold`."""
        self._ask(lambda board: board.hold(key, seconds))

    def remaining(self, key: str) -> float:
        """See `Board.remaining`."""
        return self._ask(lambda board: board.remaining(key))

    def claim(self, key: str, seconds: float) -> bool:
        """See `Board.claim`."""
        return self._ask(lambda board: board.claim(key, seconds))

    def count(self, key: str, seconds: float) -> int:
        """See `Board.count`."""
        return self._ask(lambda board: board.count(key, seconds))

    def forget(self, *keys: str) -> None:
        """See `Board.forget`."""
        self._ask(lambda board: board.forget(*keys))

    def enter(self, key: str, places: int, name: str, seconds: float) -> bool:
        """See `Board.enter`."""
        return self._ask(lambda board: board.enter(key, places, name, seconds))

    def leave(self, key: str, name: str) -> None:
        """See `Board.leave`."""
        self._ask(lambda board: board.leave(key, name))

    def _ask(self, what: Callable[[Board], T]) -> T:
        if self._clock() >= self._back_at:
            try:
                return what(self._shared)
            except _FAILURES as error:
                self._back_at = self._clock() + AWAY_FOR
                _log.warning(
                    "Redis does not answer (%s); the partners' limits are kept by each process "
                    "for itself until it does",
                    type(error).__name__,
                )
        return what(self._own)


def board_at(broker_url: str | None) -> Board:
    """The board that the broker's Redis holds; this process's own where there is none."""
    if broker_url is None or not broker_url.startswith(_SCHEMES):
        return LocalBoard()
    return SteadyBoard(RedisBoard(broker_url), LocalBoard())


def ask_broker(broker_url: str) -> None:
    """A StateError when the broker's Redis does not answer."""
    try:
        board = RedisBoard(broker_url)
        try:
            board.ping()
        finally:
            board.close()
    except _FAILURES as error:
        kind = type(error).__name__
        raise StateError(
            f"Redis does not answer ({kind}); check that it runs and that "
            "AUDIENCE_SYNC_BROKER_URL names it rightly"
        ) from None


def _name(key: str) -> str:
    return f"{PREFIX}:{key}"


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
