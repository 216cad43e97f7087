"""`orders`: what partners were told of orders, and what a person says of unknown answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from audience_sync.cli import codes, options
from audience_sync.cli.session import opened

if TYPE_CHECKING:
    from audience_sync.app import App


def register(application: typer.Typer) -> None:
    """Add `orders`, which is a command and has two below it."""
    group = typer.Typer(rich_markup_mode=None)
    group.callback(invoke_without_command=True)(orders)
    group.command()(arrived)
    group.command()(lost)
    application.add_typer(group, name="orders")


def orders(context: typer.Context, as_json: options.Json = False) -> int | None:
    """Show how many orders each destination was told of.

    Tells which answers are missing, too. `sync orders` and `plan orders` report them; see `orders:`
    in the project file.
    """
    if context.invoked_subcommand is not None:
        return None
    with opened(debug=context.obj["debug"]) as app:
        found = _destinations(app)
        if as_json:
            from audience_sync.cli.written import print_json  # noqa: PLC0415 - keeps --help light

            print_json({"destinations": found})
        else:
            _print(found)
    return codes.DONE


def arrived(context: typer.Context, run: options.RunId) -> int:
    """Say that the orders of a run are at the partner.

    That is for a run whose answer was never seen; compare the partner's report first.
    """
    return _settled(context, run, arrived=True)


def lost(context: typer.Context, run: options.RunId) -> int:
    """Say that the orders of a run never arrived.

    The next sync reports them.
    """
    return _settled(context, run, arrived=False)


def _settled(context: typer.Context, run_id: str, *, arrived: bool) -> int:
    from audience_sync.cli.written import number, tell  # noqa: PLC0415 - keeps --help light

    with opened(debug=context.obj["debug"]) as app:
        run = app.ledger.run(run_id)
        told = number(app.discretion.count(app.settle_orders(run, arrived=arrived)))
        tell(
            [f"{told} orders count as reported to {run.destination}."]
            if arrived
            else [f"{told} orders are reported to {run.destination} with the next sync."]
        )
    return codes.DONE


def _destinations(app: App) -> list[dict[str, Any]]:
    """Every destination of orders, named by the project or waiting for an answer."""
    unknown, count = app.ledger.unknown_orders(), app.discretion.count
    named = () if app.project.orders is None else app.project.orders.destinations
    return [
        {
            "destination": name,
            "reported": count(app.ledger.reported_orders(name)),
            "unknown": {one.run: count(one.orders) for one in unknown if one.destination == name},
        }
        for name in dict.fromkeys([*named, *(found.destination for found in unknown)])
    ]


def _print(found: list[dict[str, Any]]) -> None:
    from audience_sync.cli.whole import plain_table  # noqa: PLC0415 - keeps --help light
    from audience_sync.cli.written import console, number  # noqa: PLC0415 - the same

    table = plain_table("", "orders reported", "answer unknown", right=["orders reported"])
    for each in found:
        waiting = "\n".join(
            f"{number(count)} of run {run}" for run, count in each["unknown"].items()
        )
        table.add_row(each["destination"], number(each["reported"]), waiting or "-")
    output = console()
    output.print(table if found else "No orders; write them under `orders:`.")
    if any(each["unknown"] for each in found):
        output.print(
            "\nCompare those with the partner's report, then\n"
            "  audience-sync orders arrived RUN   counts them as reported\n"
            "  audience-sync orders lost RUN      reports them with the next sync"
        )
