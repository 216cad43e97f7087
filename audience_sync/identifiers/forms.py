"""The forms that identifiers are written in: named, versioned, and proved by published vectors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType
from typing import Any

from audience_sync.errors import ConfigurationError
from audience_sync.identifiers.kinds import DEVICE_WIDTH, DIGEST_WIDTH, Kind

FAMILIES: Mapping[Kind, str] = MappingProxyType(
    {
        Kind.EMAIL: "email",
        Kind.PHONE: "phone",
        Kind.IDFA: "device",
        Kind.GAID: "device",
        Kind.EXTERNAL_ID: "external-id",
    }
)

# The form by which rows of one person are recognised, whatever partners want.
IDENTITY_FORMS: Mapping[Kind, str] = MappingProxyType(
    {
        Kind.EMAIL: "email/gmail-folded",
        Kind.PHONE: "phone/e164",
        Kind.IDFA: "device/lower",
        Kind.GAID: "device/lower",
        Kind.EXTERNAL_ID: "external-id/plain",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """An input and what a form makes of it; `text` is None when the form must drop it.

    `sha256` is None for a raw form too, which writes the text itself.
    """

    value: str
    country: str | None
    text: str | None
    sha256: str | None
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How the kinds of one family are written; a changed rule gets a new version."""

    name: str
    family: str
    version: int
    hashed: bool
    rule: str
    vectors: tuple[Vector, ...]

    @property
    def width(self) -> int:
        """Bytes of one identifier in this form."""
        return DIGEST_WIDTH if self.hashed else DEVICE_WIDTH

    @property
    def versioned(self) -> str:
        """The name as memberships store it, e.g. "email/plain@1"."""
        return f"{self.name}@{self.version}"

    def takes(self, kind: Kind) -> bool:
        """Whether identifiers of this kind can be written in this form."""
        return FAMILIES[kind] == self.family


def _read() -> Mapping[str, Form]:
    text = resources.files(__package__).joinpath("forms.json").read_text(encoding="utf-8")
    return MappingProxyType({f["name"]: _form(f) for f in json.loads(text)["forms"]})


def _form(entry: Mapping[str, Any]) -> Form:
    vectors = tuple(
        Vector(
            value=v["input"],
            country=v.get("country"),
            text=v["text"],
            sha256=v["sha256"],
            source=v["source"],
        )
        for v in entry["vectors"]
    )
    fields = {key: entry[key] for key in ("name", "family", "version", "hashed", "rule")}
    return Form(**fields, vectors=vectors)


FORMS: Mapping[str, Form] = _read()


def form(name: str) -> Form:
    """The form of this name; an unknown one is a ConfigurationError that lists the known."""
    if name not in FORMS:
        known = ", ".join(sorted(FORMS))
        raise ConfigurationError(f"there is no form {name!r}; choose one of {known}")
    return FORMS[name]


def form_for(kind: Kind, name: str) -> Form:
    """The form of this name, which must fit the kind."""
    found = form(name)
    if not found.takes(kind):
        fitting = ", ".join(sorted(f.name for f in FORMS.values() if f.takes(kind)))
        raise ConfigurationError(
            f"{kind.value} cannot be written as {name}; choose one of {fitting}"
        )
    return found


def versioned(name: str) -> str:
    """The name with its version, e.g. "email/plain@1", as stored with a membership (L14)."""
    return form(name).versioned
