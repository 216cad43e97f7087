"""The tables of `status`, `runs` and `run`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from rich.markup import escape

from audience_sync.cli.outcomes import DELETED, print_funnels, sentences, withheld_sentences
from audience_sync.cli.whole import plain_table
from audience_sync.cli.written import (
    ago,
    ahead,
    clock,
    console,
    in_zone,
    narrow,
    number,
    short,
)
from audience_sync.ledger.records.runs import RunState

if TYPE_CHECKING:
    from audience_sync.ledger.records.runs import Batch, Run

_BATCHES = 12  # shown; the others are counted
_WORD = {
    RunState.HELD: "[yellow]held[/]",
    RunState.FAILED: "[red]failed[/]",
    RunState.DELIVERING: "[yellow]delivering[/]",
}


def print_lists(places: Sequence[Mapping[str, Any]], now: datetime) -> None:
    """What each destination holds, by audience."""
    table = plain_table(
        "", "members", "reached", "last run", "next run", "partner says", right=["members"]
    )
    last = None
    for place in places:
        if place["audience"] != last:
            table.add_row(f"[bold]{place['audience']}[/]")
            last = place["audience"]
        run: Run | None = place["last_run"]
        table.add_row(
            f"  {place['destination']}",
            narrow(number(place["members"])),
            "-" if run is None else _word(run, place),
            "never" if run is None else ago(run.planned_at, now),
            _next(place, now),
            told(place["told_by_partner"], in_project=place["in_project"]),
        )
    output = console()
    output.print(table if places else "No audiences; add one under `audiences:`.")
    for place in places:
        if place["reached"] == DELETED:
            where = f"[bold]{place['audience']}[/] at [bold]{place['destination']}[/]"
            output.print(f"The list of {where} was deleted; the next sync makes another.")
    _print_schedules(places)


def _next(place: Mapping[str, Any], now: datetime) -> str:
    due = place["next_run_at"]
    if due is None:
        return "on demand"
    return "[yellow]overdue[/]" if place["late_since"] else ahead(due, now)


def _print_schedules(places: Sequence[Mapping[str, Any]]) -> None:
    """When each audience is due next, on the clocks of its schedule, and what was skipped."""
    scheduled = {place["audience"]: place for place in places if place["next_run_at"] is not None}
    output = console()
    for name, place in scheduled.items():
        zone, late = place["timezone"], place["late_since"]
        due = (late or place["next_run_at"]).astimezone(ZoneInfo(zone))
        told = f"{due:%a %d %b %H:%M} {zone}"
        if late is None:
            output.print(f"[dim]{name} is due {told}[/]")
        else:
            output.print(f"[yellow]{name} is due since {told}; is `audience-sync beat` running?[/]")
        if place["schedule_note"]:
            output.print(f"[yellow]{name}, last time: {escape(place['schedule_note'])}[/]")


def _word(run: Run, place: Mapping[str, Any]) -> str:
    if place["reached"] == DELETED:
        return f"[yellow]{DELETED}[/]"
    if run.state in (RunState.DELIVERED, RunState.CONFIRMED):
        return str(place["reached"] or run.state.value).partition(" ")[
            0
        ]  # the range stands beside it
    return _WORD.get(run.state, run.state.value)


def told(statistics: Mapping[str, Any], *, in_project: bool = True) -> str:
    """What a partner tells of a list, in a few words."""
    lower, upper = statistics.get("size_lower"), statistics.get("size_upper")
    words = [] if in_project else ["no longer in the project"]
    if lower is not None and upper is not None:
        same = lower == upper
        words.append(number(lower) if same else f"{number(lower)}-{number(upper)}")
    if statistics.get("match_range"):
        words.append(f"match {statistics['match_range']}")
    if statistics.get("status") and statistics.get("usable") is not True:
        words.append(str(statistics["status"]))
    return escape(", ".join(words)) or "-"


def print_runs(runs: Sequence[Run], now: datetime, zone: tzinfo) -> None:
    """One line a run."""
    table = plain_table(
        "run",
        in_zone("planned", zone),
        "list",
        "state",
        "added",
        "removed",
        right=["added", "removed"],
    )
    for run in runs:
        silent = run.outbox is None
        table.add_row(
            run.id,
            short(run.planned_at, now, zone),
            f"{run.audience}, {run.destination}",
            "unchanged" if silent else _WORD.get(run.state, run.state.value),
            "" if silent else narrow(number(run.delta.get("additions", 0))),
            "" if silent else narrow(number(run.delta.get("removals", 0))),
        )
    found = table if runs else "No runs yet; `audience-sync sync` makes some."
    console().print(found)


def print_run(
    run: Run, batches: Sequence[Batch], reached: str, withheld: int | str, zone: tzinfo
) -> None:
    """All about one run."""
    from audience_sync.runs.outcome import Outcome  # noqa: PLC0415 - keeps --help light

    output = console()
    output.print(f"[bold]{run.id}[/]  {run.audience} at {run.destination}\n")
    facts = plain_table("", "")
    facts.show_header = False
    delta = run.delta
    rows = {
        "state": run.state.value,
        "reached": reached,
        "planned": clock(run.planned_at, zone),
        "started": clock(run.started_at, zone),
        "finished": clock(run.finished_at, zone),
        "delta": f"{number(delta.get('held', 0))} held, {number(delta.get('wanted', 0))} wanted: "
        f"{number(delta.get('additions', 0))} to add, {number(delta.get('removals', 0))} to remove "
        f"({number(delta.get('refused', 0))} of them because the person said so), "
        f"{number(delta.get('unchanged', 0))} unchanged",
        "forms": ", ".join(f"{kind}={form}" for kind, form in run.forms.items()),
        "outbox": run.outbox or "-",
    }
    if run.approved_by is not None:
        rows["forced by" if run.forced else "approved by"] = run.approved_by
    if run.reason is not None and run.state is not RunState.HELD:
        rows["reason"] = run.reason
    for name, text in rows.items():
        facts.add_row(f"[bold]{name}[/]", escape(text))
    output.print(facts)
    output.print()
    print_funnels([run])
    if batches:
        _print_batches(batches)
    alone = [Outcome(audience=run.audience, destination=run.destination, run=run)]
    for sentence in (*sentences(alone), *withheld_sentences(alone, {run.id: withheld})):
        output.print(f"\n{sentence}")


def _print_batches(batches: Sequence[Batch]) -> None:
    numbers = ("members", "accepted", "rejected", "unattributed")
    table = plain_table("batch", "operation", *numbers, "state", right=["batch", *numbers])
    for batch in batches[:_BATCHES]:
        counts = (batch.members, batch.accepted, batch.rejected, batch.unattributed)
        table.add_row(
            str(batch.position), batch.operation.value, *map(number, counts), batch.state.value
        )
    output = console()
    output.print(table)
    if len(batches) > _BATCHES:
        output.print(f"[dim]and {number(len(batches) - _BATCHES)} batches more[/]")
