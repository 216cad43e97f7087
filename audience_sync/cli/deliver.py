"""`plan` and `sync`: the two commands that read customers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audience_sync.cli import codes, options
from audience_sync.cli.progress import working
from audience_sync.cli.session import opened

if TYPE_CHECKING:
    from audience_sync.app import App
    from audience_sync.ledger.records.runs import Run
    from audience_sync.runs.outcome import Outcome

_FUNNELS = 6  # of more audiences at once, `run RUN` shows each


def register(application: typer.Typer) -> None:
    """Add the commands of this file."""
    application.command()(plan)
    application.command()(sync)


def plan(
    context: typer.Context,
    audience: options.Audience,
    destination: options.OfDestination = None,
    as_json: options.Json = False,
) -> int:
    """Show what a sync would do: funnel, delta, guards. Keeps the run; sends nothing."""
    from audience_sync.cli.written import tell  # noqa: PLC0415 - keeps --help light

    with opened(watched=not as_json, debug=context.obj["debug"]) as app:
        with working(app.progress):
            outcomes = app.sync([audience], destination, deliver=False)
        warnings = app.warnings(audience)
        if as_json:
            _print_json(app, outcomes, more={"warnings": warnings} if warnings else {})
        else:
            _print(app, outcomes)
            _print_next(outcomes)
            for warning in warnings:
                tell([f"\nWarning: {warning}"])
    return codes.of_outcomes(outcomes)


def sync(
    context: typer.Context,
    audiences: options.Audiences = None,
    destination: options.OfDestination = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Plan, show, and throw the plan away.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Send what a guard would hold; the log says who did it."),
    ] = False,
    as_json: options.Json = False,
) -> int:
    """Bring audiences up to date: plan, then deliver."""
    from audience_sync.cli.written import tell  # noqa: PLC0415 - keeps --help light

    if dry_run and force:
        raise typer.BadParameter("--dry-run sends nothing, so there is nothing to --force")
    with opened(watched=not as_json, debug=context.obj["debug"]) as app:
        with working(app.progress):
            outcomes = app.sync(audiences or (), destination, keep=not dry_run, force=force)
        if as_json:
            _print_json(app, outcomes, kept=not dry_run)
        else:
            _print(app, outcomes, kept=not dry_run)
            if dry_run:
                tell(["\nThis was a dry run: nothing was sent, and the plan is forgotten."])
    return codes.of_outcomes(outcomes)


def _print(app: App, outcomes: Sequence[Outcome], *, kept: bool = True) -> None:
    from audience_sync.cli.outcomes import (  # noqa: PLC0415 - keeps --help light
        print_funnels,
        print_outcomes,
    )

    outcomes = discreet(app, outcomes)
    runs = [outcome.run for outcome in outcomes if outcome.run is not None]
    if runs and len({run.audience for run in runs}) <= _FUNNELS:
        print_funnels(runs)
    print_outcomes(outcomes, reached(app, outcomes), withheld(app, outcomes), kept=kept)


def discreet(app: App, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes with no count that the project does not show."""
    from dataclasses import replace  # noqa: PLC0415 - keeps --help light

    shown = iter(app.discretion.runs([o.run for o in outcomes if o.run is not None]))
    return [o if o.run is None else replace(o, run=next(shown)) for o in outcomes]


def reached(app: App, outcomes: Sequence[Outcome]) -> dict[str, str]:
    """How far each run came, by its id."""
    from audience_sync.cli.outcomes import reached_by  # noqa: PLC0415 - keeps --help light

    found = {}
    for outcome in outcomes:
        if outcome.run is not None:
            run = outcome.run
            remote = app.ledger.remote_list(run.audience, run.destination)
            found[run.id] = reached_by(run, app.ledger.batches(run.id), remote)
    return found


def withheld(app: App, outcomes: Sequence[Outcome]) -> dict[str, int | str]:
    """How many each run left out because they withdrew after the plan, by its id."""
    runs = [outcome.run for outcome in outcomes if outcome.run is not None]
    return {
        run.id: app.discretion.count(sum(batch.withheld for batch in app.ledger.batches(run.id)))
        for run in runs
    }


def _print_next(outcomes: Sequence[Outcome]) -> None:
    from audience_sync.ledger.records.runs import RunState  # noqa: PLC0415 - keeps --help light

    planned = [
        outcome.run
        for outcome in outcomes
        if outcome.run is not None and outcome.run.state is RunState.PLANNED
    ]
    if planned:
        print("\nNothing was sent. These plans are kept until you say:")
    for run in planned:
        print(f"  audience-sync approve {run.id}   delivers it to {run.destination}")


def _print_json(
    app: App,
    outcomes: Sequence[Outcome],
    *,
    kept: bool = True,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    from audience_sync.cli.written import print_json  # noqa: PLC0415 - keeps --help light

    print_json({"outcomes": outcome_objects(app, outcomes, kept=kept), **more})


def outcome_objects(
    app: App, outcomes: Sequence[Outcome], *, kept: bool = True
) -> list[dict[str, Any]]:
    """Each list's outcome as JSON has it; a run that is not kept has no id."""
    far, left_out = reached(app, outcomes), withheld(app, outcomes)
    return [
        {
            "audience": outcome.audience,
            "destination": outcome.destination,
            "run": outcome.run if kept else _nameless(outcome.run),
            "reached": far.get(outcome.run.id) if outcome.run is not None else None,
            "withheld": left_out.get(outcome.run.id) if outcome.run is not None else None,
            "error": None if outcome.error is None else str(outcome.error),
            "replaced": outcome.replaced,
        }
        for outcome in discreet(app, outcomes)
    ]


def _nameless(run: Run | None) -> dict[str, Any] | None:
    """A run that nobody can look at any more."""
    from dataclasses import fields  # noqa: PLC0415 - keeps --help light

    if run is None:
        return None
    return {field.name: getattr(run, field.name) for field in fields(run)} | {"id": None}
