"""The small typed values of a project file: names, shares, periods, schedules, countries."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from croniter import croniter
from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from audience_sync.cron import next_due
from audience_sync.errors import ConfigurationError
from audience_sync.identifiers.countries import has_phones
from audience_sync.identifiers.kinds import Kind
from audience_sync.period import Period, parse_period

NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{0,63}$"
PERCENTAGE_PATTERN = r"^[0-9]+(\.[0-9]+)? ?%$"
CRON_FIELDS = 5

_PERCENTAGE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?%")


def is_name(text: object) -> bool:
    """Whether a text may name a project, an audience or a destination."""
    return isinstance(text, str) and re.fullmatch(NAME_PATTERN.strip("^$"), text) is not None


def _name(text: str) -> str:
    if not is_name(text):
        raise ValueError(
            "use small letters, digits and hyphens, begin with a letter or digit, at most 64"
        )
    return text


def _share(value: object) -> float:
    """Percent as written becomes a share: "30%" is 0.3."""
    found = _PERCENTAGE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError("write a percentage with its sign, such as 30%")
    return float(found[1]) / 100


def _part(share: float) -> float:
    if share > 1:
        raise ValueError("write at most 100%")
    return share


def _holdout(share: float) -> float:
    if share >= 1:
        raise ValueError("write less than 100%; a full holdout sends nobody")
    return share


def _or_off(value: object) -> object:
    return None if value == "off" else value


def _share_or_off(value: object) -> float | None:
    return None if value == "off" else _share(value)


def _part_or_off(value: object) -> float | None:
    share = _share_or_off(value)
    return None if share is None else _part(share)


def _schedule(text: str) -> str:
    if len(text.split()) != CRON_FIELDS or not croniter.is_valid(text):
        raise ValueError('write five cron fields in quotes, such as "0 3 * * *" for daily at 3')
    try:
        next_due(text, ZoneInfo("UTC"), datetime.now(UTC))
    except ConfigurationError:
        raise ValueError("is never due; name days that exist") from None
    return text


def _country(text: str) -> str:
    if not re.fullmatch(r"[A-Z]{2}", text):
        raise ValueError("write an ISO 3166 code of two capital letters, such as SE")
    if not has_phones(text):
        raise ValueError("no phone numbers of such a country are known; write a code such as SE")
    return text


def _kinds(value: object) -> object:
    """Tell of a wrong kind by its name; pydantic would only list what is right."""
    known = ", ".join(Kind)
    if not isinstance(value, list) or not value:
        raise ValueError(f"list at least one of {known}, such as [email, phone]")
    for kind in value:
        if not isinstance(kind, str) or kind not in set(Kind):
            raise ValueError(f"list kinds of identifier only: {known}")
    if len(set(value)) < len(value):
        raise ValueError("name each kind once")
    return value


def _zone(value: object) -> object:
    try:
        return ZoneInfo(value) if isinstance(value, str) else value
    except (ValueError, OSError, KeyError):
        raise ValueError("write an IANA time zone, such as Europe/Stockholm") from None


_PERCENT_SCHEMA = {"type": "string", "pattern": PERCENTAGE_PATTERN}
_OFF_SCHEMA = {"const": "off"}

Name = Annotated[str, AfterValidator(_name), Field(json_schema_extra={"pattern": NAME_PATTERN})]
PeriodValue = Annotated[
    Period,
    BeforeValidator(parse_period),
    WithJsonSchema({"type": "string", "pattern": "^[1-9][0-9]* +(day|week|month|year)s?$"}),
]
PartOrOff = Annotated[
    float | None,
    BeforeValidator(_part_or_off),
    WithJsonSchema({"anyOf": [_PERCENT_SCHEMA, _OFF_SCHEMA]}),
]
ShareOrOff = Annotated[
    float | None,
    BeforeValidator(_share_or_off),
    WithJsonSchema({"anyOf": [_PERCENT_SCHEMA, _OFF_SCHEMA]}),
]
CountOrOff = Annotated[
    Annotated[int, Field(strict=True, ge=0)] | None,
    BeforeValidator(_or_off),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, _OFF_SCHEMA]}),
]
Holdout = Annotated[
    float,
    AfterValidator(_holdout),
    BeforeValidator(_share),
    WithJsonSchema(_PERCENT_SCHEMA),
]
Schedule = Annotated[str, AfterValidator(_schedule)]
Country = Annotated[
    str, AfterValidator(_country), Field(json_schema_extra={"pattern": "^[A-Z]{2}$"})
]
Kinds = Annotated[
    tuple[Kind, ...],
    BeforeValidator(_kinds),
    WithJsonSchema(
        {
            "type": "array",
            "items": {"enum": [str(kind) for kind in Kind]},
            "minItems": 1,
            "uniqueItems": True,
        }
    ),
]
Zone = Annotated[ZoneInfo, BeforeValidator(_zone), WithJsonSchema({"type": "string"})]
