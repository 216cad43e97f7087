"""`subject find` and `subject erase`: what is held of one person, and its end.

Values are read from stdin where `-` stands in their place; none is ever printed or logged.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audience_sync.cli import codes, options
from audience_sync.cli.session import opened
from audience_sync.cli.stdin import read_values
from audience_sync.errors import ConfigurationError

if TYPE_CHECKING:
    from audience_sync.access import Erased
    from audience_sync.app import App
    from audience_sync.runs.subject import Findings, Person

_KEPT = "since the partner did not take off those alone who had to leave"
_BECAUSE = {
    "withdrawn": "because you withdrew",
    "list emptied": f"with everybody: the list had to be emptied, {_KEPT}",
    "list deleted": f"with everybody: the list had to be deleted, {_KEPT}",
    "replaced": "since your address changed; it holds you under the new one",
}
_MISSING = (
    "The source does not have this customer id: a list that still holds the person by other "
    "identifiers loses them with the next sync."
)
_RESUME = "audience-sync subject erase --resume {}"
_HIDDEN = "as a value, or - to read it from stdin (the next line)."

Email = Annotated[
    str | None, typer.Option("--email", help=f"E-mail address, {_HIDDEN}", show_default=False)
]
Phone = Annotated[
    str | None, typer.Option("--phone", help=f"Phone number, {_HIDDEN}", show_default=False)
]
Device = Annotated[
    str | None, typer.Option("--device", help=f"Device ID, {_HIDDEN}", show_default=False)
]
CustomerId = Annotated[
    str | None, typer.Option("--customer-id", help=f"Customer id, {_HIDDEN}", show_default=False)
]
Country = Annotated[
    str | None,
    typer.Option(help="Region of a national phone number. Default: policy.default_country."),
]


def register(application: typer.Typer) -> None:
    """Add the commands of this file."""
    group = typer.Typer(help="What is held of one person, and its end.", no_args_is_help=True)
    group.command()(find)
    group.command()(erase)
    application.add_typer(group, name="subject")


def find(
    context: typer.Context,
    email: Email = None,
    phone: Phone = None,
    device: Device = None,
    customer_id: CustomerId = None,
    country: Country = None,
    as_json: options.Json = False,
) -> int:
    """Show which destinations hold a person, since when and why.

    Tells which did before, too. Ends with 0 whether anything is held or not; changes nothing.
    """
    from audience_sync.cli.written import print_json, tell  # noqa: PLC0415 - keeps --help light

    person = _person(email, phone, device, customer_id, country)
    with opened(debug=context.obj["debug"]) as app:
        found = _access(app).subjects.find(person)
        document = _document(app, found)
        if as_json:
            print_json(document)
        else:
            tell(_letter(app, document))
    return codes.DONE


def erase(
    context: typer.Context,
    email: Email = None,
    phone: Phone = None,
    device: Device = None,
    customer_id: CustomerId = None,
    country: Country = None,
    resume: Annotated[
        str | None, typer.Option(help="Go on with an erasure, by the id that it was given.")
    ] = None,
    patience: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for partners to confirm it.")
    ] = 60.0,
    as_json: options.Json = False,
) -> int:
    """Take a person off every list, and delete local traces.

    Waits until the partners confirm it. What keeps them from being added again stays, as digests.
    Ends with 4 while a partner has not; `--resume ID` goes on then, and so do workers.
    """
    with opened(debug=context.obj["debug"]) as app:
        from audience_sync.app import operator  # noqa: PLC0415 - keeps --help light
        from audience_sync.cli.recorded import told_if_cut_off  # noqa: PLC0415 - the same
        from audience_sync.cli.written import print_json, tell  # noqa: PLC0415 - the same

        access = _access(app)
        if resume is not None:
            asked = access.asked(resume)
        else:
            asked = access.ask(_person(email, phone, device, customer_id, country))
        with told_if_cut_off([asked.withdrawal.id], goes_on=_RESUME):
            done = access.erase(asked, patience, operator())
        if as_json:
            print_json(done)
        else:
            tell(_told(done))
    return codes.PARTLY if done.waiting_for else codes.DONE


def _access(app: App) -> Any:
    from audience_sync.access import access_of  # noqa: PLC0415 - keeps --help light

    return access_of(app)


def _person(*given: str | None) -> Person:
    from audience_sync.runs.subject import Person  # noqa: PLC0415 - keeps --help light
    from audience_sync.withdrawing import refuse_no_country  # noqa: PLC0415 - the same

    email, phone, device, customer_id, country = read_values(given)
    if not any((email, phone, device, customer_id)):
        raise ConfigurationError(
            "name the person: --email, --phone, --device or --customer-id, each with - to read it "
            "from stdin"
        )
    refuse_no_country(country)
    return Person(email=email, phone=phone, device=device, customer_id=customer_id, country=country)


def _document(app: App, found: Findings) -> dict[str, Any]:
    """What is known, with the recipients that it went to; no identifier stands in it."""

    def recipient(destination: str) -> dict[str, Any]:
        known = app.project.destinations.get(destination)
        if known is None:
            return {"recipient": None, "recipient_country": None}
        connector = app.installed.connectors[known.connector]
        named = connector.recipient_of(known.settings)
        return {"recipient": named.name, "recipient_country": named.country}

    return {
        "controller": app.project.controller,
        "purpose": app.project.purpose,
        "answered_at": app.now(),
        "held": [_record(place) | recipient(place.destination) for place in found.held],
        "held_before": [_record(trace) | recipient(trace.destination) for trace in found.before],
        "waiting": [
            {"run": run.id, "audience": run.audience, "destination": run.destination,
             "state": run.state}
            for run in found.waiting
        ],
        "withdrawals": [_record(one) for one in found.withdrawn],
    }  # fmt: skip


def _record(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__slots__}


def _letter(app: App, document: dict[str, Any]) -> list[str]:
    """The same as a page that can be sent to the person who asked."""
    lines = [
        f"{document['controller']}",
        f"{_day(document['answered_at'])}",
        "",
        "What we share of you with advertising partners",
        "",
        f"Purpose: {document['purpose']}. Identifiers are shared as hashes, unless stated.",
        "",
    ]
    lines += _held(document["held"]) or ["At the moment no partner holds you on a list of ours."]
    if document["held_before"]:
        lines += ["", "Held before, and taken off since:"]
        lines += [
            f"  - {_whom(one)}: list {one['audience']}, from {_day(one['held_since'])} "
            f"to {_day(one['removed_at'])}{_why(one)}"
            for one in document["held_before"]
        ]
    kept = app.project.retention.traces
    lines += ["", f"Earlier than {kept} ago we keep no record of it."]
    leaving = [one for one in document["held"] if one["removed_for"]]
    if document["waiting"] or leaving:
        lines += ["", "On its way, or waiting to be sent:"]
        lines += [f"  - {one['destination']}: list {one['audience']}, {one['state']} "
                  f"(withdrawal {one['removed_for']})" for one in leaving]  # fmt: skip
        lines += [f"  - {one['destination']}: list {one['audience']} (run {one['run']}, "
                  f"{one['state']})" for one in document["waiting"]]  # fmt: skip
    if document["withdrawals"]:
        lines += ["", "Withdrawals that we recorded:"]
        lines += [f"  - {_withdrawal(app, one)}" for one in document["withdrawals"]]
    return lines


def _withdrawal(app: App, one: dict[str, Any]) -> str:
    """From whom it is, and whether it still counts."""
    partner, lifted = one["partner"], one["lifted_at"]
    known = app.installed.connectors.get(partner)
    title = known.title if known else partner
    whom, where = ("all partners", "anywhere") if partner is None else (f"{title} only", "there")
    told = f"{one['id']}, on {_day(one['received_at'])}, from {whom}."
    if lifted:
        return f"{told} You agreed again later, and are held so at {', '.join(lifted)}."
    return f"{told} It keeps you from being added {where}, unless you agree again later."


def _held(held: Sequence[dict[str, Any]]) -> list[str]:
    lines = ["Partners who hold you on a list of ours:"] if held else []
    for one in held:
        judged = one["judged_at"]
        lines += [
            "",
            f"  {_whom(one)}",
            f"    list          {one['audience']} ({one['state']})",
            f"    since         {_day(one['since'])}",
            f"    identifiers   {', '.join(one['kinds'])}",
            f"    decision      {one['decision']}"
            + ("" if judged is None else f", last read on {_day(judged)}"),
            f"    sent by       {', '.join(one['runs']) or 'a run that is no longer kept'}",
        ]
    return lines


def _whom(one: dict[str, Any]) -> str:
    if one["recipient"] is None:
        return str(one["destination"])
    return f"{one['recipient']}, {one['recipient_country']} ({one['destination']})"


def _why(one: dict[str, Any]) -> str:
    """What took somebody off."""
    because, run = one["because"], one["run"]
    ids = [("run", run), ("withdrawal", one["withdrawal"])]
    named = "".join(f" ({word} {id_})" for word, id_ in ids if id_ is not None)
    words = "" if because is None else f", {_BECAUSE[because]}"
    return f"{words}{named}"


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"


def _lists(count: int) -> str:
    return "1 list" if count == 1 else f"{count} lists"


def _told(done: Erased) -> list[str]:
    if done.waiting_for:
        return [
            f"Recorded as {done.id}: nobody named is added any more.",
            *_waiting(done),
            "Workers and the next sync go on, and so does",
            f"  {_RESUME.format(done.id)}",
        ]
    there = f"{done.destinations} destinations does now"
    lines = [
        f"Erased as {done.id}.",
        f"{_lists(done.lists)} still held the person when it was asked for; none at {there}.",
        f"{done.traces} traces and {done.plans} waiting plans were deleted.",
        "What keeps the person from being added again stays, as digests of their identifiers.",
        "The transfer log holds the proof, without identity.",
    ]
    return [*lines, _MISSING] if done.missing else lines


def _waiting(done: Erased) -> list[str]:
    """What is not over, in the words of `withdrawals`."""
    why = [
        (done.unacknowledged, "Not acknowledged yet by {}."),
        (done.unconfirmed, "Acknowledged, and not confirmed yet, by {}."),
        (done.left_over, "A list or a delivery at {} still has the person."),
    ]
    return [words.format(", ".join(places)) for places, words in why if places]
