"""A request's body, read no further than it may be long, and only when it says that it is JSON."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request

from audience_sync.web.answers import Refusal

TOO_LARGE = 413  # HTTP
PATIENCE = 30.0  # seconds for a body to arrive

_NO_JSON = "send JSON: Content-Type: application/json, in UTF-8 and not compressed"
_UNREADABLE = "the body is not JSON in UTF-8; nothing was taken"
_TWICE = "an object of the body has the same key twice; write each once; nothing was taken"


def check_type(request: Request) -> None:
    """A Refusal unless the body is said to be plain JSON."""
    kind, _, rest = request.headers.get("content-type", "").lower().partition(";")
    charset = rest.strip().removeprefix("charset=").strip('"')
    plain = request.headers.get("content-encoding", "identity").lower() == "identity"
    if kind.strip() != "application/json" or charset not in ("", "utf-8") or not plain:
        raise Refusal(415, "not-json", _NO_JSON)


async def read_body(request: Request, limit: int, patience: float = PATIENCE) -> bytes:
    """The body byte for byte; a Refusal as soon as it is too long, or too slow."""
    said = request.headers.get("content-length", "")
    if said.isdigit() and int(said) > limit:
        raise _too_large(limit)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(patience):
            async for part in request.stream():
                size += len(part)
                if size > limit:
                    raise _too_large(limit)
                parts.append(part)
    except TimeoutError:
        raise Refusal(408, "too-slow", "the body did not arrive in time; send it again") from None
    except ClientDisconnect:
        raise Refusal(400, "too-slow", "the body ended before its end") from None
    return b"".join(parts)


def parsed(body: bytes) -> Any:
    """The body's JSON; a Refusal that quotes nothing of it when it is none.

    A key that stands twice is refused: of two people only one would be taken.
    """
    try:
        document = orjson.loads(body)
        json.loads(body, object_pairs_hook=_refuse_twice)
    except (ValueError, RecursionError):
        raise Refusal(400, "not-json", _UNREADABLE) from None
    return document


def _refuse_twice(pairs: list[tuple[str, Any]]) -> None:
    """The values are orjson's; here only keys are looked at."""
    if len({key for key, _ in pairs}) < len(pairs):
        raise Refusal(400, "not-json", _TWICE)


def _too_large(limit: int) -> Refusal:
    return Refusal(TOO_LARGE, "too-large", f"the body is larger than {limit:,} bytes; send less")
