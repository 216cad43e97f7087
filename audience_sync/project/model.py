"""A project that was read and found right: frozen values, every default filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from audience_sync.connector import ConnectorSettings
from audience_sync.identifiers.kinds import Kind
from audience_sync.period import Period
from audience_sync.project.canaries import CanarySection
from audience_sync.project.privacy import (
    REPORT_THRESHOLD,
    Acknowledged,
    Approval,
    RecordsSection,
    Retention,
)
from audience_sync.project.sections import (
    Guards,
    OrdersSection,
    Policy,
)
from audience_sync.project.source import Decisions, Source
from audience_sync.project.webhooks import Webhooks
from audience_sync.project.withdrawals import RemovalPolicy, WithdrawalsSection

_DOTTED = re.compile(r"\b(?:source|decisions|orders|policy|audiences)(?:\.[\w-]+)+")
ORDERS = "orders"  # stands for an audience's name where orders are reported


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A connector plus an account at that partner.

    `forms` are those it can be sent: without raw device IDs unless it explicitly allows them.
    `on_refused_removal` is None where it sets nothing of its own.
    """

    name: str
    connector: str
    settings: ConnectorSettings
    forms: Mapping[Kind, str]
    on_refused_removal: RemovalPolicy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationUse:
    """What one audience sends to one destination; `remote_id` names a list that it adopts."""

    remote_id: str | None
    forms: Mapping[Kind, str]

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of identifier that travel there."""
        return tuple(self.forms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Audience:
    """A named selection of customers and where it goes."""

    name: str
    title: str
    where: str | None
    identifiers: tuple[Kind, ...] | None  # as written; None means all that the source maps
    destinations: Mapping[str, DestinationUse]
    schedule: str | None
    timezone: ZoneInfo
    holdout: float
    expires_after: Period | None
    guards: Guards
    acknowledged: Acknowledged = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderReports:
    """The orders of the shop, and who is told of them."""

    lines: OrdersSection
    destinations: tuple[str, ...]
    window: timedelta
    schedule: str | None
    timezone: ZoneInfo
    guards: Guards
    name: str = ORDERS
    title: str = "Orders"


Scheduled = Audience | OrderReports  # what may have a schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """`audience-sync.yaml`, typed; relative paths in it became absolute ones."""

    path: Path
    name: str
    controller: str
    purpose: str
    timezone: ZoneInfo
    source: Source
    decisions: Decisions | None
    policy: Policy
    guards: Guards
    destinations: Mapping[str, Destination] = field(default_factory=dict)
    audiences: Mapping[str, Audience] = field(default_factory=dict)
    orders: OrderReports | None = None
    canaries: Mapping[str, CanarySection] = field(default_factory=dict)
    webhooks: Webhooks | None = None
    webhooks_lack: str = ""  # secrets that are absent or shared; nothing is served so
    approval: Approval = field(default_factory=Approval)
    retention: Retention = field(default_factory=Retention)
    records: RecordsSection = field(default_factory=RecordsSection)
    withdrawals: WithdrawalsSection = field(default_factory=WithdrawalsSection)
    report_threshold: int | None = REPORT_THRESHOLD  # None: every count is shown
    lines: Mapping[str, int] = field(default_factory=dict)  # of keys that only reading proves right

    def names(self, audience: str, destination: str) -> bool:
        """Whether an audience, or orders, go to a destination, as the project stands now."""
        if audience == ORDERS and self.orders is not None:
            return destination in self.orders.destinations
        found = self.audiences.get(audience)
        return found is not None and destination in found.destinations

    @property
    def scheduled(self) -> Mapping[str, Scheduled]:
        """All that may have a schedule, by name."""
        reports = {} if self.orders is None else {ORDERS: self.orders}
        return {**self.audiences, **reports}

    def adopted(self, audience: str, destination: str) -> str | None:
        """The remote list that an audience adopts at a destination, if any."""
        found = self.audiences.get(audience)
        used = found.destinations.get(destination) if found else None
        return used.remote_id if used else None

    def located(self, sentence: str) -> str:
        """The sentence, beginning with file and line where it names a key of the project file.

        Of several the longest counts; of one that is not written there, what it would stand below.
        """
        named = [key for word in _DOTTED.findall(sentence) for key in self._written(word)]
        if not named:
            return sentence
        return f"{self.path.name}:{self.lines[max(named, key=len)]}: {sentence}"

    def _written(self, key: str) -> list[str]:
        """The key as it stands in the file, else the nearest one above it; nothing of others."""
        steps = key.split(".")
        above = (".".join(steps[:length]) for length in range(len(steps), 0, -1))
        return [found for found in above if found in self.lines][:1]
