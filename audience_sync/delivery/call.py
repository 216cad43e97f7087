"""What a connector asks for, kept the same through as many attempts as it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from audience_sync.delivery.exchange import Exchange

USER_AGENT = "audience-sync"


@dataclass(kw_only=True)
class Call:
    """What a connector asks for: the same in each attempt, with credentials of its own each."""

    method: str
    address: str
    body: bytes | None = field(repr=False)
    params: Mapping[str, str] | None = field(repr=False)
    own: Mapping[str, str] = field(repr=False)  # headers that any partner gets
    headers: Mapping[str, str] = field(repr=False)
    trusted: bool  # goes to the partner itself, with credentials
    record: Exchange | None
    only_asks: bool  # whether it changes nothing at the partner
    rested: bool = False  # whether it has just slept as long as the partner asked all for

    def begins(self) -> None:
        """Another attempt is about to be sent; it must be permitted."""
        if self.record is not None:
            self.record.permit()
            self.record.attempts += 1
            self.record.sends(self.body)

    def ended(self, status: int | None, code: str | None) -> None:
        """Put the last answer on record."""
        if self.record is not None:
            self.record.status, self.record.code = status, code


def own_headers(body: bytes | None, content_type: str) -> dict[str, str]:
    """The headers that any partner gets with a request."""
    own = {"User-Agent": USER_AGENT, "Accept": "application/json"}
    return own if body is None else own | {"Content-Type": content_type}


def server_of(url: str) -> tuple[str, str]:
    """Scheme and server of an address; empty where it is none."""
    try:
        parts = urlsplit(url)
    except ValueError:  # the wire says so in the operator's words
        return "", ""
    return parts.scheme, parts.netloc.lower()
