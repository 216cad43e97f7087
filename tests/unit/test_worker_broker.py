"""What a worker has taken and whom it watches, when Redis dies before it can answer."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest
from kombu import Connection
from kombu.asynchronous import Hub
from kombu.utils import functional
from redis.exceptions import ConnectionError as RedisGone

from audience_sync.settings import Settings
from audience_sync.worker.broker import SteadyTransport
from audience_sync.worker.celery_app import make_celery
from audience_sync.worker.pool import SteadyPool

TAG = "a message"


@pytest.fixture
def taken() -> Any:
    """What counts a worker's messages: it may take one, has it, and Redis is gone."""
    settings = Settings(broker_url="redis://127.0.0.1:1/0")
    with make_celery(settings) as celery:
        transport = type(Connection(celery.conf.broker_url).transport)

    def gone(*_: object) -> Any:
        raise RedisGone

    channel = SimpleNamespace(
        conn_or_acquire=gone, connection_errors=(RedisGone,), do_restore=False
    )
    qos = transport.Channel.QoS(channel, prefetch_count=1)
    qos._delivered[TAG] = "its text"
    assert not qos.can_consume()
    return qos


@pytest.mark.parametrize("answer", ["ack", "reject"])
def test_a_message_that_cannot_be_answered_for_takes_no_place(taken: Any, answer: str) -> None:
    """The worker listens again, and so finds that its connection is gone."""
    with pytest.raises(RedisGone):
        getattr(taken, answer)(TAG)

    assert taken.can_consume()


def test_a_message_that_cannot_be_put_back_takes_no_place_either(taken: Any) -> None:
    """The same for one that is handed to another worker."""
    with pytest.raises(RedisGone):
        taken.reject(TAG, requeue=True)

    assert taken.can_consume()


def test_a_closed_channel_is_a_connection_to_be_made_anew() -> None:
    """What is sent while Redis comes back is tried again, as after any other lost connection."""
    transport = SteadyTransport
    channel = transport.Channel.__new__(transport.Channel)
    channel.connection = None  # as Kombu leaves a channel that it has closed

    with pytest.raises(transport.connection_errors):
        channel._connparams()


def test_redis_is_looked_for_every_five_seconds_however_long_it_was_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Left to itself Kombu waits two seconds longer each time, and comes to wait for thirty."""
    waits: list[float] = []

    def told(_error: Exception, wait: float) -> None:
        waits.append(wait)
        if len(waits) == 20:
            raise ZeroDivisionError

    monkeypatch.setattr(functional, "sleep", lambda _seconds: None)
    settings = Settings(broker_url="redis://127.0.0.1:1/0")
    with (
        make_celery(settings) as celery,
        celery.connection_for_read() as connection,
        pytest.raises(ZeroDivisionError),
    ):
        connection.ensure_connection(told, None, callback=lambda: None)

    assert waits[0] == 2
    assert max(waits) == 5


def test_a_redis_that_is_silent_is_given_up() -> None:
    """No answer is waited for without an end: neither for a connection nor on one."""
    with make_celery(Settings(broker_url="redis://127.0.0.1:1/0")) as celery:
        options = celery.conf.broker_transport_options
    assert options["socket_connect_timeout"] <= 10
    assert options["socket_timeout"] <= 10
    assert options["health_check_interval"] <= 10


@pytest.mark.parametrize("ended", [False, True])
def test_a_child_that_has_just_ended_does_not_end_the_worker(ended: bool) -> None:
    """When Redis is lost all children are watched anew, but for those that wait to be replaced."""
    here, there = os.pipe()
    child = SimpleNamespace(_popen=SimpleNamespace(sentinel=here))
    if ended:
        child._sentinel_poll = None  # as Celery leaves a child that it has seen end
    hub = Hub()
    try:
        SteadyPool.__new__(SteadyPool)._track_child_process(child, hub)
        assert len(hub.readers) == (0 if ended else 1)
    finally:
        if not ended:
            os.close(child._sentinel_poll)
        for end in (here, there):
            os.close(end)
        hub.close()
