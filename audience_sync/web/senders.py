"""Who sends a request, and how fast: proved before anything of it is believed."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from audience_sync.delivery.board import Board, Rate
from audience_sync.project.webhooks import Platform, Webhooks
from audience_sync.web.answers import Refusal
from audience_sync.web.bodies import check_type, read_body
from audience_sync.web.desk import Call, Desk
from audience_sync.web.signatures import (
    SIGNATURE,
    UNAUTHORIZED,
    Signature,
    verify_authorization,
)

GENERIC = "withdrawals"
NAME = "Idempotency-Key"
LONGEST_NAME = 255  # characters
MINUTE = 60  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    """What the application needs: the desk, who may send, and how to look whether all is well."""

    desk: Desk
    webhooks: Webhooks
    partners: Collection[str]
    board: Board
    healthy: Callable[[], bool]
    ready: Callable[[], bool]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


async def proved(web: Web, request: Request, source: str, platform: Platform | None) -> Call:
    """The request's body, once it is sure who sent it; cheap refusals come first."""
    check_type(request)
    signature = _claimed(web, request, platform)
    name = request.headers.get(NAME)
    if name is not None and not 0 < len(name) <= LONGEST_NAME:
        raise Refusal(400, "not-understood", f"{NAME} has 1 to {LONGEST_NAME} characters")
    body = await read_body(request, web.webhooks.body_limit)
    keys = (web.webhooks if platform is None else platform).keys.values()
    proof = signature.verify(keys, body) if signature else None
    await pace(web, source)
    names = _names(name, body, platform)
    return Call(source=source, body=body, names=names, signature=proof)


def _names(key: str | None, body: bytes, platform: Platform | None) -> tuple[bytes, ...]:
    """What a request is known by when it comes again.

    The same receipt of a platform is the same decision only where it says when that was made;
    where it does not, somebody may have agreed and withdrawn again in the meantime.
    """
    if key is not None:
        return (b"key " + key.encode("utf-8", "surrogateescape"),)
    if platform is None:
        return ()
    return (b"body " + body,) if platform.at is not None else (secrets.token_bytes(),)


def _claimed(web: Web, request: Request, platform: Platform | None) -> Signature | None:
    """The signature to verify; None where an Authorization header has proved enough."""
    signed = request.headers.get(SIGNATURE)
    if platform is not None and platform.authorization and signed is None:
        verify_authorization(request.headers.get("authorization"), platform.authorization)
        return None
    return Signature.read(signed, web.now().timestamp(), web.webhooks.tolerance)


async def pace(web: Web, source: str) -> None:
    """A Refusal when a sender comes too fast; with Redis, all processes count together."""
    rate = Rate(web.webhooks.requests_per_minute, MINUTE)
    wait = await run_in_threadpool(web.board.take, f"web:{source}", [rate])
    if wait > 0:
        raise Refusal(429, "too-fast", "too many requests in a minute; wait", int(wait) + 1)


def asking(web: Web, request: Request) -> list[str]:
    """Who asks for a receipt: signed like a body, but over the path; one key may be of several."""
    signed = request.headers.get(SIGNATURE)
    senders: Sequence[tuple[str, Platform | Webhooks]] = [
        (GENERIC, web.webhooks),
        *web.webhooks.platforms.items(),
    ]
    found: list[str] = []
    refusal = Refusal(UNAUTHORIZED, "unsigned", "sign the request")
    for name, sender in senders:
        try:
            _prove_asking(web, request, signed, sender)
        except Refusal as refused:
            refusal = refused
        else:
            found.append(name)
    if not found:
        raise refusal
    return found


def _prove_asking(
    web: Web, request: Request, signed: str | None, sender: Platform | Webhooks
) -> None:
    if isinstance(sender, Platform) and sender.authorization and signed is None:
        verify_authorization(request.headers.get("authorization"), sender.authorization)
        return
    claimed = Signature.read(signed, web.now().timestamp(), web.webhooks.tolerance)
    claimed.verify(sender.keys.values(), request.url.path.encode())
