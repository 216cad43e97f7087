"""What is answered: one document, one sentence where something is wrong, and never a value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import Response

SAFE = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Refusal(Exception):  # noqa: N818 - it is an answer, not a failure of ours
    """A request that is not taken: an HTTP status, a word to count it by, a sentence to answer.

    `wait` is after how many seconds it may come again.
    """

    def __init__(self, status: int, word: str, sentence: str, wait: int | None = None) -> None:
        super().__init__(status, word, sentence, wait)
        self.status = status
        self.word = word
        self.sentence = sentence
        self.wait = wait

    @property
    def headers(self) -> dict[str, str]:
        """What HTTP wants beside the status."""
        challenge = {"WWW-Authenticate": "AudienceSync"} if self.status == 401 else {}  # noqa: PLR2004 - HTTP's own number
        return challenge if self.wait is None else {"Retry-After": str(self.wait)} | challenge


def answer(
    document: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A JSON document; every answer has the headers that keep browsers and caches away."""
    body = orjson.dumps(document)
    return Response(body, status, dict(headers or {}), media_type="application/json")


def refused(refusal: Refusal) -> Response:
    """The answer that a refusal is."""
    return answer({"error": refusal.sentence}, refusal.status, refusal.headers)
