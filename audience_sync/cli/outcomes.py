"""Runs as people read them: funnel, delta, what was reached, what a held run needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from audience_sync.cli.written import console, narrow, number
from audience_sync.errors import AudienceSyncError, BusyError
from audience_sync.ledger.records.runs import BatchState, RunState

if TYPE_CHECKING:
    from audience_sync.ledger.records.runs import Batch, RemoteList, Run
    from audience_sync.runs.outcome import Outcome

DELETED = "deleted"  # what a list reached that the partner does not have any more
_REASONS, _NAMES = 22, 14  # characters that what rows begin with takes at least
_SIDE_BY_SIDE = 3  # funnels; more do not fit into 80 columns
_BESIDE = "unknown_consent_values"  # shown below the sum, since it is no part of it
_ENDS = ("rows_read", "members", "order_lines")
_COLOURS = {
    RunState.CONFIRMED: "green",
    RunState.DELIVERED: "green",
    RunState.HELD: "yellow",
    RunState.FAILED: "red",
}


def print_funnels(runs: Sequence[Run]) -> None:
    """How many rows each judgement dropped, for each audience; equal funnels are shown once.

    Where destinations differ and there is no room for a column each, counts are spans.
    """
    # Orders are judged for other reasons than customers, so they have a table of their own.
    for _, alike in groupby(_by_audience(runs), key=lambda found: tuple(found[1][0].funnel)):
        audiences = list(alike)
        columns = [column for name, of_it in audiences for column in _columns(name, of_it)]
        if len(columns) > _SIDE_BY_SIDE:
            columns = [(name, [run.funnel for run in of_it]) for name, of_it in audiences]
        for start in range(0, len(columns), _SIDE_BY_SIDE):
            _print_funnel(columns[start : start + _SIDE_BY_SIDE])


_Column = tuple[str, Sequence[Mapping[str, int]]]  # its head, and the funnels that it sums up


def _by_audience(runs: Sequence[Run]) -> Iterator[tuple[str, Sequence[Run]]]:
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run.audience, []).append(run)
    yield from found.items()


def _columns(audience: str, runs: Sequence[Run]) -> list[_Column]:
    """One for all destinations where they are alike, else one each."""
    if all(dict(run.funnel) == dict(runs[0].funnel) for run in runs):
        return [(audience, [runs[0].funnel])]
    return [(f"{audience}\nat {run.destination}", [run.funnel]) for run in runs]


def _print_funnel(columns: Sequence[_Column]) -> None:
    from audience_sync.cli.whole import plain_table  # noqa: PLC0415 - keeps --help light

    names = [name for name, _ in columns]
    table = plain_table("", *names, right=names)
    table.columns[0].min_width = _REASONS
    for key in columns[0][1][0]:
        counts = [[funnel.get(key, 0) for funnel in funnels] for _, funnels in columns]
        if key == _BESIDE or (key not in _ENDS and not any(map(any, counts))):
            continue
        sign = "" if key in _ENDS else "- "
        cells = [_told(each) or _spanned(sign, min(each), max(each)) for each in counts]
        table.add_row(key.replace("_", " "), *cells, style="bold" if key in _ENDS else None)
    output = console()
    output.print(table)
    beside = [funnel.get(_BESIDE, 0) for _, funnels in columns for funnel in funnels]
    unknown = _told(beside) or max(beside)
    if unknown:
        output.print(
            f"[yellow]{number(unknown)} rows hold a consent value that nobody knows; "
            "they count as no consent[/]"
        )
    if any(len({tuple(funnel.items()) for funnel in funnels}) > 1 for _, funnels in columns):
        output.print("[dim]Destinations take different kinds; `audience-sync run RUN` has each[/]")
    output.print()


def _spanned(sign: str, least: int, most: int) -> str:
    if not most:
        return "[dim]0[/]"
    return f"{sign}{number(most)}" if least == most else f"{sign}{number(least)} to {number(most)}"


def print_outcomes(
    outcomes: Sequence[Outcome],
    reached: Mapping[str, str],
    withheld: Mapping[str, int | str],
    *,
    kept: bool = True,
) -> None:
    """One line a list, and below it a sentence for each that needs somebody."""
    from audience_sync.cli.whole import plain_table  # noqa: PLC0415 - keeps --help light

    counted = ("members", "added", "removed")
    table = plain_table("", *counted, *(["run"] if kept else []), "reached", right=counted)
    table.columns[0].min_width = _NAMES
    last = None
    for outcome in outcomes:
        if outcome.audience != last:
            table.add_row(f"[bold]{outcome.audience}[/]")
            last = outcome.audience
        *counts, run, word = _cells(outcome, reached)
        table.add_row(f"  {outcome.destination}", *counts, *([run] if kept else []), word)
    output = console()
    output.print(table)
    if any(one.run is not None and one.run.funnel.get("rows_read") == 0 for one in outcomes):
        output.print("\nThe source has no rows; `audience-sync check` looks at it.")
    for sentence in (*sentences(outcomes, kept=kept), *withheld_sentences(outcomes, withheld)):
        output.print(f"\n{sentence}")


def _cells(outcome: Outcome, reached: Mapping[str, str]) -> tuple[str, ...]:
    run = outcome.run
    if run is None:
        word = "busy" if isinstance(outcome.error, BusyError) else "failed"
        return ("", "", "", "", f"[yellow]{word}[/]")
    delta = run.delta
    word = reached.get(run.id, run.state.value)
    if outcome.error is not None and run.state is RunState.DELIVERING:
        word = "interrupted"
    colour = _COLOURS.get(run.state, "yellow" if outcome.error else "default")
    return (
        narrow(number(delta.get("wanted", 0))),
        _signed("+", delta.get("additions", 0)),
        _signed("-", delta.get("removals", 0)),
        run.id,
        f"[{colour}]{word}[/]",
    )


def _told(counts: Sequence[int | str]) -> str | None:
    """A word in the place of counts of which one is not told."""
    return next((count for count in counts if isinstance(count, str)), None)


def _signed(sign: str, count: int | str) -> str:
    if isinstance(count, str):  # not told
        return narrow(count)
    return f"{sign}{number(count)}" if count else "[dim]0[/]"


def sentences(outcomes: Sequence[Outcome], *, kept: bool = True) -> Iterator[str]:
    """What went otherwise than wished, and what a person can do about it while runs are kept."""
    yield from _replaced(outcomes)
    for outcome in outcomes:
        where = f"[bold]{outcome.audience}[/] at [bold]{outcome.destination}[/]"
        run = outcome.run
        if outcome.error is not None:
            yield f"{where}: {outcome.error}{_remedy(run, outcome.error)}"
        elif run is not None and run.state is RunState.HELD:
            choices = (
                f"\n  audience-sync approve {run.id}   sends it as it is"
                f"\n  audience-sync cancel {run.id}    drops it"
            )
            yield f"{where} is held: {run.reason}.{choices if kept else ''}"
        elif run is not None and (run.state is RunState.FAILED or _says_more(run)):
            yield f"{where}: {run.reason}"
        elif run is not None and run.funnel.get("awaiting_answer"):
            lines = number(run.funnel["awaiting_answer"])
            yield f"{where}: {lines} lines wait for an answer; `audience-sync orders` tells which"


def _replaced(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """One sentence for all plans that newer ones took the place of."""
    older = [
        f"{run} of [bold]{outcome.audience}[/] at [bold]{outcome.destination}[/]"
        for outcome in outcomes
        for run in outcome.replaced
    ]
    if len(older) == 1:
        yield f"The older plan {older[0]} was cancelled for a newer one."
    elif older:
        yield f"{len(older)} older plans were cancelled for newer ones: {', '.join(older)}."


def withheld_sentences(
    outcomes: Sequence[Outcome], withheld: Mapping[str, int | str]
) -> Iterator[str]:
    """How many who were planned withdrew before they were sent, by the run's id."""
    for outcome in outcomes:
        count = 0 if outcome.run is None else withheld.get(outcome.run.id, 0)
        if count:
            where = f"[bold]{outcome.audience}[/] at [bold]{outcome.destination}[/]"
            yield f"{where}: {number(count)} withheld, because they withdrew."


def _says_more(run: Run) -> bool:
    """Whether a run that ended well has something to tell: not all that was sent was taken."""
    changed = run.outbox is not None or run.delta.get("vanished", 0) > 0
    return changed and run.reason is not None


def _remedy(run: Run | None, error: AudienceSyncError) -> str:
    if run is None or run.state is not RunState.DELIVERING or isinstance(error, BusyError):
        return ""
    return f".\n  audience-sync resume {run.id}   goes on where it stopped"


def reached_by(run: Run, batches: Sequence[Batch], remote: RemoteList | None) -> str:
    """How far a delivery is known to have come: accepted, processed or matched (L13)."""
    if run.state is RunState.CONFIRMED and not batches:
        return "unchanged"
    if run.state not in (RunState.DELIVERED, RunState.CONFIRMED):
        return run.state.value
    if run.state is RunState.DELIVERED:
        return "accepted"
    told: Mapping[str, Any] = {} if remote is None else remote.statistics
    if told.get("match_range"):
        return f"matched {told['match_range']}"
    answered_later = any(batch.state is BatchState.CONFIRMED for batch in batches)
    return "processed" if answered_later or told.get("usable") else "accepted"
