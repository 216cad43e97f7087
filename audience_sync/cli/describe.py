"""`connectors`: what is installed, and what each partner can and cannot do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from audience_sync.cli import codes, options

if TYPE_CHECKING:
    from audience_sync.connector import Connector


def register(application: typer.Typer) -> None:
    """Add the command of this file."""
    application.command()(connectors)


def connectors(as_json: options.Json = False) -> int:
    """List the installed connectors and what each can do; and broken ones."""
    from audience_sync.cli.written import print_json  # noqa: PLC0415 - keeps --help light
    from audience_sync.plugins import installed_connectors  # noqa: PLC0415 - the same

    installed = installed_connectors()
    described = {name: describe(found) for name, found in installed.connectors.items()}
    if as_json:
        print_json({"connectors": described, "broken": installed.broken})
    else:
        _print(described, installed.broken)
    return codes.DONE


def describe(connector: type[Connector[Any]]) -> dict[str, Any]:
    """What a connector declares, as JSON has it."""
    limits = connector.limits
    return {
        "title": connector.title,
        "recipient": {"name": connector.recipient.name, "country": connector.recipient.country},
        "forms": {kind.value: form for kind, form in connector.forms.items()},
        "minimum_audience": connector.minimum_audience,
        "needs_consent_signal": connector.needs_consent_signal,
        "answers_later": _overrides(connector, "poll"),
        "tells_statistics": _overrides(connector, "statistics"),
        "limits": {
            "members_per_request": limits.members_per_request,
            "identifiers_per_member": limits.identifiers_per_member,
            "requests_per_minute": limits.requests_per_minute,
            "parallel_uploads": limits.parallel_uploads,
        },
        "settings": sorted(connector.settings_class.model_fields),
    }


def _overrides(connector: type[Connector[Any]], method: str) -> bool:
    from audience_sync.connector import Connector as Base  # noqa: PLC0415 - keeps --help light

    return getattr(connector, method) is not getattr(Base, method)


def _print(described: Mapping[str, Mapping[str, Any]], broken: Mapping[str, str]) -> None:
    from rich.markup import escape  # noqa: PLC0415 - keeps --help light

    from audience_sync.cli.lists import plain_table  # noqa: PLC0415 - the same
    from audience_sync.cli.written import console, number  # noqa: PLC0415 - the same

    output = console()
    for name, found in described.items():
        limits = found["limits"]
        pace = limits["requests_per_minute"]
        rows = {
            "receives": f"{found['recipient']['name']}, {found['recipient']['country']}",
            "kinds": ", ".join(f"{kind} as {form}" for kind, form in found["forms"].items()),
            "limits": f"{number(limits['members_per_request'])} members a request, "
            f"{limits['identifiers_per_member']} identifiers a member, "
            f"{limits['parallel_uploads']} uploads at a time"
            + (f", {number(pace)} requests a minute" if pace else ""),
            "minimum": f"{number(found['minimum_audience'])} members",
            "consent": "sent with every upload"
            if found["needs_consent_signal"]
            else "no signal is sent",
            "answers": "later, and is polled" if found["answers_later"] else "at once",
            "settings": ", ".join(found["settings"]),
        }
        output.print(f"[bold]{name}[/]  {escape(found['title'])}")
        table = plain_table("", "")
        table.show_header = False
        for label, text in rows.items():
            table.add_row(f"  {label}", escape(text))
        output.print(table)
        output.print()
    for name, reason in broken.items():
        output.print(f"[red]✗ {name}[/]  {escape(reason)}")
    if not described and not broken:
        output.print("No connectors are installed.")
