"""How the sections of a project file are read, whatever they say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from audience_sync.connector import Connector
from audience_sync.project.crosschecks import check_hashed, check_readable
from audience_sync.project.document import Findings, Place
from audience_sync.project.references import References
from audience_sync.project.sections import OrdersSection
from audience_sync.project.source import Decisions, Source
from audience_sync.project.values import is_name
from audience_sync.project.wording import report

Installed = Mapping[str, type[Connector[Any]]]
M = TypeVar("M", bound=BaseModel)

_NAME_RULE = (
    "a name has small letters, digits and hyphens, begins with a letter or digit, at most 64"
)


@dataclass(frozen=True)
class Entries:
    """The sections as they are written, and what they are held against."""

    tree: Mapping[str, Any]
    findings: Findings
    references: References
    connectors: Installed
    why: Callable[[str], str | None]  # what is wrong with a connector that is left out

    def validated(self, model: type[M], value: object, place: Place) -> M | None:
        """A value as its model has it; what is wrong with it is told."""
        try:
            return TypeAdapter(model).validate_python(value)
        except ValidationError as error:
            report(error, model, place, self.findings)
            return None

    def optional(self, key: str, model: type[M]) -> M | None:
        """A section that may be left out."""
        value = self.tree.get(key)
        if value is None:
            return None
        return self.validated(model, self.references.fill(value, (key,)), (key,))

    def readable(self, key: str, model: type[M]) -> M | None:
        """`source` or `decisions`: its URL may hold a password, by reference only."""
        written = self.tree.get(key)
        if not isinstance(written, dict):
            self.findings.add((key,), f"write {key}: with url: and columns: below it")
            return None
        values = dict(written)
        url = values.pop("url", None)
        filled = self.references.fill(values, (key,))
        if isinstance(url, str):
            url = self.references.url(url, (key, "url"))
        if url is not None:
            filled["url"] = url
        found = self.validated(model, filled, (key,))
        if isinstance(found, Source | Decisions | OrdersSection):
            check_readable(found, (key,), self.findings)
        if isinstance(found, Source):
            check_hashed(found, self.findings)
        return found

    def named(self, key: str) -> dict[str, Any]:
        """The entries of `destinations`, `audiences` or `canaries`."""
        entries = self.tree.get(key)
        if entries is None:
            return {}
        if not isinstance(entries, dict):
            self.findings.add((key,), "write a name of your own for each, and its keys below it")
            return {}
        for name in entries:
            if not is_name(name):
                self.findings.add((key, name), _NAME_RULE)
        return entries
