"""The sections of `audience-sync.yaml` as they are written: keys, defaults, what each means.

The descriptions are what an editor shows beside a key and what an error says about a missing one.
"""

from __future__ import annotations

from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
)

from audience_sync.period import Period
from audience_sync.project.canaries import CanarySection
from audience_sync.project.privacy import (
    REPORT_THRESHOLD,
    Acknowledged,
    Approval,
    RecordsSection,
    Retention,
    Threshold,
)
from audience_sync.project.source import Decisions, OrderLines, Section, Source
from audience_sync.project.values import (
    CountOrOff,
    Country,
    Holdout,
    Kinds,
    Name,
    PartOrOff,
    PeriodValue,
    Schedule,
    ShareOrOff,
    Zone,
)
from audience_sync.project.webhooks import Webhooks
from audience_sync.project.withdrawals import WithdrawalsSection

PURPOSE = "advertising to consenting customers"
OWN_ORIGINS = ("account", "purchase", "membership", "newsletter", "customer_service")


class Policy(Section):
    """The rules that turn decisions and attributes into a verdict per customer."""

    consent_max_age: PeriodValue | None = Field(
        None, description="a granted decision older than this counts no more"
    )
    keep_after_last_activity: PeriodValue | None = Field(
        None, description="customers without activity for longer than this are left out"
    )
    minimum_age: Annotated[int, Field(strict=True, ge=0, le=150)] | None = Field(
        None, description="younger customers, and those of unknown age, are left out"
    )
    origins: tuple[str, ...] | None = Field(
        None,
        description="how a customer may have been collected; "
        f"when the source has an origin column, the default is {', '.join(OWN_ORIGINS)}",
    )
    default_country: Country | None = Field(
        None, description="region of national phone numbers whose row names no country"
    )


class Guards(Section):
    """Limits that hold a run for a person's approval; `None`, written `off`, is no limit."""

    minimum_members: CountOrOff = Field(100, description="fewer members hold the run, or off")
    maximum_removals: PartOrOff = Field(
        0.30, description="larger part of the members leaving at once holds the run, or off"
    )
    maximum_growth: ShareOrOff = Field(
        3.0, description="more members joining, in percent of those held, hold the run, or off"
    )
    maximum_source_drop: PartOrOff = Field(
        0.50, description="source rows missing since the last run hold the run, or off"
    )
    maximum_unusable: PartOrOff = Field(
        0.20, description="larger part of unusable identifiers holds the run, or off"
    )
    maximum_consent_drop: PartOrOff = Field(
        0.30,
        description="consent rate fallen by more than this since the last run holds it, or off",
    )

    def overridden_by(self, other: Guards | None) -> Guards:
        """These guards, with what `other` wrote instead."""
        written = {} if other is None else {key: getattr(other, key) for key in other.written}
        return self.model_copy(update=written)

    @property
    def written(self) -> set[str]:
        """The keys that the file names; the others are defaults."""
        return self.model_fields_set


class AdoptedList(Section):
    """How an audience uses a destination."""

    remote_id: str | None = Field(
        None, min_length=1, description="id of an existing list at the partner to take over, quoted"
    )


def _named(value: object) -> object:
    """`[meta-se]` is short for `{meta-se: {}}`."""
    if isinstance(value, list):
        if not all(isinstance(name, str) for name in value):
            raise ValueError("list names of destinations, such as [meta-se, google-se]")
        if len(set(value)) < len(value):
            raise ValueError("name each destination once")
        value = {name: {} for name in value}
    if not isinstance(value, dict) or not value:
        raise ValueError("name at least one destination, such as [meta-se]")
    return {name: {} if use is None else use for name, use in value.items()}


class AudienceSection(Section):
    """An audience as it is written."""

    title: str | None = Field(None, min_length=1, description="what people at the partner read")
    where: str | None = Field(
        None,
        min_length=1,
        description="a SQL predicate over the source's own columns; without it, every customer",
    )
    identifiers: Kinds | None = Field(
        None, description="kinds of identifier to send; default: all that the source maps"
    )
    destinations: Annotated[dict[str, AdoptedList], BeforeValidator(_named)] = Field(
        description="where it goes: [name, …], or {name: {remote_id: …}} to take over a list",
        json_schema_extra={
            "type": ["array", "object"],
            "items": {"type": "string"},
        },
    )
    schedule: Schedule | None = Field(
        None, description="cron in five fields, in `timezone`; without it, on demand only"
    )
    timezone: Zone | None = Field(None, description="IANA zone of `schedule`; default: the top's")
    holdout: Holdout | None = Field(
        None, description="part of the people who are never sent, stable per person, such as 5%"
    )
    expires_after: PeriodValue | None = Field(
        None, description="members are removed at the partner after this long"
    )
    guards: Guards | None = Field(None, description="limits of this audience alone")
    acknowledged: Acknowledged = Field(
        default_factory=dict,
        description="why a warning about this audience is none, such as "
        '{health: "gym shoes, no patients"}',
    )


class OrdersSection(OrderLines):
    """Orders as they are written: where they are, and which destinations are told of them."""

    destinations: tuple[str, ...] = Field(
        min_length=1, description="destinations whose partners take orders, such as [rakuten-se]"
    )
    window: PeriodValue = Field(
        Period(90, "day"),
        description="older orders are neither reported nor corrected, and what is known of them "
        "is forgotten",
        json_schema_extra={"default": "90 days"},
    )
    schedule: Schedule | None = Field(
        None, description="cron in five fields, in `timezone`; without it, on demand only"
    )
    timezone: Zone | None = Field(None, description="IANA zone of `schedule`; default: the top's")
    guards: Guards | None = Field(None, description="limits of order reports alone")


class ProjectHead(Section):
    """Whose project this is."""

    project: Name = Field(description="name of this project, in small letters and hyphens")
    controller: str = Field(
        description="the company responsible for the customers; appears in records"
    )
    purpose: str = Field(
        PURPOSE, description="why customers are shared; appears in the transfer log"
    )
    timezone: Zone = Field(ZoneInfo("UTC"), description="IANA zone of all schedules; default: UTC")
    report_threshold: Threshold = Field(
        REPORT_THRESHOLD,
        description="counts of people below this are shown as `fewer than`, or off",
    )

    @field_validator("controller", "purpose")
    @classmethod
    def _one_line(cls, text: str) -> str:
        if not text.strip() or not text.isprintable():
            raise ValueError("write one line of text")
        return text.strip()


class ProjectFile(ProjectHead):
    """The whole of audience-sync.yaml."""

    model_config = ConfigDict(title="audience-sync.yaml")

    source: Source = Field(description="where the customers are")
    decisions: Decisions | None = Field(None, description="a consent log, if there is one")
    policy: Policy = Field(default_factory=Policy, description="who may be shared at all")
    guards: Guards = Field(default_factory=Guards, description="limits that hold a run")
    approval: Approval = Field(default_factory=Approval, description="who sends held runs")
    retention: Retention = Field(default_factory=Retention, description="how long things are kept")
    records: RecordsSection = Field(
        default_factory=RecordsSection, description="for the record of processing activities"
    )
    orders: OrdersSection | None = Field(
        None, description="orders that partners are told of, where they came by their links"
    )
    webhooks: Webhooks | None = Field(
        None, description="who may send withdrawals by HTTP, to `audience-sync serve`"
    )
    withdrawals: WithdrawalsSection = Field(
        default_factory=WithdrawalsSection, description="how fast withdrawals reach partners"
    )
    destinations: dict[str, Any] = Field(
        default_factory=dict, description="accounts at partners, by a name of your own"
    )
    canaries: dict[str, CanarySection] = Field(
        default_factory=dict,
        description="accounts of your own, by a name of your own, that watch every list move",
    )
    audiences: dict[str, AudienceSection] = Field(
        default_factory=dict, description="groups of customers, by a name of your own"
    )
