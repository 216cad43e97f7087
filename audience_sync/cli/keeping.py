"""`purge` and `records`: what is kept until when, and the record of processing activities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from audience_sync.cli import codes, options
from audience_sync.cli.session import opened

if TYPE_CHECKING:
    from audience_sync.app import App
    from audience_sync.processing_record import Activity
    from audience_sync.purging import Purged


_PAGE = 80  # columns of the record, which is kept as text


def register(application: typer.Typer) -> None:
    """Add the commands of this file."""
    application.command()(purge)
    application.command()(records)


def purge(
    context: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what would be deleted.")
    ] = False,
    as_json: options.Json = False,
) -> int:
    """Delete what is older than the project keeps it.

    `retention:` in the project file says how long each thing is kept. beat purges every day.
    """
    with opened(debug=context.obj["debug"]) as app:
        found = app.purge(dry=dry_run)
        if as_json:
            from audience_sync.cli.written import print_json  # noqa: PLC0415 - keeps --help light

            count = app.discretion.count
            purged = [{"what": p.what, "count": count(p.count), "before": p.before} for p in found]
            print_json({"dry_run": dry_run, "purged": purged})
        else:
            _print_purged(app, found, dry_run=dry_run)
    return codes.DONE


def _print_purged(app: App, found: list[Purged], *, dry_run: bool) -> None:
    from audience_sync.cli.whole import plain_table  # noqa: PLC0415 - keeps --help light
    from audience_sync.cli.written import clock, console, number, tell  # noqa: PLC0415 - the same

    count = "would go" if dry_run else "gone"
    table = plain_table("", "older than", count, right=[count])
    for purged in found:
        before = clock(purged.before, app.project.timezone)
        table.add_row(purged.what, before, number(app.discretion.count(purged.count)))
    console().print(table)
    if app.signer_and_made[0] is None:
        tell(["\nThe transfer log stays whole: set AUDIENCE_SYNC_SIGNING_KEY to purge it."])


def records(
    context: typer.Context,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print a page in Markdown instead.")
    ] = False,
    as_json: options.Json = False,
) -> int:
    """Print the record of processing activities.

    It is the one that the GDPR asks for in its article 30, with a part for each destination.

    What the project file can add stands under `records:` in it.
    """
    from audience_sync.processing_record import activities, as_markdown  # noqa: PLC0415 - light

    with opened(debug=context.obj["debug"]) as app:
        found = activities(app.project, app.installed.connectors)
        if as_json:
            from audience_sync.cli.written import print_json  # noqa: PLC0415 - keeps --help light

            print_json({"project": app.project.name, "activities": found})
        elif markdown:
            print(as_markdown(app.project, found))
        else:
            _print_records(found)
    return codes.DONE


def _print_records(found: list[Activity]) -> None:
    from rich.markup import escape  # noqa: PLC0415 - keeps --help light

    from audience_sync.cli.whole import plain_table  # noqa: PLC0415 - the same
    from audience_sync.cli.written import console  # noqa: PLC0415 - the same
    from audience_sync.processing_record import rows_of  # noqa: PLC0415 - the same

    output = console(_PAGE)
    for activity in found:
        output.print(f"[bold]{activity.destination}[/]\n")
        table = plain_table("", "")
        table.show_header = False
        for heading, text in rows_of(activity):
            table.add_row(heading, escape(text))
        output.print(table)
        output.print()
    if not found:
        output.print("No destinations; add one under `destinations:`.")
