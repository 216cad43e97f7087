"""How long work tells what it is at, without knowing who is watching."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told of each stage and each step forward; called from one thread at a time."""

    def stage(self, name: str, total: int | None) -> None:
        """A stage begins; `total` steps are expected, None when nobody knows."""
        ...

    def advance(self, steps: int) -> None:
        """Some steps of the stage are done."""
        ...


class Silent:
    """Nobody is watching."""

    def stage(self, name: str, total: int | None) -> None:
        """Say nothing."""

    def advance(self, steps: int) -> None:
        """Say nothing."""
