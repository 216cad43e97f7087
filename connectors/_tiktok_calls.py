"""Calls of TikTok's Business API, and what an upload in parts amounts to."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from audience_sync.connector import (
    PartnerClient,
    Receipt,
    RefusedError,
    Rejection,
    TemporaryPartnerError,
)
from connectors._tiktok_words import PARTLY, REPEATED, is_too_much

LONGEST_REFERENCE = 1_000  # characters

Positions = NDArray[np.int64]


class Done(NamedTuple):
    """What a call gave back: its result and TikTok's name for the request."""

    result: dict[str, Any]
    request: str
    repeated: bool = False  # TikTok takes it for a copy of an earlier one


class Calls(NamedTuple):
    """The API as one advertiser sees it."""

    client: PartnerClient
    advertiser: str
    version: str

    def get(self, path: str, **params: str) -> dict[str, Any]:
        """The result of a question."""
        return _read(self.client.request("GET", self._url(path), params=params).json()).result

    def own(self, path: str, **params: str) -> dict[str, Any]:
        """The result of a question about the advertiser."""
        return self.get(path, advertiser_id=self.advertiser, **params)

    def post(
        self,
        path: str,
        body: bytes,
        *,
        repeatable: bool = True,
        content_type: str = "application/json",
    ) -> Done:
        """Change something."""
        return _read(
            self.client.request(
                "POST",
                self._url(path),
                body=body,
                content_type=content_type,
                repeatable=repeatable,
            ).json()
        )

    def written(self, **wanted: Any) -> bytes:
        """A body that names the advertiser."""
        return orjson.dumps({"advertiser_id": self.advertiser} | wanted)

    def _url(self, path: str) -> str:
        return f"open_api/{self.version}/{path}"


class Sending:
    """An upload in several requests: who was taken, who may have been, and TikTok's references."""

    def __init__(self, members: int) -> None:
        self._taken = np.zeros(members, dtype=np.bool_)
        self._unsure = np.zeros(members, dtype=np.bool_)
        self._doubts: list[str] = []  # TikTok's codes
        self._references: list[str] = []

    def send(self, parts: list[Positions], call: Callable[[Positions], Done]) -> None:
        """Send the parts one after the other, in halves where TikTok finds one too large.

        Where TikTok did only a part of a request, however often it was sent, its members are
        held perhaps. So they are where it takes the request for a copy: that may have been of a
        day before they were moved.
        """
        waiting = list(parts)
        while waiting:
            part = waiting.pop(0)
            self._taken[part] = True
            try:
                done = call(part)
                self._references.append(done.request)
                if done.repeated:
                    self._doubt(part, str(REPEATED))
            except RefusedError as error:
                if not is_too_much(error) or len(part) == 1:
                    raise
                waiting[:0] = np.array_split(part, 2)
            except TemporaryPartnerError as error:
                if error.code != PARTLY:
                    raise
                self._doubt(part, PARTLY)

    def receipt(self, reason: str | None = None) -> Receipt:
        """Every member once: in doubt where any of its requests was."""
        rejected = tuple(
            Rejection(position=at, reason="no_usable_identifier")
            for at in np.flatnonzero(~self._taken).tolist()
        )
        unsure = int(self._unsure.sum())
        return Receipt(
            accepted=len(self._taken) - len(rejected) - unsure,
            rejected=rejected,
            unattributed=unsure,
            reference=self._reference(),
            reason=self._doubts[0] if unsure else reason,
        )

    def _doubt(self, part: Positions, code: str) -> None:
        self._unsure[part] = True
        self._doubts.append(code)

    def _reference(self) -> str | None:
        joined = ",".join(filter(None, self._references))
        if len(joined) > LONGEST_REFERENCE:
            joined = joined[:LONGEST_REFERENCE].rpartition(",")[0]
        return joined or None


def _read(found: Any) -> Done:
    result = found.get("data") if isinstance(found, dict) else None
    request = str(found.get("request_id", "")) if isinstance(found, dict) else ""
    return Done(
        result if isinstance(result, dict) else {},
        request if re.fullmatch(r"[0-9A-Za-z-]{1,64}", request) else "",
        isinstance(found, dict) and found.get("code") == REPEATED,
    )
