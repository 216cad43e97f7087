"""The Celery app, made in one function from the settings."""

from __future__ import annotations

from typing import Any

from celery import Celery

from audience_sync.errors import ConfigurationError
from audience_sync.settings import Settings
from audience_sync.worker import broker

PLAN = "audience-sync.plan"
DELIVER = "audience-sync.deliver"
POLL = "audience-sync.poll"
URGENT = "audience-sync.urgent"  # withdrawals; one process should always be free for it
QUEUES = (PLAN, DELIVER, POLL, URGENT)
_EXCHANGE = "audience-sync"

VISIBILITY_TIMEOUT = 3600  # seconds; Redis then gives a message that nobody finished to another
TURN = VISIBILITY_TIMEOUT * 0.75  # seconds; a delivery then hands back what is left of it
STUCK = VISIBILITY_TIMEOUT * 0.95  # seconds; a task that has a turn was killed before so long
STUCK_PLAN = 12 * 3600  # seconds; planning has no turns, it would begin anew with each
GRACE = 60  # seconds between the word that a task takes too long and its end by force
TASKS_PER_CHILD = 50  # then a child is replaced, which gives back all memory

_SCHEMES = ("redis://", "rediss://", "redis+socket://")
# Seconds. Without them a worker waits for ever for a Redis whose machine is gone without a word.
_BROKER_PATIENCE = {
    "socket_connect_timeout": 5,
    "socket_timeout": 10,
    "health_check_interval": 10,  # until it is noticed that nothing was heard, and so often
}
_PUBLISH_PATIENCE = {"max_retries": 20, "interval_start": 0, "interval_step": 1, "interval_max": 10}


def make_celery(settings: Settings) -> Celery:
    """The app, its tasks not yet registered; ConfigurationError when no broker is set.

    JSON is the only language of its messages, and nothing keeps their results: what became of a
    message stands in the ledger.
    """
    broker.use()
    celery = Celery(
        "audience_sync",
        broker=broker_url(settings),
        amqp=broker.SteadyAMQP,
        set_as_current=False,
    )
    celery.conf.update(_messages() | _tasks() | _processes() | _redis() | _beat())
    return celery


def _messages() -> dict[str, Any]:
    return {
        "accept_content": ["json"],
        "result_accept_content": ["json"],
        "task_serializer": "json",
        "result_serializer": "json",
        "event_serializer": "json",
        "enable_utc": True,
        "timezone": "UTC",
        "task_queues": {name: {"exchange": _EXCHANGE, "routing_key": name} for name in QUEUES},
        "task_default_queue": PLAN,
        "task_create_missing_queues": False,
        "task_publish_retry": True,
        "task_publish_retry_policy": _PUBLISH_PATIENCE,
    }


def _tasks() -> dict[str, Any]:
    return {
        "task_ignore_result": True,
        "result_backend": None,
        "result_expires": None,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_time_limit": STUCK,
        "task_soft_time_limit": STUCK - GRACE,
    }


def _processes() -> dict[str, Any]:
    return {
        "worker_prefetch_multiplier": 1,
        "worker_max_tasks_per_child": TASKS_PER_CHILD,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_enable_remote_control": False,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_send_task_events": False,
    }


def _redis() -> dict[str, Any]:
    return {
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_transport_options": {
            "visibility_timeout": VISIBILITY_TIMEOUT,
            "socket_keepalive": True,
            **_BROKER_PATIENCE,
        },
    }


def _beat() -> dict[str, Any]:
    return {
        # Celery's usual one keeps its times in a pickled file; ours are in the ledger.
        "beat_scheduler": "celery.beat:Scheduler",
        "beat_max_loop_interval": 30,  # seconds; a clock that was set is noticed so soon
    }


def broker_url(settings: Settings) -> str:
    """The broker's URL; ConfigurationError when none is set or it is not a Redis."""
    given = settings.broker_url.get_secret_value() if settings.broker_url else ""
    if not given.startswith(_SCHEMES):
        wrong = "is not the URL of a Redis" if given else "is not set"
        raise ConfigurationError(
            f"AUDIENCE_SYNC_BROKER_URL {wrong}; write one such as redis://127.0.0.1:6379/0, "
            "or use `audience-sync sync`, which needs no broker"
        )
    return given
