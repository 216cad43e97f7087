"""Snapchat's envelope, its refusals, and the plain text of a 401."""

from __future__ import annotations

import secrets
from typing import Any

from audience_sync.sandbox.world import Reply


class SnapchatError(Exception):
    """A refusal: its HTTP status, and Snapchat's own code."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(status, code, message)
        self.status, self.code, self.message = status, code, message

    def reply(self) -> Reply:
        """The answer that carries it."""
        content = {
            "request_status": "ERROR",
            "request_id": secrets.token_hex(12),
            "debug_message": self.message,
            "display_message": "We're sorry, but the requested resource is not available.",
            "error_code": self.code,
        }
        return Reply(status=self.status, content=content, outcome=self.code)


def wrong(message: str) -> SnapchatError:
    """A request that is not as it should be."""
    return SnapchatError(400, "E1001", message)


def missing() -> SnapchatError:
    """A segment or an ad account that is not there."""
    return SnapchatError(404, "E1004", "The requested resource could not be found")


def denied() -> SnapchatError:
    """An ad account that the token's user may not change."""
    return SnapchatError(403, "E3002", "Caller does not have permission")


def unauthorized() -> Reply:
    """A token that is not taken: text, and no JSON."""
    return Reply(status=401, content=b"unauthorized", content_type="text/plain", outcome="401")


def success(name: str, parts: list[Any]) -> dict[str, Any]:
    """What a success looks like; each part has a word of its own."""
    return {"request_status": "SUCCESS", "request_id": secrets.token_hex(12), name: parts}


def only(wanted: Any, *names: str) -> dict[str, Any]:
    """An object without keys that the endpoint does not have."""
    if not isinstance(wanted, dict):
        raise wrong("An object is needed")
    strange = sorted(set(wanted) - set(names))
    if strange:
        raise wrong(f"Unrecognized field {strange[0]}")
    return wanted
