"""The sections of `audience-sync.yaml` as they are written: keys, defaults, what each means.

The descriptions are what an editor shows beside a key and what an error says about a missing one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    WithJsonSchema,
    field_validator,
)

from audience_sync.identifiers.kinds import Kind
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

PURPOSE = "advertising to consenting customers"
OWN_ORIGINS = ("account", "purchase", "membership", "newsletter", "customer_service")
FILE_SCHEMES = frozenset({"file", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "http", "https"})
FILE_SUFFIXES = (".parquet", ".csv", ".csv.gz", ".ndjson", ".ndjson.gz")

HashedKind = Literal["email", "phone", "idfa", "gaid", "external_id"]


class Section(BaseModel):
    """A part of the project file: frozen, and closed to keys that nobody knows."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Columns(Section):
    """Our name: their column. `None` means that the source does not have it."""

    customer_id: str = Field(description="column with the customer's own key, unique per row")
    email: str | None = Field(None, description="column with e-mail addresses")
    phone: str | None = Field(None, description="column with phone numbers, as people type them")
    idfa: str | None = Field(None, description="column with Apple's advertising identifier")
    gaid: str | None = Field(None, description="column with Google's advertising identifier")
    external_id: str | None = Field(
        None, description="column with the id by which partners may know the customer"
    )
    country: str | None = Field(
        None, description="column with ISO 3166 alpha-2 codes; the region of national phone numbers"
    )
    consent: str = Field(
        description="column with each customer's decision: true, false or null, or one of "
        "granted, denied, withdrawn, objected, unknown"
    )
    consent_at: str | None = Field(None, description="column with the time of that decision")
    account_status: str | None = Field(None, description="column with active or closed")
    last_activity_at: str | None = Field(
        None, description="column with the time of the last purchase or other activity"
    )
    birth_date: str | None = Field(None, description="column with dates of birth")
    origin: str | None = Field(None, description="column that says how the customer was collected")

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of identifier that the source maps, in the order of `Kind`."""
        return tuple(kind for kind in Kind if getattr(self, kind) is not None)

    @property
    def mapped(self) -> dict[str, str]:
        """Our name → their column, without those that the source does not have."""
        return {name: column for name, column in self if column is not None}


class DecisionColumns(Section):
    """Our name: their column, in the consent log; a column left out here has our name."""

    customer_id: str | None = Field(None, description="column with the customer's own key")
    decision: str | None = Field(
        None, description="column with granted, denied, withdrawn or objected"
    )
    decided_at: str | None = Field(None, description="column with the time of the decision")
    partner: str | None = Field(
        None, description="column that limits a decision to one destination; null means all"
    )
    channel: str | None = Field(None, description="column that says where it was said")

    @property
    def mapped(self) -> dict[str, str]:
        """Our name → their column, where the file names one; the others have our names."""
        return {name: column for name, column in self if column is not None}


class _Readable(Section):
    """What can be read: a database by `query` or `table`, or files."""

    url: Annotated[SecretStr, WithJsonSchema({"type": "string"})] = Field(
        description="SQLAlchemy URL, or a path or glob of .parquet .csv .csv.gz .ndjson files; "
        "a password in it only as ${ENVIRONMENT_VARIABLE}"
    )
    query: str | None = Field(None, description="SQL that gives one row per customer")
    table: str | None = Field(None, description="instead of `query`: the name of a table or view")

    @property
    def is_sql(self) -> bool:
        """Whether a database is read; files otherwise."""
        return is_sql_url(self.url.get_secret_value())


class Source(_Readable):
    """Where the customers are, and what their columns mean."""

    columns: Columns = Field(description="our name: their column")
    hashed: Mapping[HashedKind, str] = Field(
        default_factory=dict,
        description="kinds that the source holds as hashes already: the form they were made by",
    )

    def form_of(self, kind: Kind) -> str | None:
        """The form that the source's hashes of a kind were made by; None when it is raw."""
        return self.hashed.get(kind.value)


class Decisions(_Readable):
    """A consent log: one row per decision, any number per customer."""

    columns: DecisionColumns = Field(
        default_factory=DecisionColumns, description="our name: their column"
    )


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
    destinations: dict[str, Any] = Field(
        default_factory=dict, description="accounts at partners, by a name of your own"
    )
    audiences: dict[str, AudienceSection] = Field(
        default_factory=dict, description="groups of customers, by a name of your own"
    )


def is_sql_url(url: str) -> bool:
    """Whether a source's URL is a database's; a path, a glob or object storage is not."""
    scheme, separator, _ = url.partition("://")
    return bool(separator) and scheme.lower() not in FILE_SCHEMES
