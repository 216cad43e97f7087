"""Which identifiers of an audience fit which destination, and what to write when none does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from audience_sync.connector import Connector, ConnectorSettings
from audience_sync.identifiers.kinds import Kind
from audience_sync.project.document import Findings, Place
from audience_sync.project.forms import is_hashed_form
from audience_sync.project.model import Audience, Destination, DestinationUse
from audience_sync.project.sections import (
    AudienceSection,
)
from audience_sync.project.source import Source

Reached = Mapping[str, tuple[Destination, type[Connector[Any]]]]


def sendable_forms(connector: type[Connector[Any]], settings: ConnectorSettings) -> dict[Kind, str]:
    """The forms a destination can be sent: raw ones only where its settings allow them."""
    return {
        kind: form
        for kind, form in connector.sendable(settings).items()
        if settings.allow_unhashed_device_ids or is_hashed_form(form)
    }


def destination_uses(
    section: AudienceSection, place: Place, source: Source, reached: Reached, findings: Findings
) -> dict[str, DestinationUse]:
    """What the audience sends to each destination; kinds that fit nowhere become findings."""
    wanted = _wanted(section, place, source, findings)
    uses = {}
    for name, (destination, _) in reached.items():
        here = (*place, "destinations", name)
        forms = {kind: destination.forms[kind] for kind in wanted if kind in destination.forms}
        if not forms:
            findings.add(
                here,
                f"{name} can take none of this audience's identifiers: it takes "
                f"{_list(destination.forms)} and the audience has {_list(wanted)}",
            )
        for kind, form in forms.items():
            held = source.form_of(kind)
            if held not in (None, form):
                findings.add(here, _unfit(name, kind, form, str(held)))
        uses[name] = DestinationUse(remote_id=section.destinations[name].remote_id, forms=forms)
    if section.identifiers is not None and len(reached) == len(section.destinations):
        _taken_somewhere(wanted, place, reached, findings)
    return uses


def adopted_once(audiences: Mapping[str, Audience], findings: Findings) -> None:
    """Two audiences that adopt one list would take turns in emptying it."""
    owners: dict[tuple[str, str], str] = {}
    for audience in audiences.values():
        for name, use in audience.destinations.items():
            if use.remote_id is None:
                continue
            owner = owners.setdefault((name, use.remote_id), audience.name)
            if owner != audience.name:
                findings.add(
                    ("audiences", audience.name, "destinations", name, "remote_id"),
                    f"audience {owner} has this list already; a list belongs to one audience",
                )


def _wanted(
    section: AudienceSection, place: Place, source: Source, findings: Findings
) -> tuple[Kind, ...]:
    mapped = source.columns.kinds
    if section.identifiers is None:
        return mapped
    for at, kind in enumerate(section.identifiers):
        if kind not in mapped:
            findings.add(
                (*place, "identifiers", at),
                f"the source has no {kind}; map source.columns.{kind}: their_column",
            )
    return tuple(kind for kind in section.identifiers if kind in mapped)


def _unfit(destination: str, kind: Kind, form: str, held: str) -> str:
    """Hashes that the source holds cannot be written in another form."""
    return (
        f"{destination} takes {kind} as {form}, but the source holds hashes of {held}; "
        f"hash it as {form} in the source, give it raw, "
        f"or list the audience's identifiers without {kind}"
    )


def _taken_somewhere(
    wanted: tuple[Kind, ...], place: Place, reached: Reached, findings: Findings
) -> None:
    """A kind that the audience lists must reach at least one destination."""
    for kind in wanted:
        if any(kind in destination.forms for destination, _ in reached.values()):
            continue
        switched = {
            name: destination.settings.allow_unhashed_device_ids
            for name, (destination, connector) in reached.items()
            if kind in connector.forms
        }
        findings.add((*place, "identifiers"), _untaken(kind, switched))


def _untaken(kind: Kind, switched: Mapping[str, bool]) -> str:
    """Why a kind goes nowhere; `switched` tells who could take it, and whether unhashed."""
    if not switched:
        return f"none of the audience's destinations takes {kind}; take it out"
    if any(switched.values()):
        allowed = _list(name for name, permitted in switched.items() if permitted)
        return f"{allowed} lacks a setting that {kind} needs, such as its app id; set it there"
    return (
        f"{kind} leaves unhashed, which {_list(switched)} may not receive; write "
        f"allow_unhashed_device_ids: true there, or take {kind} out"
    )


def _list(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
