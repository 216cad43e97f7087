"""Around every request: headers that keep answers safe, one line in the log, and no exception out.

The log names the address as the application knows it, since what was asked for may hold anything.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from audience_sync.errors import places
from audience_sync.web.answers import SAFE, answer

UNEXPECTED = 500  # HTTP
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_log = logging.getLogger(__name__)


class Guard:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; whatever goes wrong inside, it is answered in one sentence."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.monotonic()
        status = 0

        async def safely(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                added = [(name.lower().encode(), value.encode()) for name, value in SAFE.items()]
                message = {**message, "headers": [*message.get("headers", ()), *added]}
            await send(message)

        try:
            await self._app(scope, receive, safely)
        except Exception as error:  # noqa: BLE001 - a stranger's exception may quote the request
            _log.error("A request failed: %s at %s", type(error).__name__, places(error))
            if not status:
                sentence = {"error": "something unexpected happened here; nothing is promised"}
                await answer(sentence, UNEXPECTED)(scope, receive, safely)
        finally:
            _tell(scope, status, time.monotonic() - begun)


def _tell(scope: Scope, status: int, seconds: float) -> None:
    route: Any = scope.get("route")
    address = getattr(route, "path", "an unknown address")
    method = scope["method"] if scope["method"] in _METHODS else "another method"
    _log.info("%s %s answered %d in %.0f ms", method, address, status, seconds * 1000)
