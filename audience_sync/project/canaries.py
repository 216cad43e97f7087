"""`canaries:` in the project file: accounts of the retailer's own that every list must move."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated

from pydantic import Field

from audience_sync.identifiers.kinds import Kind
from audience_sync.period import Period
from audience_sync.project.document import Findings
from audience_sync.project.source import Section
from audience_sync.project.values import Country, PeriodValue

CANARIES = "canaries"

_Value = Annotated[str, Field(min_length=1, max_length=320)]


class CanarySection(Section):
    """An account that the retailer owns and no customer has; it never prints its identifiers."""

    email: _Value | None = Field(None, repr=False, description="its e-mail address")
    phone: _Value | None = Field(None, repr=False, description="its phone number")
    idfa: _Value | None = Field(None, repr=False, description="its Apple advertising identifier")
    gaid: _Value | None = Field(None, repr=False, description="its Google advertising identifier")
    external_id: _Value | None = Field(
        None, repr=False, description="the id by which partners may know it"
    )
    country: Country | None = Field(
        None, description="region of its phone number; default: policy.default_country"
    )
    stays: PeriodValue = Field(
        Period(14, "day"),
        description="how long it stays on each list, and off it again, in turn",
        json_schema_extra={"default": "14 days"},
    )

    @property
    def values(self) -> Mapping[Kind, str]:
        """Its identifiers by kind."""
        found = {kind: getattr(self, kind.value) for kind in Kind}
        return {kind: value for kind, value in found.items() if value is not None}


def check_canaries(
    canaries: Mapping[str, CanarySection], mapped: Collection[Kind], findings: Findings
) -> None:
    """Each has an identifier of a kind that the customers have, and no two share one identifier."""
    seen: set[tuple[Kind, str]] = set()
    for name, canary in canaries.items():
        if not set(canary.values) & set(mapped):
            kinds = ", ".join(kind.value for kind in mapped)
            findings.add((CANARIES, name), f"give it an identifier that customers have: {kinds}")
        if not seen.isdisjoint(canary.values.items()):
            findings.add((CANARIES, name), "shares an identifier with another canary")
        seen |= set(canary.values.items())
