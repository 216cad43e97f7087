"""A destination ready to be used: its connector, bound to a client that records what it sends."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from audience_sync.connector import Connector
from audience_sync.delivery.exchange import Exchange


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One destination; `project` and `purpose` go into its lists' names and the transfer log."""

    destination: str
    connector: Connector[Any] = field(repr=False)
    recording: Callable[[], AbstractContextManager[Exchange]] = field(repr=False)
    project: str
    purpose: str
    account: str = ""  # whose lists are filled, where the connector tells
    close: Callable[[], None] = field(default=lambda: None, repr=False)  # its connections
    # How many of the wanted uploads may be made at a time for an audience, during a block.
    slots: Callable[[str, int], AbstractContextManager[int]] = field(
        default=lambda _audience, wanted: nullcontext(wanted), repr=False
    )

    def marker(self, audience: str) -> str:
        """Text in a remote list's description that says it is ours (L15).

        The brackets keep the marker of one list from standing inside that of another.
        """
        return f"[audience-sync:{self.project}/{audience}/{self.destination}]"
