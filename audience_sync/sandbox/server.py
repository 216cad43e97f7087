"""The sandbox's HTTP server: every partner below a path of its own, and `/_control`."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from audience_sync.errors import ConfigurationError
from audience_sync.sandbox.control import control_routes
from audience_sync.sandbox.faults import Fault
from audience_sync.sandbox.google import GoogleSandbox
from audience_sync.sandbox.meta import MetaSandbox
from audience_sync.sandbox.options import SandboxOptions
from audience_sync.sandbox.pinterest import PinterestSandbox
from audience_sync.sandbox.rakuten import RakutenSandbox
from audience_sync.sandbox.snapchat import SnapchatSandbox
from audience_sync.sandbox.tiktok import TikTokSandbox
from audience_sync.sandbox.webhook import WebhookSandbox
from audience_sync.sandbox.world import Call, Partner, Reply, World
from audience_sync.sandbox.x import XSandbox

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
STEP = 0.05  # seconds between looks at a connection that is kept waiting
GARBAGE_THRESHOLD = 50_000  # objects; a batch makes tens of thousands that soon go again

_SEND = "audience_sync.send"
_BEFORE = {"rate-limit", "5xx", "conflict", "expired-token", "terms-not-accepted"}
_PAGE = (
    b"<!DOCTYPE html><html><head><title>503</title></head><body>Service Unavailable</body></html>"
)


class SandboxApp(Starlette):
    """A Starlette that lets a fault reach the connection itself, to close it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        scope[_SEND] = send
        await super().__call__(scope, receive, send)


@dataclass(frozen=True, slots=True)
class RunningSandbox:
    """A sandbox that serves in a thread of this process."""

    url: str
    app: SandboxApp
    world: World


def build_app(options: SandboxOptions | None = None) -> SandboxApp:
    """The sandbox as an ASGI application, with fresh partners."""
    world = World(options or SandboxOptions())
    partners: dict[str, Partner] = {}

    def reset() -> None:
        partners.update(
            meta=MetaSandbox(world),
            google=GoogleSandbox(world),
            tiktok=TikTokSandbox(world),
            snapchat=SnapchatSandbox(world),
            webhook=WebhookSandbox(world),
            rakuten=RakutenSandbox(world),
        )
        partners.update(pinterest=PinterestSandbox(world), x=XSandbox(world))

    reset()
    routes = [_partner_route(world, partners, name) for name in partners]
    app = SandboxApp(routes=[*routes, *control_routes(world, partners, reset)])
    app.state.world, app.state.partners = world, partners
    return app


def run(
    host: str = "127.0.0.1",
    port: int = 8600,
    options: SandboxOptions | None = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until Ctrl-C, in a process of its own; `ready` is told the URL (port 0: a free one)."""
    listener = _listen(host, port)
    gc.set_threshold(GARBAGE_THRESHOLD, 20, 100)
    server = uvicorn.Server(_configuration(build_app(options), host, port))
    if ready is not None:
        ready(_url(listener))
    with contextlib.suppress(KeyboardInterrupt):
        server.run([listener])


@contextmanager
def running_sandbox(
    host: str = "127.0.0.1", port: int = 0, **options: Any
) -> Iterator[RunningSandbox]:
    """A sandbox on a free port, in a thread, for as long as the block runs."""
    app = build_app(SandboxOptions(**options))
    listener = _listen(host, port)
    server = uvicorn.Server(_configuration(app, host, port))
    thread = threading.Thread(target=server.run, args=([listener],), name="sandbox", daemon=True)
    thread.start()
    try:
        yield RunningSandbox(_url(listener), app, app.state.world)
    finally:
        app.state.world.closing = True
        server.should_exit = True
        thread.join()
        listener.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port))
    except OSError:
        raise ConfigurationError(f"port {port} on {host} cannot be used; choose another") from None


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{host}:{port}"


def _configuration(app: SandboxApp, host: str, port: int) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level="critical",
        proxy_headers=False,
        timeout_graceful_shutdown=2,
    )


def _partner_route(world: World, partners: dict[str, Partner], name: str) -> Route:
    async def serve(request: Request) -> Response:
        return await _serve(world, partners[name], request)

    return Route(f"/{name}/{{path:path}}", serve, methods=METHODS)


async def _serve(world: World, partner: Partner, request: Request) -> Response:
    body = await request.body()
    call = Call(
        method=request.method,
        path=request.path_params["path"],
        query=dict(request.query_params),
        headers=dict(request.headers),
        body=body,
        body_sha256=hashlib.sha256(body).hexdigest(),
        base=f"{request.url.scheme}://{request.url.netloc}/{partner.name}",
    )
    operation = partner.operation(call)
    fault = world.faults.take(partner.name, operation)
    if world.latency:
        await asyncio.sleep(world.latency)
    reply, sent = await _meet(world, partner, call, fault, request)
    _write_journal(world, partner, call, operation, reply, fault)
    if not sent:
        return _Nothing()
    return Response(
        reply.body(), status_code=reply.status, headers=reply.headers, media_type=reply.content_type
    )


async def _meet(
    world: World, partner: Partner, call: Call, fault: Fault | None, request: Request
) -> tuple[Reply, bool]:
    """The reply of the partner or of the fault, and whether it is sent at all."""
    kind = fault.kind if fault is not None else None
    if kind in ("timeout", "hang") and fault is not None:
        await _wait(world, request, fault.seconds if kind == "timeout" else None)
    if kind in ("hang", "drop"):
        return Reply(outcome=str(kind)), False
    if fault is not None and kind in _BEFORE:
        return partner.refuse(call, fault), True
    if fault is not None and kind in _BROKEN:
        return _BROKEN[fault.kind](fault), True
    reply = partner.answer(call, fault)
    if fault is None or kind != "fail-after-change":
        return reply, True
    if fault.then == "drop":
        return reply, False
    return partner.refuse(call, fault), True


def _half(_: Fault) -> Reply:
    return Reply(content=b'{"requestId": "126365e1-16d0-4c81', outcome="half-json")


def _huge(fault: Fault) -> Reply:
    return Reply(content=b'{"filler":"' + b"x" * fault.bytes + b'"}', outcome="huge")


def _html(fault: Fault) -> Reply:
    return Reply(
        status=fault.status or 503, content=_PAGE, content_type="text/html", outcome="html"
    )


def _empty(fault: Fault) -> Reply:
    return Reply(status=fault.status or 200, content=b"", outcome="empty")


_BROKEN = {"half-json": _half, "huge": _huge, "html": _html, "empty": _empty}


async def _wait(world: World, request: Request, seconds: float | None) -> None:
    """Wait some seconds, or for ever; a client that has gone, or the end, cuts it short."""
    loop = asyncio.get_running_loop()
    end = None if seconds is None else loop.time() + seconds
    while not world.closing and not await request.is_disconnected():
        left = STEP if end is None else min(STEP, end - loop.time())
        if left <= 0:
            return
        await asyncio.sleep(left)


class _Nothing(Response):
    """No answer at all: the connection is closed as a broken network does it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's own signature
        """Close the connection and wait until the server knows."""
        transport = getattr(getattr(scope[_SEND], "__self__", None), "transport", None)
        if transport is not None:
            transport.abort()
            await receive()  # answers "http.disconnect"


def _write_journal(
    world: World, partner: Partner, call: Call, operation: str, reply: Reply, fault: Fault | None
) -> None:
    world.journal.append(
        {
            "time": world.clock.iso(),
            "partner": partner.name,
            "method": call.method,
            "path": call.path,
            "operation": operation,
            "account": reply.account,
            "list": reply.list_id,
            "rows": reply.rows,
            "bytes": len(call.body),
            "body_sha256": call.body_sha256,
            "status": reply.status,
            "outcome": reply.outcome,
            "fault": fault.kind if fault else None,
        }
    )
