"""`withdraw` and `withdrawals`: who withdraws, and how far each withdrawal is."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audience_sync.cli import codes, options
from audience_sync.cli.session import opened

if TYPE_CHECKING:
    from audience_sync.app import App
    from audience_sync.runs.lane import Worked
    from audience_sync.runs.withdraw import Received

_STDIN = "-"
_WAIT = 10.0  # seconds that a command stays with what is nearly done
_SHOWN = 20


def register(application: typer.Typer) -> None:
    """Add the commands of this file."""
    for command in (withdraw, withdrawals):
        application.command()(command)


def withdraw(
    context: typer.Context,
    customer_id: Annotated[
        str | None, typer.Option(help="The customer's own key, or - to read it from stdin.")
    ] = None,
    email: Annotated[
        str | None, typer.Option(help="An e-mail address, or - to read it from stdin.")
    ] = None,
    phone: Annotated[
        str | None, typer.Option(help="A phone number, or - to read it from stdin.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="A device ID, or - to read it from stdin.")
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(help="A CSV or Parquet file of many, with these names as columns; - for one."),
    ] = None,
    partner: Annotated[
        str | None, typer.Option(help="Only from this partner, by its connector's name.")
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Take people who withdraw off every list, at once.

    From then on nobody named is added anywhere, past plans, held runs and schedules. Exit code 4
    when a partner has not acknowledged yet: it is tried again until it has; 2 when rows of a file
    cannot be read, of which the others are taken.
    """
    with opened(debug=context.obj["debug"]) as app:
        if file is None:
            from audience_sync.withdrawing import one_person  # noqa: PLC0415 - keeps --help light

            person = one_person(
                customer_id=_given(customer_id),
                email=_given(email),
                phone=_given(phone),
                device=_given(device),
                partner=partner,
            )
            received = app.withdrawals.receive([person])
        elif any((customer_id, email, phone, device)):
            from audience_sync.errors import ConfigurationError  # noqa: PLC0415 - as above

            raise ConfigurationError("name one person, or a --file of many, not both")
        elif file == _STDIN:
            received = app.withdrawals.receive_stream(sys.stdin.buffer.read(), partner)
        else:
            received = app.withdrawals.receive_file(Path(file), partner)
        worked = app.withdrawals.deliver(_WAIT)
        progress = dict(app.withdrawals.progress(received.withdrawals))
        if as_json:
            from audience_sync.cli.written import print_json  # noqa: PLC0415 - keeps --help light

            told = progress | {
                "unusable": received.unusable,
                "unusable_rows": received.unusable_rows,
                "reasons": worked.reasons,
            }
            print_json(app.discretion.counts(told, "people", "missing", "unusable"))
        else:
            _tell(app, received, progress, worked, partner)
    if received.unusable:
        return codes.USAGE
    return codes.PARTLY if _unacknowledged(progress) else codes.DONE


def withdrawals(
    context: typer.Context,
    deliver: Annotated[
        bool,
        typer.Option(
            "--deliver",
            help="First look for new refusals in the decisions, and send what is open.",
        ),
    ] = False,
    as_json: options.Json = False,
) -> int:
    """Show open withdrawals, and how long the others took.

    Tells the age of the oldest, too. Exit code 1 when one has missed the deadline of the project
    file, 4 when one soon will.
    """
    with opened(debug=context.obj["debug"]) as app:
        if deliver:
            app.withdrawals.look()
            app.withdrawals.deliver(_WAIT, at_once=True)
        clock = clock_object(app)
        if as_json:
            from audience_sync.cli.written import print_json  # noqa: PLC0415 - keeps --help light

            print_json({"clock": clock, "open": _open(app)})
        else:
            tell_clock(app)
            for one in _open(app)[:_SHOWN]:
                told = f": {one['reason']}" if one["reason"] else ""
                print(f"  {one['withdrawal']}  {one['destination']}  {one['state']}{told}")
    if clock["late"]:
        return codes.FAILED
    return codes.PARTLY if clock["near"] else codes.DONE


def clock_object(app: App) -> dict[str, Any]:
    """The ages of withdrawals, for --json."""
    from audience_sync.runs.clock import clocked  # noqa: PLC0415 - keeps --help light

    deadline = app.project.withdrawals.deadline.total_seconds()
    found = asdict(clocked(app.ledger, app.now(), deadline))
    return app.discretion.counts(found, "open", "near", "late", "acknowledged")


def tell_clock(app: App, *, only_open: bool = False) -> None:
    """The ages of withdrawals, for people; with `only_open` nothing where none is open."""
    from audience_sync.cli.written import number  # noqa: PLC0415 - keeps --help light

    found = clock_object(app)
    if count := found["open"]:
        oldest = "" if found["oldest"] is None else f", the oldest for {_span(found['oldest'])}"
        they = "withdrawal is on its" if count == 1 else "withdrawals are on their"
        print(f"\n{number(count)} {they} way{oldest}.")
    elif not only_open:
        print("No withdrawal is on its way.")
    if found["late"]:
        print(f"{number(found['late'])} have missed the deadline of {_span(found['deadline'])}.")
    if found["near"]:
        print(f"{number(found['near'])} will miss the deadline of {_span(found['deadline'])} soon.")
    if found["p50"] is not None and not only_open:
        print(
            f"Partners acknowledged half of the last 30 days' within {_span(found['p50'])}, "
            f"95 % within {_span(found['p95'])}."
        )


def _given(value: str | None) -> str | None:
    return sys.stdin.readline().strip() if value == _STDIN else value


def _open(app: App) -> list[dict[str, Any]]:
    names = {one.sequence: one.id for one in app.ledger.withdrawals()}
    return [
        asdict(row) | {"withdrawal": names[row.sequence]}
        for row in app.ledger.withdrawal_deliveries(only_open=True)
    ]


def _unacknowledged(progress: dict[str, Any]) -> int:
    states = progress["destinations"]
    return sum(states.get(state, 0) for state in ("queued", "sent"))


def _tell(
    app: App, received: Received, progress: dict[str, Any], worked: Worked, partner: str | None
) -> None:
    from audience_sync.cli.written import number  # noqa: PLC0415 - keeps --help light

    count, one = app.discretion.count, received.people == 1
    told = number(count(received.people))
    people = "1 person withdraws" if told == "1" else f"{told} people withdraw"
    print(f"Recorded {', '.join(received.withdrawals)}: {people}.")
    if received.unusable:
        print(_unread(number(count(received.unusable)), received))
    if progress["missing"]:
        print(_missing(number(count(progress["missing"])), one=one))
    print(_reached(progress, "this person" if one else "any of them", partner))
    if _unacknowledged(progress):
        for reason in worked.reasons:
            print(f"  {reason}")
        print("It is tried again; `audience-sync withdrawals --deliver` does so now.")


def _unread(count: str, received: Received) -> str:
    """Which rows somebody should mend."""
    rows, no = [str(row) for row in received.unusable_rows], "no identifier that can be read"
    counted = "rows are counted without the header"
    if received.unusable == 1:
        found = f"Row {rows[0]} holds {no} and was left out: mend it and withdraw it again"
    elif len(rows) == received.unusable:
        named = f"{', '.join(rows[:-1])} and {rows[-1]}"
        found = f"Rows {named} hold {no} and were left out: mend them and withdraw them again"
    else:
        named = ", ".join(rows)
        found = f"{count} rows hold {no} and were left out, as rows {named}: mend them"
    return f"{found} ({counted})."


def _reached(progress: dict[str, Any], them: str, partner: str | None) -> str:
    there = f" at {partner}" if partner else ""
    blocked = f"every future addition{there} is blocked"
    held, left = progress["held"], _unacknowledged(progress)
    if not held:
        return f"Nothing had to be removed, since no list{there} holds {them}; {blocked}."
    where = f"destinations that {'may hold' if left else 'held'} {them}"
    return f"Acknowledged at {held - left} of {held} {where}; {blocked}."


def _missing(count: str, *, one: bool) -> str:
    if one:
        return "Note that the source has no customer with this id, so that only the id is refused."
    ids = "1 customer id is" if count == "1" else f"{count} customer ids are"
    return f"{ids} not in the source, so that only the ids themselves are refused."


def _span(seconds: float) -> str:
    minute, hour = 60, 3600
    if seconds < minute:
        return f"{seconds:.1f} s"
    return f"{seconds / minute:.0f} min" if seconds < hour else f"{seconds / hour:.0f} h"
