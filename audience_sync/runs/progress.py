"""How long work tells what it is at, without knowing who is watching."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Advance = Callable[[int], None]


class Progress(Protocol):
    """Told of each stage; several may be under way at once, from several threads."""

    def stage(self, name: str, total: int | None) -> Advance:
        """A stage begins; call the answer with each number of steps done.

        `total` steps are expected, None when nobody knows.
        """
        ...


class Silent:
    """Nobody is watching."""

    def stage(self, name: str, total: int | None) -> Advance:  # noqa: ARG002 - nobody is watching
        """Say nothing."""
        return lambda _: None
