"""Progress bars on a terminal, several at once; they vanish when the work is done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

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


def drawing(progress: object) -> AbstractContextManager[None]:
    """Draw the bars, where there are any."""
    return progress.drawn() if isinstance(progress, Bars) else nullcontext()
