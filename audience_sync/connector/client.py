"""What a connector sees of the client that carries its requests."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from audience_sync.connector.answers import Answer
from audience_sync.oauth import Kept


class PartnerClient(Protocol):
    """The one seam through which every byte to a partner passes."""

    def request(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        content_type: str = "application/json",
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool = True,
        anonymous: bool = False,
    ) -> Answer:
        """Send a request and answer a success, or raise the error that `explain` found.

        `url` is absolute, or a path below the destination's `base_url`. Temporary errors are
        retried here, with the same bytes, unless `repeatable` is false. `Connector.headers` is
        added and `Connector.explain` asked on each attempt; `headers` win over it. An `anonymous`
        request, such as the one that fetches a token, carries only its own headers; so does one
        to another server than the destination's.
        """
        ...

    def kept(self, name: str) -> AbstractContextManager[Kept]:
        """A credential of this destination that its partner changes, such as a refresh token.

        Until the block ends no other thread or process holds one of this destination. Encrypted
        where it rests; see `audience_sync.oauth.Tokens` for the usual case.
        """
        ...
