"""How numbers, times and records are written, for people and as JSON."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from textwrap import TextWrapper
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

_UNFOLDED = 10_000  # columns; nothing of ours is as wide
_SHORT = 3  # characters of a zone that stands beside a column's head, not below it
_MINUTE, _HOUR, _DAY = 60, 3600, 86400  # seconds


def print_json(document: Any) -> None:
    """One JSON document on stdout; records become objects, times are ISO 8601."""
    import orjson  # noqa: PLC0415 - keeps --help light

    option = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS
    print(orjson.dumps(document, default=_plain, option=option).decode())


def _plain(value: Any) -> Any:
    return dict(value) if hasattr(value, "keys") else str(value)


class _Unpadded:
    """stdout without the blanks that fill a table's lines up to its width."""

    def write(self, text: str) -> int:
        return sys.stdout.write("\n".join(line.rstrip(" ") for line in text.split("\n")))

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stdout, name)


def console(page: int = _UNFOLDED) -> Console:
    """Where results for people are printed: as wide as the terminal is, or as COLUMNS says.

    What reads a pipe needs no folding, and finds whole words; text that is kept or printed is a
    `page` of so many columns there.
    """
    from audience_sync.cli.whole import WholeConsole  # noqa: PLC0415 - keeps --help light

    plain: Any = _Unpadded()
    told = os.environ.get("COLUMNS", "")
    known = told.isdigit() and int(told) > 0
    around = {name: value for name, value in os.environ.items() if known or name != "COLUMNS"}
    made = WholeConsole(highlight=False, _environ=around)
    if made.is_terminal:
        return made
    width = None if known else page
    return WholeConsole(highlight=False, file=plain, width=width)


def tell(lines: Iterable[str]) -> None:
    """Print lines, folded between words as `console` has room; what hangs is set in.

    Ids and commands are copied, so no word is ever broken.
    """
    folded = TextWrapper(console().width, break_long_words=False, break_on_hyphens=False)
    for line in "\n".join(lines).split("\n"):
        indent = len(line) - len(line.lstrip())
        folded.subsequent_indent = " " * (indent + 2) if indent else ""
        print(folded.fill(line))


def number(count: float | str) -> str:
    """With thousands separators; a count that is not told is a word already."""
    return count if isinstance(count, str) else f"{count:,.0f}"


def narrow(count: str) -> str:
    """A count that is told in words, as narrow as a number."""
    return count.replace("fewer than ", "< ")


def clock(moment: datetime | None, zone: tzinfo = UTC) -> str:
    """A time in the project's timezone, which it names, to the minute."""
    return "-" if moment is None else f"{moment.astimezone(zone):%Y-%m-%d %H:%M} {zone}"


def in_zone(column: str, zone: tzinfo) -> str:
    """The head of a column of times, with the zone that they are in, as narrow as the times."""
    name = str(zone)
    folded = name.replace("/", "/\n")
    return f"{column}\n{folded}" if len(name) > _SHORT else f"{column} {name}"


def short(moment: datetime, now: datetime, zone: tzinfo) -> str:
    """The time of day for today, the day for any other."""
    local = moment.astimezone(zone)
    return f"{local:%H:%M}" if local.date() == now.astimezone(zone).date() else f"{local:%d %b}"


def ago(moment: datetime, now: datetime) -> str:
    """How long ago, roughly."""
    seconds = (now - moment).total_seconds()
    return "just now" if seconds < _MINUTE else f"{_span(seconds)} ago"


def ahead(moment: datetime, now: datetime) -> str:
    """In how long, roughly."""
    seconds = (moment - now).total_seconds()
    return "now" if seconds < _MINUTE else f"in {_span(seconds)}"


def _span(seconds: float) -> str:
    if seconds < _HOUR:
        return f"{seconds // _MINUTE:.0f} min"
    if seconds < 2 * _DAY:
        return f"{seconds // _HOUR:.0f} h"
    return f"{seconds // _DAY:.0f} days"
