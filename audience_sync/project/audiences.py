"""The sections `audiences` and `orders`: what is sent where, and when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from zoneinfo import ZoneInfo

from audience_sync.project.document import Place
from audience_sync.project.entries import Entries
from audience_sync.project.model import Audience, Destination, DestinationUse, OrderReports
from audience_sync.project.orders import check_orders, window_of
from audience_sync.project.sections import AudienceSection, Guards, OrdersSection
from audience_sync.project.source import Source
from audience_sync.project.uses import adopted_once, destination_uses
from audience_sync.project.wording import nearest


class Defaults(NamedTuple):
    """What an audience or a report of orders has when it says nothing else."""

    guards: Guards
    timezone: ZoneInfo


def read_audiences(
    entries: Entries,
    source: Source | None,
    defaults: Defaults,
    destinations: Mapping[str, Destination],
) -> dict[str, Audience]:
    """Each audience by its name, held against the source and the destinations that it names."""
    audiences: dict[str, Audience] = {}
    for name, entry in entries.named("audiences").items():
        place: Place = ("audiences", name)
        section = entries.validated(AudienceSection, entries.references.fill(entry, place), place)
        if section is None:
            continue
        _check_defined(entries, section, place)
        if source is not None:
            reached = {
                use: (destinations[use], entries.connectors[destinations[use].connector])
                for use in section.destinations
                if use in destinations
            }
            uses = destination_uses(section, place, source, reached, entries.findings)
            audiences[name] = _audience(name, section, uses, defaults)
    adopted_once(audiences, entries.findings)
    return audiences


def _check_defined(entries: Entries, section: AudienceSection, place: Place) -> None:
    written = entries.tree.get("destinations")
    defined = written.keys() if isinstance(written, dict) else frozenset()
    for name in section.destinations.keys() - defined:
        entries.findings.add(
            (*place, "destinations"),
            f"{name} is not defined under destinations; {nearest(name, defined)}",
        )


def _audience(
    name: str, section: AudienceSection, uses: Mapping[str, DestinationUse], defaults: Defaults
) -> Audience:
    return Audience(
        name=name,
        title=section.title or name,
        where=section.where,
        identifiers=section.identifiers,
        destinations=uses,
        schedule=section.schedule,
        timezone=section.timezone or defaults.timezone,
        holdout=section.holdout or 0.0,
        expires_after=section.expires_after,
        guards=defaults.guards.overridden_by(section.guards),
        acknowledged=section.acknowledged,
    )


def read_orders(
    entries: Entries,
    defaults: Defaults,
    destinations: Mapping[str, Destination],
    audiences: Mapping[str, Audience],
) -> OrderReports | None:
    """What is reported of orders, if the project says so."""
    if entries.tree.get("orders") is None:
        return None
    section = entries.readable("orders", OrdersSection)
    if section is None:
        return None
    check_orders(section, destinations, audiences, entries.connectors, entries.findings)
    return OrderReports(
        lines=section,
        destinations=section.destinations,
        window=window_of(section.window),
        schedule=section.schedule,
        timezone=section.timezone or defaults.timezone,
        guards=defaults.guards.overridden_by(section.guards),
    )
