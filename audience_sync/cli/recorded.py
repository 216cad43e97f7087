"""What is told where a command ends too early although withdrawals are recorded."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

import typer

from audience_sync.cli import codes, ending
from audience_sync.cli.signals import at_signal
from audience_sync.errors import AudienceSyncError

if TYPE_CHECKING:
    from audience_sync.app import App

_DELIVER = "audience-sync withdrawals --deliver"
_BY_ITSELF = "and so do `serve` and workers"


@contextmanager
def told_if_cut_off(withdrawals: Sequence[str], *, goes_on: str = _DELIVER) -> Iterator[None]:
    """However the block ends before its end, say that these are recorded, and what goes on.

    Whoever reads of an interrupt or a full disk alone would withdraw the same people again. The
    command that `goes_on` may name the withdrawal: `{}` is its id.
    """
    ids = ", ".join(withdrawals)
    sentence = (
        f"the withdrawal is recorded as {ids} and need not be given again; "
        f"`{goes_on.format(ids)}` goes on with what is left of it, {_BY_ITSELF}"
    )
    try:
        with _at_sigterm(f"audience-sync: stopped; {sentence}"), ending.patient():
            yield
    except KeyboardInterrupt:
        raise _interrupted(sentence) from None
    except AudienceSyncError as error:
        raise type(error)(f"{error}; {sentence}") from None
    except Exception:
        ending.say(f"audience-sync: {sentence}")
        raise


@contextmanager
def left_open_if_cut_off(app: App) -> Iterator[None]:
    """Where Ctrl-C or SIGTERM ends the block, say which withdrawals are open, and what goes on."""
    goes_on = f"`{_DELIVER}` goes on, {_BY_ITSELF}"
    kept = f"audience-sync: stopped; withdrawals that are open are kept; {goes_on}"
    try:
        with _at_sigterm(kept), ending.patient():
            yield
    except KeyboardInterrupt:
        raise _interrupted(f"{_open(app)}; {goes_on}") from None


def _interrupted(sentence: str) -> typer.Exit:
    ending.say(f"audience-sync: interrupted; {sentence}")
    return typer.Exit(codes.INTERRUPTED)


def _open(app: App) -> str:
    """How many withdrawals are open where, as far as they may be counted."""
    from audience_sync.cli.written import number  # noqa: PLC0415 - only at such an end

    rows = app.ledger.withdrawal_deliveries(only_open=True)
    if not rows:
        return "no withdrawal is open"
    count = app.discretion.count(len({row.sequence for row in rows}))
    who = "1 withdrawal is" if count == 1 else f"{number(count)} withdrawals are"
    return f"{who} open at {', '.join(sorted({row.destination for row in rows}))}, and kept"


@contextmanager
def _at_sigterm(sentence: str) -> Iterator[None]:
    """While the block runs, a SIGTERM says the sentence, and ends the process as it would have."""

    def stop(number: int, _frame: FrameType | None) -> None:
        ending.write_plainly(sentence)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    with at_signal(signal.SIGTERM, stop):
        yield
