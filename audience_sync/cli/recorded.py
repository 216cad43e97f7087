"""What is told where a command ends too early although it recorded a withdrawal."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import typer

from audience_sync.cli import codes, ending
from audience_sync.errors import AudienceSyncError


@contextmanager
def told_if_cut_off(withdrawals: Sequence[str]) -> Iterator[None]:
    """However the block ends before its end, say that these are recorded, and what goes on.

    Whoever reads of an interrupt or a full disk alone would withdraw the same people again.
    """
    sentence = (
        f"the withdrawal is recorded as {', '.join(withdrawals)} and need not be given again; "
        "`audience-sync withdrawals --deliver` goes on with what is left of it, and so do `serve` "
        "and workers"
    )
    try:
        with _at_sigterm(f"audience-sync: stopped; {sentence}"), ending.patient():
            yield
    except KeyboardInterrupt:
        ending.say(f"audience-sync: interrupted; {sentence}")
        raise typer.Exit(codes.INTERRUPTED) from None
    except AudienceSyncError as error:
        raise type(error)(f"{error}; {sentence}") from None
    except Exception:
        ending.say(f"audience-sync: {sentence}")
        raise


@contextmanager
def _at_sigterm(sentence: str) -> Iterator[None]:
    """While the block runs, a SIGTERM says the sentence, and ends the process as it would have."""

    def stop(number: int, _frame: FrameType | None) -> None:
        ending.write_plainly(sentence)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    with ending.at_signal(signal.SIGTERM, stop):
        yield
