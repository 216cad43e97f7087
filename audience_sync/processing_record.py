"""The record of processing activities (GDPR Art. 30), from the project file and the connectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from audience_sync.connector import Connector, Recipient
from audience_sync.identifiers.kinds import Kind
from audience_sync.project import Destination, Project
from audience_sync.project.forms import is_hashed_form

_EEA = frozenset(
    {
        "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI",
        "FR", "GR", "HR", "HU", "IE", "IS", "IT", "LI", "LT", "LU",
        "LV", "MT", "NL", "NO", "PL", "PT", "RO", "SE", "SI", "SK",
    }
)  # fmt: skip
_DATA = {
    Kind.EMAIL: "e-mail addresses",
    Kind.PHONE: "phone numbers",
    Kind.IDFA: "advertising ids of Apple devices",
    Kind.GAID: "advertising ids of Android devices",
    Kind.EXTERNAL_ID: "customer numbers",
}
_SECURITY = (
    "identifiers hashed before they leave, unhashed ones only where allowed by name; TLS; state "
    "encrypted at rest (AES-256-GCM); no identifier in logs, messages or reports; guards and "
    "approval before unusual transfers; an append-only, signed log of every transfer"
)

Installed = Mapping[str, type[Connector[Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What Art. 30 asks, for one destination; what nobody has written down says so."""

    destination: str
    controller: str
    contact: str
    protection_officer: str
    recipient: str
    country: str
    purpose: str
    audiences: tuple[str, ...]
    data_subjects: str
    data: tuple[str, ...]
    legal_basis: str
    outside_eea: str
    retention: tuple[str, ...]
    security: str


def activities(project: Project, connectors: Installed) -> list[Activity]:
    """One activity a destination, in the project's order."""
    return [_activity(project, connectors, found) for found in project.destinations.values()]


def _activity(project: Project, connectors: Installed, destination: Destination) -> Activity:
    records, name = project.records, destination.name
    connector = connectors[destination.connector]
    recipient = connector.recipient_of(destination.settings)
    return Activity(
        destination=name,
        controller=project.controller,
        contact=records.contact or _missing("contact"),
        protection_officer=records.protection_officer or _missing("protection_officer"),
        recipient=recipient.name,
        country=recipient.country,
        purpose=project.purpose,
        audiences=tuple(_audiences(project, name)),
        data_subjects=records.data_subjects,
        data=tuple(_data(project, name)),
        legal_basis=records.legal_basis,
        outside_eea=_outside(recipient, records.safeguards),
        retention=tuple(_retention(project, name, connector.keeps(destination.settings))),
        security="; ".join(filter(None, (_SECURITY, records.security))),
    )


def _missing(key: str) -> str:
    return f"not stated; write records.{key}"


def _audiences(project: Project, destination: str) -> Iterator[str]:
    for audience in project.audiences.values():
        if destination in audience.destinations:
            same = audience.title == audience.name
            yield audience.name if same else f"{audience.name}: {audience.title}"
    if project.orders is not None and destination in project.orders.destinations:
        yield "orders of the shop"


def _data(project: Project, destination: str) -> Iterator[str]:
    forms: dict[Kind, str] = {}
    for audience in project.audiences.values():
        if destination in audience.destinations:
            forms |= audience.destinations[destination].forms
    for kind, form in forms.items():
        how = "hashed" if is_hashed_form(form) else "not hashed"
        yield f"{_DATA[kind]}, {how} ({form})"
    if forms:
        yield "that they belong to the audience, and that they consented"
    if project.orders is not None and destination in project.orders.destinations:
        yield "orders: numbers, times, items and amounts, without the customer"


def _outside(recipient: Recipient, safeguards: str | None) -> str:
    if recipient.country in _EEA:
        return f"none to {recipient.name}, which is in {recipient.country}"
    return f"to {recipient.country}; {safeguards or 'safeguards ' + _missing('safeguards')}"


def _retention(project: Project, destination: str, keeps: str) -> Iterator[str]:
    for audience in project.audiences.values():
        if destination in audience.destinations and audience.expires_after is not None:
            yield f"{audience.name}: removed from the list {audience.expires_after} after joining"
    if any(destination in audience.destinations for audience in project.audiences.values()):
        yield "on the list as long as consent and audience last; removed at the sync after that"
    if project.orders is not None and destination in project.orders.destinations:
        yield "orders: of whoever consented when they were reported; corrections follow the shop's"
    terms = project.records.retention_at_recipient or "by its own terms"
    yield f"at the recipient: {f'{keeps}; what it matched: ' if keeps else ''}{terms}"
    kept = project.retention
    yield f"here: the log of transfers {kept.transfer_log}, runs {kept.runs}"


def as_markdown(project: Project, found: list[Activity]) -> str:
    """The whole record as a page."""
    parts = [f"# Record of processing activities: {project.name}"]
    for activity in found:
        rows = [f"| {name} | {_cell(value)} |" for name, value in rows_of(activity)]
        parts.append(f"## {activity.destination}\n\n| | |\n| --- | --- |\n" + "\n".join(rows))
    return "\n\n".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", "<br>")


def rows_of(activity: Activity) -> Iterator[tuple[str, str]]:
    """What people read: a heading and its text; several things stand on lines of their own."""
    for heading, value in (
        ("controller", activity.controller),
        ("contact", activity.contact),
        ("data protection officer", activity.protection_officer),
        ("recipient", activity.recipient),
        ("recipient's country", activity.country),
        ("purpose", activity.purpose),
        ("audiences", activity.audiences),
        ("data subjects", activity.data_subjects),
        ("categories of data", activity.data),
        ("legal basis", activity.legal_basis),
        ("transfers outside the EEA", activity.outside_eea),
        ("retention", activity.retention),
        ("security", activity.security),
    ):
        yield heading, value if isinstance(value, str) else "\n".join(value) or "none"
