"""The command line. Only `main` is public; commands are imported when one of them is called."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run `audience-sync` with the arguments of this process, and end the process."""
    from audience_sync.cli.start import run_and_exit  # noqa: PLC0415 - keeps the import light

    run_and_exit()
