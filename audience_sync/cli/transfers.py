"""`log`: the transfer log, which holds counts and never people."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from audience_sync.cli import codes, options, proofs
from audience_sync.cli.session import opened

if TYPE_CHECKING:
    from audience_sync.app import App
    from audience_sync.ledger.records.log import LoggedLine

_SHOWN = 40  # lines
_SPANS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def register(application: typer.Typer) -> None:
    """Add `log`, which is a command and has others below it."""
    group = typer.Typer(rich_markup_mode=None)
    group.callback(invoke_without_command=True)(log)
    for command in (proofs.verify, proofs.export, proofs.prove):
        group.command()(command)
    application.add_typer(group, name="log")


def moment(text: str | None) -> datetime | None:
    """A time as ISO 8601 (UTC where it names no zone), or a span back from now."""
    if text is None:
        return None
    if text[:-1].isdigit() and text[-1:] in _SPANS:
        return datetime.now(UTC) - int(text[:-1]) * _SPANS[text[-1]]
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("write 2026-05-01, 2026-05-01T03:00, 12h, 7d or 4w") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def log(
    context: typer.Context,
    audience: options.OfAudience = None,
    destination: options.OfDestination = None,
    since: Annotated[
        str | None,
        typer.Option(help="Only from this time on: 2026-05-01, 12h, 7d, 4w.", show_default=False),
    ] = None,
    run: options.OfRun = None,
    last: Annotated[
        int, typer.Option(min=0, help="How many lines, the newest; 0 for all. JSON has all.")
    ] = _SHOWN,
    as_json: options.Json = False,
) -> int | None:
    """Show the transfer log: counts, never people."""
    if context.invoked_subcommand is not None:
        return None
    from_time = moment(since)
    with opened(debug=context.obj["debug"]) as app:
        lines = app.ledger.log_lines(
            audience=audience,
            destination=destination,
            since=from_time,
            run=None if run is None else app.ledger.run(run).id,
        )
        if as_json:
            _print_json(lines)
        else:
            _print(app, lines, last)
    return codes.DONE


def _print(app: App, lines: Iterator[LoggedLine], last: int) -> None:
    from collections import deque  # noqa: PLC0415 - keeps --help light

    from audience_sync.cli.ledgers import print_log  # noqa: PLC0415 - the same

    kept: deque[LoggedLine] = deque(maxlen=last or None)
    total = 0
    for total, line in enumerate(lines, start=1):  # noqa: B007 - counted to the end
        kept.append(line)
    print_log(kept, total - len(kept), app.project.timezone)


def _print_json(lines: Iterator[LoggedLine]) -> None:
    """An array written line by line: a log of years does not have to fit into memory."""
    import orjson  # noqa: PLC0415 - keeps --help light

    sys.stdout.write('{"lines": [')
    for number, line in enumerate(lines):
        sys.stdout.write(",\n" if number else "\n")
        sys.stdout.write(orjson.dumps(line).decode())
    sys.stdout.write("\n]}\n")
