"""`serve`: take withdrawals in by HTTP, until it is stopped."""

from __future__ import annotations

import importlib
from typing import Annotated

import typer

from audience_sync.cli import codes
from audience_sync.cli.session import opened


def register(application: typer.Typer) -> None:
    """Add the command of this file."""
    application.command()(serve)


def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8700,
) -> int:
    """Take withdrawals in by HTTP, and deliver them at once.

    They come from whom `webhooks:` names. Speaks plain HTTP: let a proxy with TLS stand before it.
    SIGTERM and Ctrl-C end it in order.
    """
    with opened(debug=context.obj["debug"]) as app:
        serving_room = importlib.import_module("audience_sync.web.serving")
        withdrawals = app.withdrawals
        serving = serving_room.serving_of(
            app, withdrawals.reception, lambda: withdrawals.deliver().again
        )

        def ready(url: str) -> None:
            for address in serving.addresses:
                # In one piece, also where nothing is buffered: threads log beside it.
                print(f"Withdrawals are taken at {url}{address}\n", end="", flush=True)

        serving_room.serve(serving, host, port, ready)
    return codes.DONE
