"""What a withdrawal says when it enters, by which rules it is read, and what is answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

import numpy as np
import polars as pl

from audience_sync.customers.description import SourceDescription
from audience_sync.customers.policy import microseconds
from audience_sync.errors import ConfigurationError
from audience_sync.identifiers.kinds import Kind
from audience_sync.runs.named import Times

UNLIMITED = ("", "all", "*")
GIVEN = ("customer_id", "email", "phone", "device", "country")
UNKNOWN_CHANNEL = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawalRequest:
    """What one person withdraws, by any of their identifiers; prints none of them.

    At least one identifier is there. `partner` is a connector's name, and None means all;
    `decided_at` None means now; a `device` may be of either kind. Of two requests with one
    `idempotency_key` the second is not taken in again.
    """

    customer_id: str | None = field(default=None, repr=False)
    email: str | None = field(default=None, repr=False)
    phone: str | None = field(default=None, repr=False)
    device: str | None = field(default=None, repr=False)
    country: str | None = field(default=None, repr=False)  # the region of a national phone number
    partner: str | None = None
    decided_at: datetime | None = None
    channel: str = UNKNOWN_CHANNEL
    idempotency_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What was taken in, durably: the ids of the withdrawals, and how many people they hold.

    `repeated` requests were known by their idempotency key; `withdrawals` names theirs too. Of
    whom a file says that they decided `earlier`, a grant lifts it that is later than that.
    `unusable` rows of a file hold no identifier that can be read: somebody should mend them.
    `unusable_rows` are the first of them, counted from one, a header left out; `uneven` ones are
    not as long as the header. `timeless` rows were taken in as decided now, since what they say of
    the time cannot be read; `timeless_rows` are the first of them. `unplaced` rows name a
    country that nobody knows, so that their phone was left out; `unplaced_rows` are the first.
    """

    withdrawals: tuple[str, ...]
    people: int
    repeated: int = 0
    earlier: int = 0
    unusable: int = 0
    unusable_rows: tuple[int, ...] = ()
    uneven: int = 0
    timeless: int = 0
    timeless_rows: tuple[int, ...] = ()
    unplaced: int = 0
    unplaced_rows: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How the project reads identifiers, and where a withdrawal has to go.

    `places` are the destinations by name with the connector of each, or None where the project no
    longer has it; `raw` says whether any may be sent raw device IDs.
    """

    source: SourceDescription
    default_country: str | None
    hashed: Mapping[Kind, str]
    partners: frozenset[str]
    places: Callable[[], Mapping[str, str | None]]
    raw: bool

    def partner(self, name: str | None) -> str | None:
        """The connector's name as we write it; a ConfigurationError when nobody knows it."""
        wanted = (name or "").strip().lower()
        if wanted in UNLIMITED:
            return None
        known = {partner.lower(): partner for partner in self.partners}
        if wanted not in known:
            raise ConfigurationError(
                f"a withdrawal names a partner that nobody knows; there are "
                f"{', '.join(sorted(self.partners))}"
            )
        return known[wanted]


class UnusableError(ConfigurationError):
    """Requests hold no identifier that can be used; `places` counts them from zero."""

    def __init__(self, sentence: str, places: Sequence[int] = ()) -> None:
        super().__init__(sentence)
        self.places = tuple(places)


class Reception(Protocol):
    """Where withdrawals enter, as those who bring them see it; a `Recorder` is one."""

    def receive(self, requests: Sequence[WithdrawalRequest]) -> Received:
        """See `Recorder.receive`."""
        ...


def frame_of(requests: Sequence[WithdrawalRequest]) -> pl.DataFrame:
    """What requests name, a row each."""
    columns = {name: [getattr(one, name) for one in requests] for name in GIVEN}
    return pl.DataFrame(columns, schema=dict.fromkeys(GIVEN, pl.String))


def decision_times(requests: Sequence[WithdrawalRequest], now: datetime) -> Times:
    """When each was decided; a time ahead of ours is now, so that it outlasts no later grant."""
    moments = (one.decided_at or now for one in requests)
    aware = (at if at.tzinfo is not None else at.replace(tzinfo=UTC) for at in moments)
    return np.array([microseconds(min(at, now)) for at in aware], dtype=np.int64)


def times(frame: pl.DataFrame, now: datetime) -> Times:
    """The same of the rows of a file."""
    latest = microseconds(now)
    if "decided_at" not in frame.columns:
        return np.full(frame.height, latest, dtype=np.int64)
    at: Times = frame["decided_at"].fill_null(latest).clip(upper_bound=latest).to_numpy()
    return at
