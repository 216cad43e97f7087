"""`connectors`: what is installed, what each partner can and cannot do, and one more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audience_sync.cli import codes, options
from audience_sync.errors import ConfigurationError

if TYPE_CHECKING:
    from audience_sync.connector import Connector

_WIDTH = 100  # columns, where no terminal says how many there are
_NARROW = 80  # columns; a table of less is folded
_DEVICES = ["idfa", "gaid"]
_OWN = {  # what a destination may set for itself, and how a connector shows that it lets it
    "forms": "sendable",
    "limits": "limits_of",
    "minimum_audience": "minimum_of",
    "recipient": "recipient_of",
}
_MEGABYTE = 1_000_000


def register(application: typer.Typer) -> None:
    """Add `connectors`, which is a command and has two below it."""
    group = typer.Typer(rich_markup_mode=None)
    group.callback(invoke_without_command=True)(connectors)
    group.command()(show)
    group.command()(new)
    application.add_typer(group, name="connectors")


def connectors(context: typer.Context, as_json: options.Json = False) -> int | None:
    """List the installed connectors, and what each can do.

    Broken ones are told with what is wrong with them.
    """
    if context.invoked_subcommand is not None:
        return None
    from audience_sync.cli.written import print_json  # noqa: PLC0415 - keeps --help light
    from audience_sync.plugins import installed_connectors  # noqa: PLC0415 - the same

    installed = installed_connectors()
    described = {name: describe(found) for name, found in installed.connectors.items()}
    if as_json:
        print_json({"connectors": described, "broken": installed.broken})
    else:
        _print(described, installed.broken)
    return codes.DONE


def show(
    name: Annotated[str, typer.Argument(help="The connector's name.")],
    as_json: options.Json = False,
) -> int:
    """Show all about one connector: recipient, limits, settings."""
    from audience_sync.cli.written import print_json  # noqa: PLC0415 - keeps --help light
    from audience_sync.plugins import installed_connectors  # noqa: PLC0415 - the same

    installed = installed_connectors().connectors
    if (reason := installed.why(name)) is not None:
        raise ConfigurationError(f"{name} is left out: {reason}")
    if name not in installed:
        raise ConfigurationError(f"no connector {name} is installed; there are {_and(installed)}")
    described = describe(installed[name])
    if as_json:
        print_json(described)
    else:
        _print_one(name, described)
    return codes.DONE


def new(
    name: Annotated[str, typer.Argument(help="Small letters, digits and hyphens.")],
    into: Annotated[
        Path, typer.Option(help="The folder that the package's own folder is made in.")
    ] = Path(),
) -> int:
    """Write the package of a new connector.

    It passes its own tests as it is. Nothing is overwritten.
    """
    from audience_sync.cli.written import tell  # noqa: PLC0415 - the same
    from audience_sync.plugins import connector_names  # noqa: PLC0415 - keeps --help light
    from audience_sync.testing.scaffold import write_plugin  # noqa: PLC0415 - the same

    if name in connector_names():
        raise ConfigurationError(
            f"a connector {name} is installed already; choose another name, nothing was written"
        )
    folder = write_plugin(name, into)
    module = folder.name.replace("-", "_")
    print(f"Wrote {folder}, a connector to an invented partner. Next:")
    place = folder if folder.is_absolute() else f"./{folder}"
    print(f"  python -m pip install -e {quote(f'{place}[test]')}")
    print(f"  python -m pytest {quote(str(folder))}")
    print(f"  python -m {module}.sandbox   # the partner, in another terminal")
    tell(["Then make it yours; docs/writing-a-connector.md goes through it in twenty minutes."])
    return codes.DONE


def describe(connector: type[Connector[Any]]) -> dict[str, Any]:
    """What a connector declares, and what follows from the methods that it has; as JSON has it."""
    limits = connector.limits
    return {
        "title": connector.title,
        "recipient": {"name": connector.recipient.name, "country": connector.recipient.country},
        "forms": {kind.value: form for kind, form in connector.forms.items()},
        "needs": list(getattr(connector, "needs", ())),  # columns of orders
        "operations": list(_operations(connector)),
        "minimum_audience": connector.minimum_audience,
        "needs_consent_signal": connector.needs_consent_signal,
        "reads": list(_reads(connector)),
        "answers_later": _overrides(connector, "poll"),
        "tells_statistics": _overrides(connector, "statistics"),
        "limits": {
            name: getattr(limits, name)
            for name in (
                "members_per_request",
                "bytes_per_request",
                "identifiers_per_member",
                "requests_per_second",
                "requests_per_minute",
                "requests_per_day",
                "parallel_uploads",
            )
        },
        "set_by_destination": [
            declared for declared, method in _OWN.items() if _overrides(connector, method)
        ],
        "settings": sorted(connector.settings_class.model_fields),
    }


def _operations(connector: type[Connector[Any]]) -> Iterator[str]:
    from audience_sync.connector import OrderConnector  # noqa: PLC0415 - keeps --help light

    if issubclass(connector, OrderConnector):
        yield "report"
        return
    yield from ("add", "remove")
    if _overrides(connector, "withdraw"):
        yield "withdraw"
    if _overrides(connector, "delete_audience"):
        yield "delete"


def _reads(connector: type[Connector[Any]]) -> tuple[str, ...]:
    """What is declared; where nothing is, whoever tells statistics tells a size."""
    return connector.reads or (("size",) if _overrides(connector, "statistics") else ())


def _overrides(connector: type[Connector[Any]], method: str) -> bool:
    from audience_sync.connector import Connector as Base  # noqa: PLC0415 - keeps --help light

    found, base = getattr(connector, method), getattr(Base, method)
    return getattr(found, "__func__", found) is not getattr(base, "__func__", base)


def _print(described: Mapping[str, Mapping[str, Any]], broken: Mapping[str, str]) -> None:
    from rich.markup import escape  # noqa: PLC0415 - keeps --help light

    from audience_sync.cli.whole import plain_table  # noqa: PLC0415 - the same
    from audience_sync.cli.written import console, number  # noqa: PLC0415 - the same

    output = console()
    table = plain_table(
        "", "takes", "does", "a request", "least", "consent", "reads", right=["least"]
    )
    table.padding = (0, 1, 0, 0)
    for column in table.columns:
        column.no_wrap = output.width >= _NARROW
    for name, found in described.items():
        own = set(found["set_by_destination"])
        table.add_row(
            f"[bold]{escape(name)}[/]",
            "\n".join(_taken(found["forms"], chosen="forms" in own)) or "orders",
            "\n".join(found["operations"]),
            "\n".join(_requested(found)),
            "*" if "minimum_audience" in own else number(found["minimum_audience"]),
            "sent" if found["needs_consent_signal"] else "-",
            "\n".join(found["reads"]) or "-",
        )
    if described:
        output.print(table)
        output.print("\n[dim]`audience-sync connectors show NAME` tells all about one.[/]")
    for name, reason in broken.items():
        output.print(f"[red]✗ {escape(name)}[/]  {escape(reason)}")
    if not described and not broken:
        output.print("No connectors are installed.")


def _taken(forms: Mapping[str, str], *, chosen: bool) -> Iterator[str]:
    """Each form once, with the kinds that are written in it where its name does not tell."""
    by_form: dict[str, list[str]] = {}
    for kind, form in forms.items():
        by_form.setdefault(form, []).append(kind)
    for form, kinds in by_form.items():
        usual = kinds in (_DEVICES, [form.partition("/")[0].replace("-", "_")])
        yield form if usual else f"{form} ({', '.join(kinds)})"
    if chosen:
        yield "by its settings"


def _requested(found: Mapping[str, Any]) -> Iterator[str]:
    """What one request may hold, and how many may run."""
    from audience_sync.cli.written import number  # noqa: PLC0415 - keeps --help light

    limits, most = found["limits"], found["limits"]["members_per_request"]
    unit = "member" if found["forms"] else "order"
    yield f"{number(most)} {unit}{'' if most == 1 else 's'}"
    if limits["bytes_per_request"]:
        yield f"{limits['bytes_per_request'] / _MEGABYTE:.3g} MB"
    for span in ("second", "minute", "day"):
        if limits[f"requests_per_{span}"]:
            yield f"{number(limits[f'requests_per_{span}'])}/{span}"


def _print_one(name: str, found: Mapping[str, Any]) -> None:
    from rich.markup import escape  # noqa: PLC0415 - keeps --help light

    from audience_sync.cli.whole import plain_table  # noqa: PLC0415 - the same
    from audience_sync.cli.written import console, number  # noqa: PLC0415 - the same

    limits = found["limits"]
    more = (
        f"{limits['identifiers_per_member']} identifiers a member",
        f"{limits['parallel_uploads']} uploads at a time",
    )
    rows = {
        "receives": f"{found['recipient']['name']}, {found['recipient']['country']}",
        "takes": ", ".join(f"{kind} as {form}" for kind, form in found["forms"].items())
        or f"orders, which need {', '.join(found['needs'])}",
        "does": ", ".join(found["operations"]),
        "a request": ", ".join((*_requested(found), *more)),
        "smallest": f"{number(found['minimum_audience'])} members",
        "consent": "sent with every upload"
        if found["needs_consent_signal"]
        else "no signal is sent",
        "reads": ", ".join(found["reads"]) or "nothing",
        "answers": "later, and is polled" if found["answers_later"] else "at once",
        "settings": ", ".join(found["settings"]),
    }
    if found["set_by_destination"]:
        rows["by setting"] = ", ".join(found["set_by_destination"])
    output = console(_WIDTH)
    output.print(f"[bold]{escape(name)}[/]  {escape(found['title'])}")
    table = plain_table("", "")
    table.show_header = False
    for label, text in rows.items():
        table.add_row(f"  {label}", escape(text) or "-")
    output.print(table)


def _and(names: Mapping[str, Any]) -> str:
    return ", ".join(names) or "none"
