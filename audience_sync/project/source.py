"""The sections of `audience-sync.yaml` that say where customers, decisions, orders are read from.

The descriptions are what an editor shows beside a key and what an error says about a missing one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, WithJsonSchema

from audience_sync.identifiers.kinds import Kind

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
        None,
        description="column that limits a decision to one partner, by its connector's name "
        "(meta, google); null means all",
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
        """Whether a database is read; a path, a glob or object storage is not one."""
        scheme, separator, _ = self.url.get_secret_value().partition("://")
        return bool(separator) and scheme.lower() not in FILE_SCHEMES


class OrderColumns(Section):
    """Our name: their column, in the order lines; one row is one line."""

    order_id: str = Field(description="column with the order's number")
    customer_id: str = Field(description="column with the key of `source.columns.customer_id`")
    ordered_at: str = Field(description="column with the time of the order")
    sku: str = Field(description="column with the article's number")
    amount: str = Field(
        description="column with the line's amount (price times quantity), without tax, shipping"
    )
    quantity: str | None = Field(None, description="column with whole numbers; without it, 1 each")
    name: str | None = Field(None, description="column with the article's name")
    currency: str | None = Field(None, description="column with ISO 4217 codes")
    status: str | None = Field(
        None, description="column with the line's state; see `taken_back` for the words that count"
    )
    click_id: str | None = Field(
        None, description="column with the click id that the partner's link brought"
    )
    landed_at: str | None = Field(None, description="column with the time of that click")
    customer_status: str | None = Field(None, description="column with new or existing")

    @property
    def mapped(self) -> dict[str, str]:
        """Our name → their column, without those that the source does not have."""
        return {name: column for name, column in self if column is not None}


class OrderLines(_Readable):
    """Where the orders are, and what their columns mean."""

    columns: OrderColumns = Field(description="our name: their column")
    amounts: Literal["major", "minor"] = Field(
        description="how amounts are written: major for 49.99, minor for 4999"
    )
    currency: str | None = Field(
        None, pattern="^[A-Z]{3}$", description="ISO 4217 code of lines without one of their own"
    )
    taken_back: tuple[str, ...] = Field(
        ("cancelled", "canceled", "returned", "refunded"),
        min_length=1,
        description="words of the status column, in small letters, that take a line back",
    )


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
