"""The command line. Only `main` is public; commands are imported when one of them is called."""

from __future__ import annotations

import gc

__all__ = ["main"]


# Modules make half a million objects that stay; looking through them again and again for rubbish
# takes a sixth of a start.
_OBJECTS = 100_000


def main() -> None:
    """Run `audience-sync` with the arguments of this process, and end the process."""
    gc.set_threshold(_OBJECTS)
    from audience_sync.cli.start import run_and_exit  # noqa: PLC0415 - keeps the import light

    run_and_exit()
