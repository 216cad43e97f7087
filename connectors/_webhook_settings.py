"""What a destination behind a webhook says of itself: who receives, in which words, how much."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    field_validator,
    model_validator,
)

from audience_sync.connector import ConnectorSettings, Country, Kind, SecretStr, known_forms
from connectors._webhook_answer import Reading
from connectors._webhook_body import BODY, Missing, Row, check_body, filled, row_of

ROWS = 1_000  # in one request, unless the settings say otherwise
BYTES = 1_000_000  # of one request, the same
MOST_ROWS_EACH = 10  # rows of one member
LONGEST_LIST = 128  # characters of a list's id
SHORTEST_SECRET = 16  # characters
NO_CONTENT = 204  # HTTP

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:/-]{1,64}$")]
Header = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$")]
Status = Annotated[int, Field(ge=200, le=299)]

_OURS = {"host", "content-type", "content-length", "user-agent", "accept"}


class Operations(BaseModel):
    """What the endpoint calls the operations; none for one that it does not want to hear of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    check: Name | None = "check"
    create: Name | None = "create"
    add: Name = "add"
    remove: Name = "remove"


class WebhookSettings(ConnectorSettings):
    """A destination behind an endpoint; `base_url` is the whole address that is posted to."""

    recipient_name: str = Field(min_length=1)  # the controller, for the transfer log
    recipient_country: Country
    minimum_audience: int = Field(ge=0)
    identifiers: dict[Kind, str] = Field(min_length=1)  # the form that each kind is wanted in
    secret: SecretStr  # signs each request
    headers: dict[Header, SecretStr] = Field(default_factory=dict)
    signature_header: Header = "X-Audience-Sync-Signature"
    idempotency_header: Header = "Idempotency-Key"
    operations: Operations = Operations()
    body: dict[str, JsonValue] = Field(default_factory=lambda: dict(BODY))
    member: dict[str, JsonValue] | list[JsonValue] | str | None = None  # default: kind → value
    missing: Missing = "omit"  # what stands for a kind that a member does not have
    members_per_request: int = Field(ROWS, ge=MOST_ROWS_EACH, le=100_000)
    bytes_per_request: int = Field(BYTES, ge=1, le=100_000_000)
    requests_per_minute: int | None = Field(None, ge=1)
    parallel_uploads: int = Field(1, ge=1, le=32)
    success: tuple[Status, ...] = Field((200, 201, 202, NO_CONTENT), min_length=1)
    answer: Reading = Reading()

    @field_validator("base_url")
    @classmethod
    def _private(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.username is not None or parts.password is not None or parts.fragment:
            raise ValueError("write the address without a password or #; secrets go into headers")
        if not parts.hostname or (parts.scheme, _is_here(parts.hostname)) not in _ALLOWED:
            raise ValueError("write an https:// address; http:// only reaches this machine")
        return value

    @field_validator("identifiers")
    @classmethod
    def _known(cls, value: dict[Kind, str]) -> dict[Kind, str]:
        for kind, form in value.items():
            if form not in known_forms(kind):
                known = ", ".join(known_forms(kind))
                raise ValueError(f"{kind.value} cannot be written as {form}; choose one of {known}")
        return value

    @field_validator("secret")
    @classmethod
    def _long(cls, value: SecretStr) -> SecretStr:
        if len(value.get_secret_value()) < SHORTEST_SECRET:
            raise ValueError(f"a signing secret has at least {SHORTEST_SECRET} characters")
        return value

    @model_validator(mode="after")
    def _writable(self) -> Self:
        taken = [self.signature_header, self.idempotency_header, *self.headers]
        lower = [name.lower() for name in taken]
        if len(set(lower)) < len(lower) or _OURS & set(lower):
            raise ValueError("two of the headers have one name, or a name that is ours to write")
        check_body(self.body)
        row = self.row
        homeless = self.identifiers.keys() - {cell.kind for cell in row.cells}
        if homeless:
            raise ValueError(f"`member` has no place for {', '.join(sorted(homeless))}")
        if self.rows_with(list(Kind)) < MOST_ROWS_EACH:
            least = self._frame + MOST_ROWS_EACH * row.longest(list(Kind))
            raise ValueError(f"bytes_per_request is less than one person needs: at least {least}")
        return self

    @property
    def row(self) -> Row:
        """How one row is written."""
        return row_of(self.member, self.missing)

    def rows_with(self, kinds: Collection[Kind]) -> int:
        """How many rows of these kinds always fit into a request."""
        fitting = (self.bytes_per_request - self._frame) // self.row.longest(kinds)
        return min(self.members_per_request, fitting)

    @property
    def _frame(self) -> int:
        """Bytes of the longest body around its members."""
        return len(filled(self.body, _LONGEST, b""))


_LONGEST = {
    "operation": "x" * 64,
    "list": "x" * LONGEST_LIST,
    "title": "",  # stands only where there are no members
    "batch": "x" * 32,
    "count": 100_000,
    "ad_user_data": False,
    "ad_personalization": False,
}


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


_ALLOWED = {("https", False), ("https", True), ("http", True)}  # scheme, whether it is loopback
