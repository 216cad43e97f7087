"""`status`, `runs` and `run`: what was done, and what each destination holds."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audience_sync.cli import codes, options
from audience_sync.cli.canaries import tell_alerts
from audience_sync.cli.jobs import jobs_under_way, print_jobs
from audience_sync.cli.session import opened
from audience_sync.cli.withdrawals import clock_object, tell_clock

if TYPE_CHECKING:
    from audience_sync.app import App
    from audience_sync.ledger.records.runs import RemoteList, Run
    from audience_sync.project import Audience
    from audience_sync.project.model import Scheduled

_SHOWN = 20  # runs


def register(application: typer.Typer) -> None:
    """Add the commands of this file."""
    for command in (status, runs, run):
        application.command()(command)


def status(
    context: typer.Context,
    poll: Annotated[
        bool, typer.Option("--poll", help="First ask the partners what became of deliveries.")
    ] = False,
    as_json: options.Json = False,
) -> int:
    """Show what each destination holds, the last run and the next."""
    with opened(debug=context.obj["debug"]) as app:
        outcomes = app.ask_partners() if poll else []
        places = [
            _place(app, audience, destination)
            for audience in app.project.audiences.values()
            for destination in audience.destinations
        ]
        places += _reports(app)
        places = _discreet(app, places + _left_over(app, places))
        if as_json:
            from audience_sync.cli.written import print_json  # noqa: PLC0415 - keeps --help light

            found = {"lists": places, "jobs": jobs_under_way(app), "canaries": app.canaries()}
            found["withdrawals"] = clock_object(app)
            print_json(found)
        else:
            from audience_sync.cli.lists import print_lists  # noqa: PLC0415 - keeps --help light

            print_lists(places, app.now())
            print_jobs(jobs_under_way(app))
            _tell_interrupted(app, places)
            tell_alerts(app.canaries())
            tell_clock(clock_object(app), only_open=True)
        _tell_failures(outcomes)
    return codes.of_outcomes([o for o in outcomes if o.error is not None])


def _tell_interrupted(app: App, places: list[dict[str, Any]]) -> None:
    """Deliveries that no process is at work on, and how they go on."""
    from audience_sync.cli.written import clock, tell  # noqa: PLC0415 - the same
    from audience_sync.holder import alive  # noqa: PLC0415 - keeps --help light
    from audience_sync.ledger.records.runs import RunState  # noqa: PLC0415 - the same

    busy = {lease.name for lease in app.ledger.leases_held("") if alive(lease.holder)}
    for place in places:
        run: Run | None = place["last_run"]
        if run is None or run.state is not RunState.DELIVERING or run.lease_name in busy:
            continue
        print()
        told = f"The delivery of {run.audience} to {run.destination} stopped on its way"
        if run.reason is not None:
            told += f": {run.reason}"
        tell([f"{told}.", f"  audience-sync resume {run.id}   goes on where it stopped"])
        if run.next_attempt_at is not None:
            at = f"after {clock(run.next_attempt_at, app.project.timezone)}"
            who = "A worker does it by itself" if app.settings.broker_url else "The next sync does"
            print(f"  {who} {at}.")


def _tell_failures(outcomes: list[Any]) -> None:
    from audience_sync.cli.ending import say  # noqa: PLC0415 - keeps --help light

    for outcome in outcomes:
        if outcome.error is not None:
            say(f"{outcome.audience} at {outcome.destination}: {outcome.error}")


def _place(app: App, audience: Audience, destination: str) -> dict[str, Any]:
    from audience_sync.cli.outcomes import DELETED, reached_by  # noqa: PLC0415 - keeps --help light

    remote = app.ledger.remote_list(audience.name, destination)
    last = app.ledger.last_run(audience.name, destination)
    changed = last
    if last is not None and last.outbox is None:
        from audience_sync.ledger.records.runs import RunState  # noqa: PLC0415 - keeps --help light

        ended = [RunState.DELIVERED, RunState.CONFIRMED]
        changed = next(
            (
                run
                for run in app.ledger.runs(
                    audience=audience.name, destination=destination, states=ended, limit=100
                )
                if run.outbox is not None
            ),
            last,
        )
    reached, gone = None, is_gone(remote, changed)
    if changed is not None:
        reached = reached_by(changed, app.ledger.batches(changed.id), remote)
    return {
        "audience": audience.name,
        "title": audience.title,
        "destination": destination,
        "remote_id": remote.remote_id,
        "members": remote.members,
        "reached": DELETED if gone else reached,
        "last_run": last,
        "schedule": audience.schedule,
        "next_run_at": next_run(audience, app.now()),
        **_served(app, audience),
        "told_by_partner": {} if gone else dict(remote.statistics),
        "in_project": True,
    }


def is_gone(remote: RemoteList, sent: Run | None) -> bool:
    """Whether the partner had a list and has none: it was deleted, and the next sync makes another.

    `sent` is the last run that had something to send.
    """
    from audience_sync.ledger.records.runs import RunState  # noqa: PLC0415 - keeps --help light

    ended = sent is not None and sent.state in (RunState.DELIVERED, RunState.CONFIRMED)
    told = ended and sent is not None and sent.outbox is not None
    return remote.remote_id is None and (told or bool(remote.manifest.get("run")))


def _reports(app: App) -> list[dict[str, Any]]:
    """Destinations that are told of orders; those count in place of members."""
    reports = app.project.orders
    if reports is None:
        return []
    found: list[dict[str, Any]] = []
    for destination in reports.destinations:
        last = app.ledger.last_run(reports.name, destination)
        found.append(
            {
                "audience": reports.name,
                "title": reports.title,
                "destination": destination,
                "remote_id": None,
                "members": app.ledger.reported_orders(destination),
                "reached": None if last is None else _reached(app, last),
                "last_run": last,
                "schedule": reports.schedule,
                "next_run_at": next_run(reports, app.now()),
                **_served(app, reports),
                "told_by_partner": {},
                "in_project": True,
            }
        )
    return found


def _served(app: App, audience: Scheduled) -> dict[str, Any]:
    """What became of the last due time; its note says what was skipped or failed."""
    if audience.schedule is None:
        return {}
    served = app.ledger.served(audience.name)
    return {
        "timezone": str(audience.timezone),
        "served_at": served and served.served_at,
        "schedule_note": served and served.note,
        "late_since": app.calendar.late_since(audience),
    }


def _left_over(app: App, places: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lists that the project no longer names, but that still hold members."""
    named = {(place["audience"], place["destination"]) for place in places}
    return [
        {
            "audience": remote.audience,
            "title": "no longer in the project",
            "destination": remote.destination,
            "remote_id": remote.remote_id,
            "members": remote.members,
            "reached": None,
            "last_run": app.ledger.last_run(remote.audience, remote.destination),
            "schedule": None,
            "next_run_at": None,
            "told_by_partner": dict(remote.statistics),
            "in_project": False,
        }
        for remote in app.ledger.remote_lists()
        if remote.members and (remote.audience, remote.destination) not in named
    ]


def _discreet(app: App, places: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The places with no count that the project does not show, nor one that tells such a count."""
    discretion, runs = app.discretion, [place["last_run"] for place in places]
    shown = iter(discretion.runs([run for run in runs if run is not None]))
    told = []
    for place, run in zip(places, runs, strict=True):
        last = None if run is None else next(shown)
        members = discretion.beside(place["members"], run, last)
        sizes = discretion.counts(place["told_by_partner"], "size_lower", "size_upper")
        told.append(place | {"members": members, "last_run": last, "told_by_partner": sizes})
    return told


def next_run(audience: Scheduled, now: datetime) -> datetime | None:
    """When the schedule, in the audience's timezone, is due next."""
    if audience.schedule is None:
        return None
    from audience_sync.cron import next_due  # noqa: PLC0415 - keeps --help light

    return next_due(audience.schedule, audience.timezone, now)


def runs(
    context: typer.Context,
    audience: options.OfAudience = None,
    destination: options.OfDestination = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = _SHOWN,
    as_json: options.Json = False,
) -> int:
    """List the runs, newest first."""
    with opened(debug=context.obj["debug"]) as app:
        listed = app.ledger.runs(audience=audience, destination=destination, limit=limit)
        found = app.discretion.runs(listed)
        if as_json:
            from audience_sync.cli.written import print_json  # noqa: PLC0415 - keeps --help light

            print_json({"runs": found})
        else:
            from audience_sync.cli.lists import print_runs  # noqa: PLC0415 - keeps --help light

            print_runs(found, app.now(), app.project.timezone)
    return codes.DONE


def run(context: typer.Context, run: options.RunId, as_json: options.Json = False) -> int:
    """Show one run: funnel, delta, batches, and what it needs."""
    with opened(debug=context.obj["debug"]) as app:
        found = app.discretion.run(app.ledger.run(run))
        known = app.ledger.batches(found.id)
        withheld = app.discretion.count(sum(batch.withheld for batch in known))
        batches = app.discretion.batches(known)
        if as_json:
            from audience_sync.cli.written import print_json  # noqa: PLC0415 - keeps --help light

            reached = _reached(app, found)
            told = {"run": found, "reached": reached, "withheld": withheld, "batches": batches}
            print_json(told)
        else:
            from audience_sync.cli.lists import print_run  # noqa: PLC0415 - keeps --help light

            print_run(found, batches, _reached(app, found), withheld, app.project.timezone)
    return codes.DONE


def _reached(app: App, run: Run) -> str:
    from audience_sync.cli.outcomes import reached_by  # noqa: PLC0415 - keeps --help light

    remote = app.ledger.remote_list(run.audience, run.destination)
    return reached_by(run, app.ledger.batches(run.id), remote)
