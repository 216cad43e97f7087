"""A worker's count of what it has taken, when Redis dies before it can answer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from kombu import Connection
from redis.exceptions import ConnectionError as RedisGone

from audience_sync.settings import Settings
from audience_sync.worker.broker import SteadyTransport
from audience_sync.worker.celery_app import make_celery

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
