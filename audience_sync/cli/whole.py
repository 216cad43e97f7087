"""What people read on any terminal: words are folded between, and never broken or cut.

Names, ids, commands and paths are copied. Where a terminal is too narrow for one, its line runs
over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Column, Table
from rich.text import Text

_WORD = re.compile(r"^\s*\S+|\S+")  # what a line is set in by stays before its first word


class WholeConsole(Console):
    """Prints so; `rich` itself cuts what is longer than a line."""

    def print(self, *objects: Any, **options: Any) -> None:
        """As `rich` does."""
        told = [_Sentence(self.render_str(o)) if isinstance(o, str) else o for o in objects]
        super().print(*told, **({"crop": False} | options))


class _Sentence:
    """A text that takes as much room as its longest word."""

    def __init__(self, text: Text) -> None:
        self._text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        room = max(options.max_width, _longest_word(self._text))
        yield from console.render(self._text, options.update(width=room))


class WholeTable(Table):
    """A table whose widest columns are folded where there is little room."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        sizes = [self._sizes(console, column) for column in self.columns]
        between = len(self.columns) - 1
        if sum(least for least, _ in sizes) + between * sum(self.padding) > options.max_width:
            self.padding = (0, 1, 0, 0)
        beside = between * sum(self.padding)
        widths = _shared(sizes, options.max_width - beside)
        for column, width in zip(self.columns, widths, strict=True):
            column.width = width
        room = max(options.max_width, sum(widths) + beside)
        drawn = super().__rich_console__(console, options.update(width=room))
        yield from drawn if room == options.max_width else _unpadded(console, drawn)

    def _sizes(self, console: Console, column: Column) -> tuple[int, int]:
        """The least that a column can do with, and what it takes unfolded."""
        heads = [column.header] if self.show_header else []
        texts = [
            cell if isinstance(cell, Text) else console.render_str(str(cell))
            for cell in (*heads, *column.cells)
        ]
        least = max(map(_longest_word, texts), default=0)
        whole = max((cell_len(line) for one in texts for line in one.plain.split("\n")), default=0)
        least, whole = (max(size, column.min_width or 0, 1) for size in (least, whole))
        return (whole if column.no_wrap else least), whole


def _unpadded(console: Console, drawn: RenderResult) -> Iterator[Segment]:
    """Without the blanks that fill lines up, which would run over into an empty line each."""
    segments = (one for part in drawn for one in _segments(console, part))
    for line in Segment.split_lines(segments):
        while line and not line[-1].text.strip():
            line.pop()
        if line:
            line[-1] = line[-1]._replace(text=line[-1].text.rstrip())
        yield from line
        yield Segment.line()


def _segments(console: Console, part: RenderableType | Segment) -> Iterable[Segment]:
    return (part,) if isinstance(part, Segment) else console.render(part)


def plain_table(*columns: str, right: Sequence[str] = ()) -> WholeTable:
    """A table without lines; the columns named in `right` hold numbers."""
    table = WholeTable(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left")
    return table


def _longest_word(text: Text) -> int:
    lines = text.plain.split("\n")
    return max((cell_len(word) for line in lines for word in _WORD.findall(line)), default=0)


def _shared(sizes: Sequence[tuple[int, int]], room: int) -> list[int]:
    """The columns' widths: the widest give way, none further than to its longest word."""
    most = max((whole for _, whole in sizes), default=0)
    while True:
        widths = [max(least, min(whole, most)) for least, whole in sizes]
        if sum(widths) <= room or widths == [least for least, _ in sizes]:
            return widths
        most -= 1
