"""`audience-sync serve`: the web application in a process of its own, until it is told to stop."""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import uvicorn
from fastapi import FastAPI

from audience_sync.app import App
from audience_sync.delivery.redis_board import board_at
from audience_sync.errors import ConfigurationError
from audience_sync.project.webhooks import Webhooks
from audience_sync.readiness import readiness
from audience_sync.runs.withdrawal_requests import Reception
from audience_sync.web.application import make_app
from audience_sync.web.desk import Desk, intake_key
from audience_sync.web.lane import Deliver, Lane
from audience_sync.web.progress import progress_of
from audience_sync.web.senders import GENERIC, Web

MOST_AT_ONCE = 64  # requests; more are told to come again, so that memory has a bound
LONGEST_HEAD = 32_768  # bytes of a request's line and headers
GRACE = 30  # seconds for requests under way when the process is to end
LOOK_EVERY = 10.0  # seconds; whoever asks more often is told what was found last
TIDY_EVERY = 3600.0  # seconds

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Serving:
    """A web application that is ready to be served, and the thread that delivers beside it."""

    app: FastAPI
    lane: Lane
    addresses: tuple[str, ...]


def serving_of(app: App, reception: Reception, deliver: Deliver) -> Serving:
    """The web application of a project; ConfigurationError when nobody may send anything.

    `deliver` brings what was received on its way, as `Lane` calls it.
    """
    section = _section(app)
    url = app.settings.broker_url
    tidy = _seldom(lambda: app.ledger.forget_intake(app.now()), TIDY_EVERY)

    def deliver_and_tidy() -> float | None:
        tidy()
        return deliver()

    lane = Lane(deliver_and_tidy)
    desk = Desk(
        ledger=app.ledger,
        keys=[intake_key(key) for key in app.fingerprint_keys],
        reception=reception,
        progress=lambda ids: progress_of(app.ledger, ids),
        wake=lane.wake,
        remember=section.remember,
        now=app.now,
    )
    web = Web(
        desk=desk,
        webhooks=section,
        partners={found.connector for found in app.project.destinations.values()},
        board=board_at(url.get_secret_value() if url else None),
        healthy=lambda: lane.alive,
        ready=_seldom(lambda: all(look.error is None for look in readiness(app.settings))),
        now=app.now,
    )
    names = [*([GENERIC] if section.keys else []), *section.platforms]
    return Serving(make_app(web), lane, tuple(f"/v1/{name}" for name in names))


def serve(serving: Serving, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C; requests and the delivery under way come to their end.

    `ready` is told the URL; port 0 takes a free one.
    """
    with _listening(host, port) as listener:
        _warn_of_strangers(host)
        server = uvicorn.Server(configuration(serving.app))
        # Before uvicorn listens itself; it raises the signal again when all is done.
        signal.signal(signal.SIGTERM, lambda *_: setattr(server, "should_exit", True))
        serving.lane.start()
        ready(_url(listener))
        try:
            with contextlib.suppress(KeyboardInterrupt):
                server.run([listener])
        finally:
            serving.lane.end()


def configuration(app: FastAPI) -> uvicorn.Config:
    """How uvicorn serves: no banner, no log of its own about requests, bounds for everything."""
    return uvicorn.Config(
        app,
        http="h11",  # unlike httptools, it bounds the length of a request's head
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        limit_concurrency=MOST_AT_ONCE,
        h11_max_incomplete_event_size=LONGEST_HEAD,
        timeout_graceful_shutdown=GRACE,
    )


def _section(app: App) -> Webhooks:
    if app.project.webhooks is None:
        raise ConfigurationError(
            f"nobody may send withdrawals yet: write webhooks: with keys: into "
            f"{app.project.path.name}; docs/web.md shows how"
        )
    if app.project.webhooks_lack:
        raise ConfigurationError(app.project.webhooks_lack)
    return app.project.webhooks


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    try:
        listener = socket.create_server((host, port))
    except (OSError, OverflowError):
        raise ConfigurationError(f"port {port} on {host} cannot be used; choose another") from None
    with listener:
        yield listener


def _warn_of_strangers(host: str) -> None:
    try:
        near = ip_address(host).is_loopback
    except ValueError:
        near = host == "localhost"
    if not near:
        _log.warning(
            "Others can reach %s by plain HTTP: let a proxy with TLS stand before it", host
        )


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{host}:{port}"


def _seldom(look: Callable[[], Any], every: float = LOOK_EVERY) -> Callable[[], Any]:
    """The same look, taken at most so often; between two, what the last one found."""
    last: list[Any] = []

    def seldom() -> Any:
        if not last or time.monotonic() - last[0] >= every:
            last[:] = [time.monotonic(), look()]
        return last[1]

    return seldom
