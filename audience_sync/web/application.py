"""The web application: withdrawals in, receipts out, and what supervisors ask."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from audience_sync.errors import AudienceSyncError
from audience_sync.project.webhooks import Platform
from audience_sync.web.answers import Refusal, answer, refused
from audience_sync.web.bodies import parsed
from audience_sync.web.desk import RETRY, Call, Desk
from audience_sync.web.generic import place_of, read_withdrawals
from audience_sync.web.guard import Guard
from audience_sync.web.platforms import Read, read_receipts
from audience_sync.web.senders import GENERIC, Web, asking, pace, proved

ACCEPTED = 202  # HTTP

_log = logging.getLogger(__name__)
_METHOD = {404: "there is nothing at this address", 405: "this address takes another method"}


def make_app(web: Web) -> FastAPI:
    """The application; it describes itself to nobody, and every answer is one JSON document."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(HTTPException, _no_such)
    app.add_exception_handler(AudienceSyncError, _away)
    app.add_middleware(Guard)
    _add_supervision(app, web)
    if web.webhooks.keys:
        _add_generic(app, web)
    for name, platform in web.webhooks.platforms.items():
        _add_platform(app, web, name, platform)
    _add_receipts(app, web)
    return app


def _add_supervision(app: FastAPI, web: Web) -> None:
    @app.get("/healthz")
    async def healthz() -> Response:
        return _told(await run_in_threadpool(web.healthy))

    @app.get("/readyz")
    async def readyz() -> Response:
        return _told(await run_in_threadpool(web.ready))


def _add_generic(app: FastAPI, web: Web) -> None:
    limits = web.webhooks

    @app.post("/v1/withdrawals")
    async def withdrawals(request: Request) -> Response:
        call = await proved(web, request, GENERIC, None)

        def read() -> Read:
            found = read_withdrawals(
                parsed(call.body), web.partners, limits.batch_limit, web.now(), limits.tolerance
            )
            return Read(found, places=[place_of(one, at) for at, one in enumerate(found)])

        return await _taken(web, call, read)


def _add_platform(app: FastAPI, web: Web, name: str, platform: Platform) -> None:
    limits = web.webhooks

    @app.post(f"/v1/{name}", name=name)
    async def receipts(request: Request) -> Response:
        call = await proved(web, request, name, platform)

        def read() -> Read:
            document = parsed(call.body)
            batch, ahead = limits.batch_limit, limits.tolerance
            return read_receipts(document, platform, name, batch, web.now(), ahead)

        return await _taken(web, call, read)


def _add_receipts(app: FastAPI, web: Web) -> None:
    @app.get("/v1/withdrawals/{receipt}")
    async def status(request: Request, receipt: str) -> Response:
        sources = asking(web, request)
        await pace(web, f"{sources[0]} status")
        found = await run_in_threadpool(web.desk.receipt, sources, receipt)
        if found is None:
            raise Refusal(404, "no-receipt", "there is no such receipt, or its time is over")
        return answer(found)


async def _taken(web: Web, call: Call, read: Callable[[], Read]) -> Response:
    try:
        found = await run_in_threadpool(read)
    except Refusal as refusal:
        await run_in_threadpool(web.desk.count, call.source, refusal.word)
        raise
    taken = await run_in_threadpool(_take, web.desk, call, found)
    headers = {"Location": f"/v1/withdrawals/{taken['receipt']}"}
    return answer(taken, ACCEPTED, headers)


def _take(desk: Desk, call: Call, found: Read) -> dict[str, Any]:
    for word, count in found.left_out.items():
        desk.count(call.source, word, count)
    return desk.take(call, found.requests, found.left_out, found.places)


def _told(well: bool) -> Response:
    return answer({"ok": well}, 200 if well else 503)


async def _refused(_request: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)  # noqa: S101 - it is registered for nothing else
    return refused(refusal)


async def _no_such(_request: Request, wrong: Exception) -> Response:
    status = getattr(wrong, "status_code", 400)
    return answer({"error": _METHOD.get(status, "this request is not understood")}, status)


async def _away(_request: Request, error: Exception) -> Response:
    _log.error("A request could not be answered: %s", error)
    return refused(
        Refusal(503, "away", "it is not sure that anything was taken; send it again", RETRY)
    )
