"""`withdraw`: people who withdraw are taken off every list."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audience_sync.cli import codes, options
from audience_sync.cli.session import opened
from audience_sync.cli.stdin import STDIN, read_values
from audience_sync.cli.taken_away import lists_taken_away

if TYPE_CHECKING:
    from audience_sync.app import App
    from audience_sync.runs.lane import Worked
    from audience_sync.runs.withdrawal_requests import Received

WAIT = 10.0  # seconds that a command stays with what is nearly done

CustomerId = Annotated[
    str | None, typer.Option(help="The customer's own key, or - to read it from stdin.")
]
Email = Annotated[str | None, typer.Option(help="An e-mail address, or - to read it from stdin.")]
Phone = Annotated[str | None, typer.Option(help="A phone number, or - to read it from stdin.")]
Device = Annotated[str | None, typer.Option(help="A device ID, or - to read it from stdin.")]
Country = Annotated[
    str | None,
    typer.Option(help="Region of a national phone number. Default: policy.default_country."),
]
People = Annotated[
    str | None,
    typer.Option(
        help="A CSV, NDJSON or Parquet file of many, with these names as columns; - for a CSV or "
        "Parquet from stdin."
    ),
]
Partner = Annotated[
    str | None, typer.Option(help="Only from this partner, by its connector's name.")
]


def register(application: typer.Typer) -> None:
    """Add the command of this file."""
    application.command()(withdraw)


def withdraw(
    context: typer.Context,
    customer_id: CustomerId = None,
    email: Email = None,
    phone: Phone = None,
    device: Device = None,
    country: Country = None,
    file: People = None,
    partner: Partner = None,
    as_json: options.Json = False,
) -> int:
    """Take people who withdraw off every list, at once.

    From then on nobody named is added anywhere, past plans, held runs and schedules. Exit code 4
    when a partner has not acknowledged yet: it is tried again until it has; 2 when rows of a file
    cannot be read, of which the others are taken.
    """
    from audience_sync.cli.recorded import told_if_cut_off  # noqa: PLC0415 - keeps --help light
    from audience_sync.cli.withdrawn import (  # noqa: PLC0415 - keeps --help light
        tell_answer,
        unacknowledged,
    )

    named = {"customer_id": customer_id, "email": email, "phone": phone, "device": device}
    with opened(debug=context.obj["debug"]) as app:
        received = _received(app, named, country, file, partner)
        with told_if_cut_off(received.withdrawals):
            before = app.ledger.newest_line()
            worked = app.withdrawals.deliver(WAIT)
            progress = _progress(app, received) | {"taken_away": lists_taken_away(app, before)}
            if as_json:
                _print_json(app, received, progress, worked)
            else:
                by_id = file is not None or bool(customer_id)
                which = {"partly": not (by_id or email), "by_id": by_id}
                tell_answer(app, received, progress, worked, partner, **which)
    if received.unusable or received.unplaced:
        return codes.USAGE
    return codes.PARTLY if unacknowledged(progress) else codes.DONE


def _received(
    app: App,
    named: Mapping[str, str | None],
    country: str | None,
    file: str | None,
    partner: str | None,
) -> Received:
    """Take in one person, or the many of a file."""
    if file is None:
        from audience_sync.withdrawing import one_person  # noqa: PLC0415 - keeps --help light

        given = dict(zip(named, read_values(list(named.values())), strict=True))
        return app.withdrawals.receive([one_person(**given, partner=partner, country=country)])
    if country:
        from audience_sync.errors import ConfigurationError  # noqa: PLC0415 - as above

        raise ConfigurationError("a --file has its own column country; leave --country out")
    if any(named.values()):
        from audience_sync.errors import ConfigurationError  # noqa: PLC0415 - as above

        raise ConfigurationError("name one person, or a --file of many, not both")
    if file == STDIN:
        return app.withdrawals.receive_stream(sys.stdin.buffer.read(), partner)
    return app.withdrawals.receive_file(Path(file), partner)


def _progress(app: App, received: Received) -> dict[str, Any]:
    """How far it is; `unresolved` withdrawals wait until the customers can be read."""
    waiting = {one.id: one.sequence for one in app.ledger.unresolved_withdrawals()}
    mine = {waiting[one] for one in received.withdrawals if one in waiting}
    found = app.ledger.withdrawal_deliveries(sequences=mine) if mine else ()
    asked = sum(row.sent_at is not None for row in found)
    progress = dict(app.withdrawals.progress(received.withdrawals))
    return progress | {"unresolved": len(mine), "asked": asked}


def _print_json(app: App, received: Received, progress: dict[str, Any], worked: Worked) -> None:
    from audience_sync.cli.written import print_json  # noqa: PLC0415 - keeps --help light

    told = progress | {
        "earlier": received.earlier,
        "unusable": received.unusable,
        "unusable_rows": received.unusable_rows,
        "uneven": received.uneven,
        "timeless": received.timeless,
        "timeless_rows": received.timeless_rows,
        "unplaced": received.unplaced,
        "unplaced_rows": received.unplaced_rows,
        "reasons": worked.reasons,
    }
    counts = ("people", "missing", "earlier", "unusable", "uneven", "timeless", "unplaced")
    print_json(app.discretion.counts(told, *counts))
