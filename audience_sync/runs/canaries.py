"""Canaries: accounts of the retailer's own that take turns on every list.

On for some time, off for as long, again and again: so each is added, removed and, where an
audience's members expire, taken off by age, by the same steps as any customer. They are counted
apart, never among rows, members or what guards look at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import NamedTuple

from audience_sync.identifiers.kinds import Kind


class Turn(NamedTuple):
    """Whether a canary belongs on a list, and since when."""

    here: bool
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """One account; never prints its identifiers."""

    name: str
    values: Mapping[Kind, str] = field(repr=False)
    country: str | None
    stays: timedelta

    def turn(self, audience: str, at: datetime) -> Turn:
        """Where it belongs at a time; other audiences, and other canaries, have other turns."""
        span = int(self.stays.total_seconds())
        shift = int.from_bytes(sha256(f"{self.name}/{audience}".encode()).digest()[:6], "big")
        number, passed = divmod(int(at.timestamp()) + shift % (2 * span), span)
        return Turn(number % 2 == 0, at - timedelta(seconds=passed))
