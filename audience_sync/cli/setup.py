"""`init`, `check` and `schema`: from nothing to a project that works."""

from __future__ import annotations

import os
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated

import typer

from audience_sync.cli import codes, options
from audience_sync.cli.session import opened
from audience_sync.errors import AudienceSyncError, ConfigurationError

if TYPE_CHECKING:
    from audience_sync.app import Finding

CUSTOMERS = 200_000
CUSTOMERS_AN_ORDER = 400  # of those that are made up
_BESIDE = 5  # columns for the mark of a finding, and between
_NARROWEST = 20  # columns for what a finding says
SANDBOX = "http://127.0.0.1:8600"


def register(application: typer.Typer) -> None:
    """Add the commands of this file."""
    for command in (init, check, schema):
        application.command()(command)


def init(
    demo: Annotated[
        bool,
        typer.Option("--demo", help="Also make customers, for simulated partners on this machine."),
    ] = False,
    customers: Annotated[
        int, typer.Option(min=1, help="How many customers --demo makes up.")
    ] = CUSTOMERS,
    sandbox: Annotated[str, typer.Option(help="Where --demo finds the sandbox.")] = SANDBOX,
) -> int:
    """Write a commented project file; never overwrites one."""
    from audience_sync.cli.written import tell  # noqa: PLC0415 - keeps --help light
    from audience_sync.testing.project_template import (  # noqa: PLC0415 - the same
        COMMENTED_VARIABLES,
        commented_project,
    )

    path = _new_project_file()
    if demo:
        write_demo(path, customers, sandbox)
        made = f"{customers:,} made-up customers, their orders, and secrets"
        tell([f"Wrote {path.name}, {made} for\nthe sandbox, which simulates every partner."])
        print("Next, in another terminal and here:")
        print(f"  audience-sync sandbox{_port(sandbox)}")
        print("  audience-sync check")
        print("  audience-sync plan lapsed-vip")
        return codes.DONE
    _write(path, commented_project())
    print(f"Wrote {path.name}. Next:")
    print("  1. say in it where your customers are and which columns they have")
    print(f"  2. set {' and '.join(COMMENTED_VARIABLES)}, here or in .env")
    print("  3. audience-sync check")
    return codes.DONE


def write_demo(path: Path, customers: int, sandbox: str) -> None:
    """The demonstration's project, secrets, customers and orders."""
    from audience_sync.testing.customer_base import (  # noqa: PLC0415 - keeps --help light
        write_customer_base,
    )
    from audience_sync.testing.project_template import (  # noqa: PLC0415 - the same
        DEMO_DATABASE,
        demo_project,
        write_demo_secrets,
    )
    from audience_sync.testing.shop_orders import write_orders  # noqa: PLC0415 - the same

    database = path.with_name(DEMO_DATABASE)
    if database.exists():
        raise ConfigurationError(f"{database} exists already; choose an empty folder")
    write_demo_secrets(path.parent, sandbox)
    write_customer_base(database, customers)
    write_orders(database, -(-customers // CUSTOMERS_AN_ORDER))
    _write(path, demo_project(sandbox))


def _new_project_file() -> Path:
    from audience_sync.settings import PROJECT_FILES  # noqa: PLC0415 - keeps --help light

    place = Path(os.environ.get("AUDIENCE_SYNC_PROJECT") or Path.cwd()).expanduser().absolute()
    path = place if place.suffix in (".yaml", ".yml") else place / PROJECT_FILES[0]
    for name in {path.name, *PROJECT_FILES}:
        if path.with_name(name).exists():
            raise ConfigurationError(
                f"{path.with_name(name)} exists already; nothing was written, "
                "choose another folder with --project"
            )
    return path


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from None


def _port(sandbox: str) -> str:
    port = sandbox.rpartition(":")[2].strip("/")
    return f" --port {port}" if port.isdigit() and port != SANDBOX.rpartition(":")[2] else ""


def check(
    context: typer.Context,
    destination: Annotated[
        str | None,
        typer.Argument(
            help="A destination's name; all of them when none is named.",
            autocompletion=options.complete_destination,
            show_default=False,
        ),
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Look at everything that a sync needs.

    Changes nothing at a partner. On a first call it makes the state folder, its keys and the
    ledger, as every command does.
    """
    from audience_sync.app import Finding  # noqa: PLC0415 - keeps --help light

    try:
        with opened(debug=context.obj["debug"]) as app:
            findings = app.check(destination)
    except AudienceSyncError as error:
        findings = [Finding(subject="project", detail=str(error), error=error)]
    if as_json:
        _print_json(findings)
    else:
        _print_findings(findings)
    found = [codes.of_error(finding.error) for finding in findings if finding.error is not None]
    return codes.USAGE if codes.USAGE in found else max(found, default=codes.DONE)


def _print_findings(findings: list[Finding]) -> None:
    from rich.markup import escape  # noqa: PLC0415 - keeps --help light

    from audience_sync.cli.written import console  # noqa: PLC0415 - the same

    output = console()
    widest = max(len(finding.subject) for finding in findings)
    room = output.width - widest - _BESIDE
    told: dict[str, str] = {}  # what is wrong, by its sentence
    for finding in findings:
        good = "[yellow]![/]" if finding.warns else "[green]✓[/]"
        mark = good if finding.error is None else "[red]✗[/]"
        detail = finding.detail
        if (
            finding.error is not None
            and told.setdefault(detail, finding.subject) != finding.subject
        ):
            detail = f"the same as {told[detail]}"
        first, *more = _folded(detail, room)
        subject = escape(finding.subject.ljust(widest))
        output.print(f"{mark}  [bold]{subject}[/]  {escape(first)}", soft_wrap=True)
        for line in more:
            output.print(" " * (widest + _BESIDE) + escape(line), soft_wrap=True)


def _folded(detail: str, room: int) -> list[str]:
    """Its lines; a word that is longer, such as an address, is copied whole."""
    width = max(_NARROWEST, room)
    return [
        line
        for sentence in detail.splitlines() or [""]
        for line in wrap(sentence, width, break_long_words=False, break_on_hyphens=False) or [""]
    ]


def _print_json(findings: list[Finding]) -> None:
    from audience_sync.cli.written import print_json  # noqa: PLC0415 - keeps --help light

    print_json(
        {
            "findings": [
                {
                    "subject": f.subject,
                    "ok": f.error is None,
                    "detail": f.detail,
                    **({"warning": True} if f.warns else {}),
                }
                for f in findings
            ]
        }
    )


def schema() -> int:
    """Print the JSON Schema of the project file, for editors."""
    from audience_sync.cli.written import print_json  # noqa: PLC0415 - keeps --help light
    from audience_sync.plugins import installed_connectors  # noqa: PLC0415 - the same
    from audience_sync.project import project_schema  # noqa: PLC0415 - the same

    print_json(project_schema(installed_connectors().connectors))
    return codes.DONE
