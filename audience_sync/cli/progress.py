"""Progress bars on a terminal, several at once; they vanish when the work is done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from audience_sync.cli.ending import patient

if TYPE_CHECKING:
    from rich.progress import Progress as Rich

    from audience_sync.runs.progress import Advance


class Bars:
    """The pipeline's `Progress`; it may be told from several threads, and is drawn in `drawn`."""

    def __init__(self) -> None:
        self._drawn: Rich | None = None

    def stage(self, name: str, total: int | None) -> Advance:
        """Begin a bar; it pulses where nobody knows the total."""
        drawn = self._drawn
        if drawn is None:
            return lambda _steps: None
        bar = drawn.add_task(name, total=total or None)
        return lambda steps: drawn.advance(bar, steps)

    def say(self, sentence: str) -> None:
        """Print a sentence above the bars, which would paint over it otherwise."""
        if self._drawn is not None:
            self._drawn.console.print(f"[yellow]{sentence}[/]")

    @contextmanager
    def drawn(self) -> Iterator[None]:
        """Draw on stderr while the block runs. Nothing is printed meanwhile: it would be erased."""
        from rich.console import Console  # noqa: PLC0415 - keeps --help light
        from rich.progress import (  # noqa: PLC0415 - the same
            BarColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
        )

        with Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.completed:,.0f}", justify="right"),
            TimeElapsedColumn(),
            console=Console(stderr=True, highlight=False),
            transient=True,
        ) as self._drawn:
            yield
        self._drawn = None


@contextmanager
def working(progress: object) -> Iterator[None]:
    """Draw the bars, where there are any, and be patient with a first Ctrl-C."""
    if not isinstance(progress, Bars):
        with patient():
            yield
        return
    with progress.drawn(), patient(progress.say):
        yield
