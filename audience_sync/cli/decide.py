"""`approve`, `cancel`, `resume`, `forget`: what a person decides about a run or a list."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from audience_sync.cli import codes, options
from audience_sync.cli.progress import working
from audience_sync.cli.session import opened

if TYPE_CHECKING:
    from audience_sync.app import App
    from audience_sync.ledger.records.runs import Run


def register(application: typer.Typer) -> None:
    """Add the commands of this file."""
    for command in (approve, cancel, resume, forget):
        application.command()(command)


def approve(context: typer.Context, run: options.RunId, as_json: options.Json = False) -> int:
    """Deliver a planned or held run, as it was shown.

    It is the very delta that was shown, not what is true by now. Refused for a plan older than
    seven days, and where the audience no longer names the destination.
    """
    from audience_sync.app import operator  # noqa: PLC0415 - keeps --help light

    def act(app: App, found: Run) -> Run:
        return app.pipeline_of(found).approve(found, operator())

    return _decided(context, run, act, as_json=as_json, tell_age=True)


def cancel(context: typer.Context, run: options.RunId, as_json: options.Json = False) -> int:
    """End a planned, held or interrupted run. What a partner has accepted stays there.

    Workers that deliver it stop after the batch under way. The plan that workers are making is
    named by its job, as `status` shows it.
    """
    if _is_job(context, run):
        return codes.DONE

    def act(app: App, found: Run) -> Run:
        return app.cancel(found)

    return _decided(context, run, act, as_json=as_json)


def resume(context: typer.Context, run: options.RunId, as_json: options.Json = False) -> int:
    """Go on with an interrupted delivery.

    Where the partner still works on a delivery, ask it for the outcome. Of a delivery that workers
    share, do what none of them is at.
    """

    def act(app: App, found: Run) -> Run:
        return app.resume(found)

    return _decided(context, run, act, as_json=as_json)


def forget(
    context: typer.Context, audience: options.Audience, destination: options.ADestination
) -> int:
    """Forget a list that was deleted at its partner.

    The next sync makes a new one. Refused while the partner still has the list.
    """
    from audience_sync.cli.written import tell  # noqa: PLC0415 - keeps --help light

    with opened(debug=context.obj["debug"]) as app:
        app.forget(audience, destination)
    tell([f"Forgotten. `audience-sync sync {audience}` makes a new list at {destination}."])
    return codes.DONE


def _is_job(context: typer.Context, named: str) -> bool:
    """Whether it names the job of a plan; it is ended then."""
    from audience_sync.cli.written import tell  # noqa: PLC0415 - keeps --help light

    with opened(debug=context.obj["debug"]) as app:
        job = next((one for one in app.ledger.jobs() if one.id == named), None)
        if job is None or job.kind != "plan":
            return False
        app.remedies.cancel_plan(job)
    tell(["Cancelled. Nothing of it was sent; `audience-sync sync` plans anew."])
    return True


def _decided(
    context: typer.Context,
    run_id: str,
    act: Callable[[App, Run], Run],
    *,
    as_json: bool,
    tell_age: bool = False,
) -> int:
    with opened(watched=not as_json, debug=context.obj["debug"]) as app:
        from audience_sync.cli.deliver import (  # noqa: PLC0415 - keeps --help light
            discreet,
            outcome_objects,
            reached,
            withheld,
        )
        from audience_sync.cli.outcomes import print_outcomes  # noqa: PLC0415 - the same
        from audience_sync.cli.written import ago, print_json  # noqa: PLC0415 - the same
        from audience_sync.runs.outcome import Outcome  # noqa: PLC0415 - the same

        with working(app.progress):
            run = act(app, app.ledger.run(run_id))
            app.read_statistics(run)
            app.sign_log()
        outcomes = [Outcome(audience=run.audience, destination=run.destination, run=run)]
        if as_json:
            print_json({"outcomes": outcome_objects(app, outcomes)})
        else:
            if tell_age:
                print(f"This was planned {ago(run.planned_at, app.now())}.\n")
            print_outcomes(discreet(app, outcomes), reached(app, outcomes), withheld(app, outcomes))
    return codes.of_outcomes(outcomes)
