"""The transfer log as a table: what was sent and what came of it in columns, or in sentences."""

from __future__ import annotations

from collections.abc import Collection
from datetime import tzinfo
from typing import TYPE_CHECKING

from rich.markup import escape

from audience_sync.cli.whole import plain_table
from audience_sync.cli.written import console, in_zone, number
from audience_sync.ledger.records.log import Event

if TYPE_CHECKING:
    from audience_sync.ledger.records.log import LoggedLine, TransferLine

_NUMBERED = 110  # characters that a number and a whole time take room from
_WIDE = 200  # characters that leave a sentence room in a column of its own
_USUAL = 200  # HTTP


def print_log(lines: Collection[LoggedLine], earlier: int, zone: tzinfo) -> None:
    """The lines, oldest first; `earlier` ones are only counted."""
    output = console()
    if not lines:
        output.print("Nothing was transferred yet.")
        return
    if earlier:
        output.print(f"[dim]{number(earlier)} earlier lines; --last 0 shows all[/]")
    numbered, wide = output.width >= _NUMBERED, output.width >= _WIDE
    first = ["#"] if numbered else []
    # What may be a long sentence comes last: it makes no other line longer.
    last = ["list", "what", "result"] if wide else ["what became of it"]
    table = plain_table(*first, in_zone("when", zone), "run", *last, right=first)
    for logged in lines:
        line = logged.line
        joint = ": " if line.actor is None else " "
        told = [f"{line.audience}, {line.destination}", _what(line), _result(line, wide=numbered)]
        table.add_row(
            *([str(logged.sequence)] if numbered else []),
            f"{logged.at.astimezone(zone):{'%Y-%m-%d %H:%M:%S' if numbered else '%d %b %H:%M'}}",
            line.run or "",
            *(told if wide else [f"{told[0]}  {joint.join(told[1:])}"]),
        )
    output.print(table)


def _what(line: TransferLine) -> str:
    if line.operation is None:
        return line.event.value
    return f"{line.operation} {number(line.sent)}"


def _result(line: TransferLine, *, wide: bool) -> str:
    if line.event is Event.INTENT:
        return "[dim]about to be sent[/]"
    if line.event is Event.UNKNOWN:
        return "[yellow]no answer was seen; it is sent again[/]"
    if line.actor is not None:
        told = f": {line.note}" if line.note else ""
        return escape(f"by {line.actor}{told}")
    words = [
        f"{number(count)} {name}"
        for name, count in (
            ("accepted", line.accepted),
            ("rejected", line.rejected),
            ("unattributed", line.unattributed),
        )
        if count
    ]
    if line.status is not None and (wide or line.status != _USUAL):
        words.append(f"HTTP {line.status}" + (f" code {line.code}" if line.code else ""))
    if line.raw_device_ids:
        words.append("device IDs unhashed")
    if line.note:
        words.append(line.note)
    final = "final: " if line.event is Event.CONFIRMED else ""
    return escape(final + ", ".join(words))
