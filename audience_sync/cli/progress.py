"""Progress bars on a terminal, several at once; they vanish when the work is done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as Rich

    from audience_sync.runs.progress import Advance


class Bars:
    """The pipeline's `Progress`, drawn; it may be told from several threads."""

    def __init__(self, drawn: Rich) -> None:
        self._drawn = drawn

    def stage(self, name: str, total: int | None) -> Advance:
        """Begin a bar; it pulses where nobody knows the total."""
        bar = self._drawn.add_task(name, total=total or None)

        def advance(steps: int) -> None:
            self._drawn.advance(bar, steps)

        return advance


@contextmanager
def bars() -> Iterator[Bars]:
    """Draw on stderr while the block runs."""
    from rich.console import Console  # noqa: PLC0415 - keeps --help light
    from rich.progress import (  # noqa: PLC0415 - the same
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    drawn = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TextColumn("{task.completed:,.0f}", justify="right"),
        TimeElapsedColumn(),
        console=Console(stderr=True, highlight=False),
        transient=True,
    )
    with drawn:
        yield Bars(drawn)
