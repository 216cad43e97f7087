"""What a connector declares: its settings, who receives, how much at a time, which forms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from audience_sync.identifiers.countries import ALIASES, COUNTRIES
from audience_sync.identifiers.kinds import Kind


class ConnectorSettings(BaseModel):
    """What a destination sets for its connector in the project file; subclass it.

    A field that holds a secret is a `SecretStr`; the project file then takes it by reference only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str
    allow_unhashed_device_ids: bool = False


def _country(code: str) -> str:
    if code in COUNTRIES:
        return code
    if code in ALIASES:
        raise ValueError(f"write {ALIASES[code]}, as ISO 3166 does")
    raise ValueError("is no ISO 3166 country such as IE; correct it")


# Of a setting that says in which country the recipient is.
Country = Annotated[
    str, AfterValidator(_country), Field(json_schema_extra={"pattern": "^[A-Z]{2}$"})
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """The controller that receives the members, as the transfer log names it."""

    name: str
    country: str  # ISO 3166 alpha-2


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one request may hold and how many may run.

    A full batch must fit into `bytes_per_request`, whatever identifiers its members have: the
    contract proves it, and the client sends no larger body.
    """

    members_per_request: int  # further identifiers of one kind count as members
    bytes_per_request: int | None = None
    requests_per_second: int | None = None  # per account, as the two below; see `account`
    requests_per_minute: int | None = None
    requests_per_day: int | None = None
    parallel_uploads: int = 1  # per audience
    identifiers_per_member: int = 10  # more of one person's identifiers are left out
    batches_per_session: int = 100  # after so many batches a new session begins


def known_forms(kind: Kind) -> list[str]:
    """The names of the forms that a kind can be written in, for settings that choose one."""
    from audience_sync.identifiers.forms import FORMS  # noqa: PLC0415 - most plugins choose none

    return [name for name, form in FORMS.items() if form.takes(kind)]


def kept_for(days: int | None) -> str:
    """What `keeps` says of a partner whose members leave so long after they were last sent."""
    if days is None:
        return "members stay on a list until they are taken off"
    return f"members leave a list {days} days after they were last sent, at the latest"
