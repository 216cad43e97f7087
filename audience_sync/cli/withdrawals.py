"""`withdrawals`: how far each is, how old they are, and what came in by HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audience_sync.cli import codes, options
from audience_sync.cli.session import opened
from audience_sync.cli.taken_away import lists_taken_away, tell_taken_away
from audience_sync.cli.withdraw import WAIT
from audience_sync.errors import AudienceSyncError

if TYPE_CHECKING:
    from audience_sync.app import App

_MINUTE, _HOUR = 60, 3600  # seconds
_SHOWN = 20
_DAYS = 30  # of which it is told what came in by HTTP


def register(application: typer.Typer) -> None:
    """Add the command of this file."""
    application.command()(withdrawals)


def withdrawals(
    context: typer.Context,
    deliver: Annotated[
        bool,
        typer.Option(
            "--deliver",
            help="First look for new refusals in the decisions, and send what is open.",
        ),
    ] = False,
    limit: Annotated[
        int,
        typer.Option(min=0, help="How many open ones, the oldest first; 0 for all. JSON has all."),
    ] = _SHOWN,
    as_json: options.Json = False,
) -> int:
    """Show open withdrawals, and how long the others took.

    Tells the age of the oldest, and what came in by HTTP, too. Exit code 1 when one has missed the
    deadline of the project file, 4 when one soon will.
    """
    from audience_sync.cli.written import tell  # noqa: PLC0415 - keeps --help light

    with opened(debug=context.obj["debug"]) as app:
        before = app.ledger.newest_line()
        if deliver:
            _deliver(app)
        clock, away = clock_object(app), lists_taken_away(app, before) if deliver else []
        if as_json:
            from audience_sync.cli.written import print_json  # noqa: PLC0415 - keeps --help light

            told = {"clock": clock, "open": _open(app), "by_http": _by_http(app)}
            print_json(told | ({"taken_away": away} if deliver else {}))
        else:
            tell_taken_away(away)
            tell_clock(clock)
            shown = _open(app, limit or None)
            tell(map(_told, shown))
            _tell_more(clock["deliveries"], len(shown), limit)
            _tell_by_http(_by_http(app))
    if clock["late"]:
        return codes.FAILED
    return codes.PARTLY if clock["near"] else codes.DONE


def _deliver(app: App) -> None:
    from audience_sync.cli.recorded import left_open_if_cut_off  # noqa: PLC0415 - as above

    with left_open_if_cut_off(app):
        try:
            app.withdrawals.look()
        except AudienceSyncError:  # whoever withdrew before waits for nobody
            app.withdrawals.deliver(WAIT, at_once=True)
            raise
        app.withdrawals.deliver(WAIT, at_once=True)


def clock_object(app: App) -> dict[str, Any]:
    """The ages of withdrawals, for --json."""
    from audience_sync.discretion import HIDDEN  # noqa: PLC0415 - keeps --help light
    from audience_sync.runs.clock import clocked  # noqa: PLC0415 - the same

    deadline = app.project.withdrawals.deadline.total_seconds()
    found = asdict(clocked(app.ledger, app.now(), deadline))
    told = app.discretion.counts(found, "open", "near", "late", "acknowledged", "deliveries")
    if isinstance(told["open"], str):  # who knows the destinations could tell it by dividing
        told["deliveries"] = HIDDEN
    return told


def tell_clock(found: Mapping[str, Any], *, only_open: bool = False) -> None:
    """The same, for people; with `only_open` nothing where none is open."""
    from audience_sync.cli.written import number, tell  # noqa: PLC0415 - keeps --help light

    if count := found["open"]:
        oldest = "" if found["oldest"] is None else f", the oldest for {_span(found['oldest'])}"
        they = "withdrawal is on its" if count == 1 else "withdrawals are on their"
        tell([f"\n{number(count)} {they} way{oldest}."])
    elif not only_open:
        print("No withdrawal is on its way.")
    deadline = _exactly(found["deadline"])
    if found["late"]:
        have = "has" if found["late"] == 1 else "have"
        tell([f"{number(found['late'])} {have} missed the deadline of {deadline}."])
    if found["near"]:
        tell([f"{number(found['near'])} will miss the deadline of {deadline} soon."])
    if found["p50"] is not None and not only_open:
        half, most = _span(found["p50"]), _span(found["p95"])
        acknowledged = f"Partners acknowledged half of the last 30 days' within {half}"
        tell([f"{acknowledged}, 95 % within {most}."])


def _open(app: App, limit: int | None = None) -> list[dict[str, Any]]:
    rows = app.ledger.withdrawal_deliveries(only_open=True, limit=limit)
    found = app.ledger.withdrawals_numbered({row.sequence for row in rows})
    names = {one.sequence: one.id for one in found}
    return [asdict(row) | {"withdrawal": names[row.sequence]} for row in rows]


def _told(one: Mapping[str, Any]) -> str:
    reason = f": {one['reason']}" if one["reason"] else ""
    return f"  {one['withdrawal']}  {one['destination']}  {one['state']}{reason}"


def _tell_more(count: int | str, shown: int, limit: int) -> None:
    """That there are others; a count that is not told may be anything."""
    from audience_sync.cli.written import number, tell  # noqa: PLC0415 - keeps --help light

    if not limit or shown < limit or (not isinstance(count, str) and count <= shown):
        return
    more = "perhaps" if isinstance(count, str) else number(count - shown)
    tell([f"  and {more} more; `audience-sync withdrawals --limit 0` shows all"])


def _by_http(app: App) -> dict[str, dict[str, int | str]]:
    """What the requests of each sender were answered, by the words that docs/web.md explains."""
    found: dict[str, dict[str, int | str]] = {}
    totals = app.ledger.intake_totals(app.now() - timedelta(days=_DAYS))
    for (source, outcome), count in sorted(totals.items()):
        found.setdefault(source, {})[outcome] = app.discretion.count(count)
    return found


def _tell_by_http(found: Mapping[str, Mapping[str, int | str]]) -> None:
    from audience_sync.cli.written import number, tell  # noqa: PLC0415 - keeps --help light

    if found:
        print(f"What came in by HTTP in the last {_DAYS} days:")
    for source, counts in found.items():
        told = ", ".join(f"{number(count)} {outcome}" for outcome, count in counts.items())
        tell([f"  {source}  {told}"])


def _exactly(seconds: float) -> str:
    return f"{seconds / _HOUR:g} h" if seconds >= _HOUR else f"{seconds / _MINUTE:g} min"


def _span(seconds: float) -> str:
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    return f"{seconds / _MINUTE:.0f} min" if seconds < _HOUR else f"{seconds / _HOUR:.0f} h"
