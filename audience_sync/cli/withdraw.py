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
from audience_sync.cli.taken_away import lists_taken_away, tell_taken_away

if TYPE_CHECKING:
    from audience_sync.app import App
    from audience_sync.runs.lane import Worked
    from audience_sync.runs.withdrawal_requests import Received

_ELSEWHERE = (  # who has a phone or a device is known from lists that hold it
    "A list that holds this person by other identifiers lets go at once where any list shows that "
    "they are the same, else with the next sync; give the --customer-id, too, and it does at once."
)
WAIT = 10.0  # seconds that a command stays with what is nearly done

CustomerId = Annotated[
    str | None, typer.Option(help="The customer's own key, or - to read it from stdin.")
]
Email = Annotated[str | None, typer.Option(help="An e-mail address, or - to read it from stdin.")]
Phone = Annotated[str | None, typer.Option(help="A phone number, or - to read it from stdin.")]
Device = Annotated[str | None, typer.Option(help="A device ID, or - to read it from stdin.")]
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
    file: People = None,
    partner: Partner = None,
    as_json: options.Json = False,
) -> int:
    """Take people who withdraw off every list, at once.

    From then on nobody named is added anywhere, past plans, held runs and schedules. Exit code 4
    when a partner has not acknowledged yet: it is tried again until it has; 2 when rows of a file
    cannot be read, of which the others are taken.
    """
    named = {"customer_id": customer_id, "email": email, "phone": phone, "device": device}
    with opened(debug=context.obj["debug"]) as app:
        received = _received(app, named, file, partner)
        before = app.ledger.newest_line()
        worked = app.withdrawals.deliver(WAIT)
        progress = dict(app.withdrawals.progress(received.withdrawals))
        away = lists_taken_away(app, before)
        if as_json:
            _print_json(app, received, progress | {"taken_away": away}, worked)
        else:
            partly = file is None and not email and not customer_id
            _tell(app, received, progress, worked, partner, partly=partly)
            tell_taken_away(away)
    if received.unusable:
        return codes.USAGE
    return codes.PARTLY if _unacknowledged(progress) else codes.DONE


def _received(
    app: App, named: Mapping[str, str | None], file: str | None, partner: str | None
) -> Received:
    """Take in one person, or the many of a file."""
    if file is None:
        from audience_sync.withdrawing import one_person  # noqa: PLC0415 - keeps --help light

        given = dict(zip(named, read_values(list(named.values())), strict=True))
        return app.withdrawals.receive([one_person(**given, partner=partner)])
    if any(named.values()):
        from audience_sync.errors import ConfigurationError  # noqa: PLC0415 - as above

        raise ConfigurationError("name one person, or a --file of many, not both")
    if file == STDIN:
        return app.withdrawals.receive_stream(sys.stdin.buffer.read(), partner)
    return app.withdrawals.receive_file(Path(file), partner)


def _print_json(app: App, received: Received, progress: dict[str, Any], worked: Worked) -> None:
    from audience_sync.cli.written import print_json  # noqa: PLC0415 - keeps --help light

    told = progress | {
        "unusable": received.unusable,
        "unusable_rows": received.unusable_rows,
        "reasons": worked.reasons,
    }
    print_json(app.discretion.counts(told, "people", "missing", "unusable"))


def _unacknowledged(progress: dict[str, Any]) -> int:
    states = progress["destinations"]
    return sum(states.get(state, 0) for state in ("queued", "sent"))


def _tell(
    app: App,
    received: Received,
    progress: dict[str, Any],
    worked: Worked,
    partner: str | None,
    *,
    partly: bool,
) -> None:
    from audience_sync.cli.written import number, tell  # noqa: PLC0415 - keeps --help light

    count, one = app.discretion.count, received.people == 1
    told = number(count(received.people))
    people = "1 person withdraws" if told == "1" else f"{told} people withdraw"
    lines = [f"Recorded {', '.join(received.withdrawals)}: {people}."]
    if received.unusable:
        lines.append(_unread(number(count(received.unusable)), received))
    if progress["missing"]:
        lines.append(_missing(number(count(progress["missing"])), one=one))
    lines.append(_reached(progress, "this person" if one else "any of them", partner))
    if _unacknowledged(progress):
        lines += [f"  {reason}" for reason in worked.reasons]
        lines.append("It is tried again; `audience-sync withdrawals --deliver` does so now.")
    tell([*lines, _ELSEWHERE] if partly else lines)


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
