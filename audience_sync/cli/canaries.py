"""`canaries`: where the retailer's own accounts are on every list, and which did not move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from audience_sync.cli import codes, options
from audience_sync.cli.session import opened

if TYPE_CHECKING:
    from audience_sync.app import App
    from audience_sync.runs.flight import Flight


def register(application: typer.Typer) -> None:
    """Add the commands of this file."""
    application.command()(canaries)


def canaries(context: typer.Context, as_json: options.Json = False) -> int:
    """Show where each canary is on each list.

    Ends with 1 when one did not move as it must. Canaries are accounts of your own, see `canaries:`
    in the project file. They take turns on every list, and are counted apart from customers.
    """
    with opened(debug=context.obj["debug"]) as app:
        flights = app.canaries()
        alerts = [flight for flight in flights if flight.alert is not None]
        if as_json:
            from audience_sync.cli.written import print_json  # noqa: PLC0415 - keeps --help light

            print_json({"canaries": flights, "alerts": len(alerts)})
        else:
            _print(app, flights)
    return codes.FAILED if alerts else codes.DONE


def tell_alerts(flights: Sequence[Flight]) -> None:
    """One line for `status` when a canary did not move."""
    from audience_sync.cli.written import tell  # noqa: PLC0415 - keeps --help light

    alerts = sum(flight.alert is not None for flight in flights)
    if alerts:
        why = "`audience-sync canaries` says why"
        tell([f"\n{alerts} canaries did not move as they must: {why}."])


def _print(app: App, flights: Sequence[Flight]) -> None:
    from audience_sync.cli.whole import plain_table  # noqa: PLC0415 - keeps --help light
    from audience_sync.cli.written import ago, console, tell  # noqa: PLC0415 - the same

    if not flights:
        tell(["No canaries, or no lists; name accounts of your own under `canaries:`."])
        return
    table = plain_table("canary", "list", "belongs", "is", "synced")
    for flight in flights:
        synced = "never" if flight.synced_at is None else ago(flight.synced_at, app.now())
        table.add_row(
            flight.canary,
            f"{flight.audience}, {flight.destination}",
            "on it" if flight.belongs else "off it",
            flight.held,
            synced,
        )
    console().print(table)
    for flight in flights:
        if flight.alert is not None:
            where = f"{flight.audience}, {flight.destination}"
            tell([f"\n{flight.canary} on {where}: {flight.alert}."])
