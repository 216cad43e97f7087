"""TikTok's envelope: HTTP 200 for nearly everything, with a code that says what happened."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Any

from audience_sync.sandbox.world import Reply

OK, PARTIAL = 0, 20001
PARAMETER, PERMISSION, VERSION, UNKNOWN = 40002, 40001, 40006, 40007
TOO_MANY, NOT_HASHED = 40011, 40062
BUSY, EXPIRED, NO_TOKEN, BAD_TOKEN, BAD_CODE = 40100, 40102, 40104, 40105, 40110
NOT_ALLOWED, CONFLICT, NO_ADVERTISER, NO_ROUTE = 40118, 40202, 40300, 40400
SIGNATURE, NO_FILE, EMPTY_FILE, LARGE_FILE = 40900, 40905, 40906, 40907
FILE_TYPE, FILE_KIND, FILE_EXPIRED = 40908, 40909, 40910
SERVER = 50000


class TikTokError(Exception):
    """A refusal, by its code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message)
        self.code, self.message = code, message

    def reply(self) -> Reply:
        """The answer that carries it."""
        return Reply(content=envelope(self.code, self.message, {}), outcome=str(self.code))


def envelope(code: int, message: str, found: Any) -> dict[str, Any]:
    """What every answer looks like."""
    return {
        "code": code,
        "message": message,
        "request_id": secrets.token_hex(16).upper(),
        "data": found,
    }


def wrong(message: str) -> TikTokError:
    """A parameter that is missing or not as it should be."""
    return TikTokError(PARAMETER, message)


def only(wanted: Iterable[str], *names: str) -> None:
    """Refuse a body with keys that the endpoint does not have."""
    strange = sorted(set(wanted) - set(names))
    if strange:
        raise wrong(f"{strange[0]}: Unknown field.")
