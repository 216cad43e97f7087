"""Redis as the broker, mended: a worker that lost it listens again soon after it is back."""

from __future__ import annotations

from typing import Any

from celery.app.amqp import AMQP
from kombu.connection import Connection
from kombu.transport import TRANSPORT_ALIASES, redis, virtual

# Kombu has few types.
_ack: Any = redis.QoS.ack
_reject: Any = redis.QoS.reject
_address: Any = redis.Channel._connparams  # noqa: SLF001 - the one place that asks for it
_forget: Any = virtual.QoS.ack
_connect: Any = Connection.ensure_connection

ASK_AGAIN = 5  # seconds between looks for a Redis that is away; Kombu comes to wait thirty


class SteadyQoS(redis.QoS):
    """Counts what a worker has taken and not answered for.

    Kombu 5.7 goes on counting a message whose acknowledgement failed because Redis had died. A
    worker whose every place was taken then listens no more, and never learns that its connection
    is gone. Such a message is no longer this worker's: Redis gives it to somebody again, or has
    forgotten it.
    """

    def ack(self, delivery_tag: str) -> None:
        """Answer for a message; it is not counted any more, whatever becomes of the answer."""
        try:
            _ack(self, delivery_tag)
        except self.channel.connection_errors:
            _forget(self, delivery_tag)
            raise

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Give a message back, likewise."""
        try:
            _reject(self, delivery_tag, requeue=requeue)
        except self.channel.connection_errors:
            _forget(self, delivery_tag)
            raise


class SteadyChannel(redis.Channel):
    """A channel that counts so."""

    QoS: Any = SteadyQoS

    def _connparams(self, asynchronous: bool = False) -> Any:
        """Where Redis is. A channel that was closed meanwhile is a lost connection like any other.

        Kombu 5.7 fails with an AttributeError then, so what was to be sent is not tried again.
        """
        if self.connection is None:
            raise ConnectionError("the connection to Redis was closed; it is made anew")
        return _address(self, asynchronous=asynchronous)


class SteadyTransport(redis.Transport):
    """Celery's way to Redis, with such channels."""

    Channel: Any = SteadyChannel


class SteadyConnection(Connection):
    """A way to Redis that is found again soon, however long Redis was away."""

    def ensure_connection(self, *given: Any, **named: Any) -> Any:
        """Connect, at once or as soon as Redis is there."""
        return _connect(self, *given, **{"interval_max": ASK_AGAIN} | named)


class SteadyAMQP(AMQP):  # type: ignore[misc]  # Celery has no types
    """Celery's use of Kombu, with such connections."""

    Connection: Any = SteadyConnection


def use() -> None:
    """Let every Redis URL lead here."""
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:SteadyTransport"
