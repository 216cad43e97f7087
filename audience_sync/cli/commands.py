"""All commands together."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from audience_sync.cli import (
    canaries,
    decide,
    deliver,
    demo,
    describe,
    keeping,
    keys,
    orders,
    serve,
    setup,
    show,
    subject,
    supervise,
    transfers,
    web,
    withdraw,
    withdrawals,
)


def application() -> typer.Typer:
    """`audience-sync` with every command."""
    made = typer.Typer(
        name="audience-sync",
        help="Sends consenting customers, hashed, to ad partners; removes who withdraws; "
        "logs every transfer.",
        epilog="Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 held by a guard, "
        "4 done in part.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        rich_markup_mode=None,
    )
    made.callback()(_globals)
    for group in (setup, deliver, decide, show, withdraw, withdrawals):
        group.register(made)
    transfers.register(made)
    orders.register(made)
    canaries.register(made)
    subject.register(made)
    keys.register(made)
    for group in (keeping, describe, supervise, web, serve, demo):
        group.register(made)
    return made


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415 - only for --version

        print(f"audience-sync {version('audience-sync')}")
        raise typer.Exit


def _globals(
    context: typer.Context,
    project: Annotated[
        Path | None,
        typer.Option(
            help="The project file, or its folder. Default: audience-sync.yaml here, "
            "or AUDIENCE_SYNC_PROJECT.",
            show_default=False,
        ),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error came from.")] = False,
    version: Annotated[  # noqa: ARG001 - its callback does it
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Read the options that stand before a command."""
    from audience_sync import journal  # noqa: PLC0415 - keeps --help light

    if project is not None:
        # The worker reads it from there, and so do settings.
        os.environ["AUDIENCE_SYNC_PROJECT"] = str(project)
    context.obj = {"debug": debug}
    form = os.environ.get("AUDIENCE_SYNC_LOG_FORMAT", "text").strip().lower()
    journal.set_up(form, os.environ.get("AUDIENCE_SYNC_LOG_LEVEL", "info").lower(), debug=debug)
