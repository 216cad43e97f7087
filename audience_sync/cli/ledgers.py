"""The transfer log as a table, with more columns where there is more room."""

from __future__ import annotations

from collections.abc import Collection
from datetime import tzinfo
from typing import TYPE_CHECKING

from rich.markup import escape

from audience_sync.cli.lists import plain_table
from audience_sync.cli.written import console, in_zone, keep_whole, number
from audience_sync.ledger.records.log import Event

if TYPE_CHECKING:
    from audience_sync.ledger.records.log import LoggedLine, TransferLine

_WIDE = 110  # characters
_USUAL = 200  # HTTP


def print_log(lines: Collection[LoggedLine], earlier: int, zone: tzinfo) -> None:
    """The lines, oldest first; `earlier` ones are only counted."""
    output = console()
    if not lines:
        output.print("Nothing was transferred yet.")
        return
    if earlier:
        output.print(f"[dim]{number(earlier)} earlier lines; --last 0 shows all[/]")
    wide = output.width >= _WIDE
    # The result comes last: a long sentence in one line makes no other line longer.
    numbered = ["#"] if wide else []
    columns = [*numbered, in_zone("when", zone), "run", "list", "what", "result"]
    table = plain_table(*columns, right=numbered)
    keep_whole(table.columns[-4], [logged.line.run or "" for logged in lines])
    for logged in lines:
        line = logged.line
        cells = [
            f"{logged.at.astimezone(zone):{'%Y-%m-%d %H:%M:%S' if wide else '%d %b %H:%M'}}",
            line.run or "",
            f"{line.audience}, {line.destination}",
            _what(line),
            _result(line, wide=wide),
        ]
        table.add_row(*([str(logged.sequence)] if wide else []), *cells)
    output.print(table, crop=False)


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
