"""What is said at an end that is not the usual one: errors, and Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from textwrap import TextWrapper
from threading import Event, Timer
from types import FrameType

import orjson

from audience_sync.cli.signals import at_signal

BEGUN = Event()  # set once a project is open: from then on something may be sent
STOPPING = "stopping after the requests under way; press Ctrl-C again to stop at once"
_AGAIN = 0.05  # seconds until a Ctrl-C that Python dropped is pressed once more


def say(sentence: str) -> None:
    """Tell the person at the terminal, folded between words; stdout stays free for results."""
    width = _width()
    lines = sentence.split("\n")
    if width is not None:
        fold = TextWrapper(width, break_long_words=False, break_on_hyphens=False).fill
        lines = [fold(line) for line in lines]
    with suppress(OSError):  # a full disk: nobody can be told
        print("\n".join(lines), file=sys.stderr, flush=True)


def _width() -> int | None:
    """How wide the terminal is, or COLUMNS says; None for what reads a pipe."""
    told = os.environ.get("COLUMNS", "")
    if told.isdigit() and int(told):
        return int(told)
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or None
    except (OSError, ValueError):
        return None


def tell(sentence: str, *, as_json: bool) -> None:
    """Tell an error, and with --json also as the one document on stdout.

    The name of a file may be no text, which neither of them takes.
    """
    sentence = sentence.encode(errors="backslashreplace").decode()
    say(f"audience-sync: {sentence}")
    if as_json:
        write_error(sentence)


def write_error(sentence: str) -> None:
    """The one document that stdout holds when a command with --json fails."""
    with suppress(OSError):  # as in `say`
        print(orjson.dumps({"error": sentence}).decode())


def write_plainly(sentence: str) -> None:
    """Tell the person at the terminal from a signal's handler, in the middle of any writing."""
    with suppress(OSError):
        os.write(2, f"\n{sentence}\n".encode())


@contextmanager
def patient(tell: Callable[[str], None] = write_plainly) -> Iterator[None]:
    """While the block runs, the first Ctrl-C says what it waits for; a second one ends it all."""
    pressed = 0

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal pressed
        pressed += 1
        if pressed == 1:
            tell(STOPPING)
        raise KeyboardInterrupt

    with at_signal(signal.SIGINT, stop), _raised_again():
        yield


@contextmanager
def _raised_again() -> Iterator[None]:
    """Ctrl-C where Python drops what is raised, as while an object is freed, counts right after."""
    before, dropped = sys.unraisablehook, list[Timer]()

    def again(found: sys.UnraisableHookArgs) -> None:
        if found.exc_type is not KeyboardInterrupt:
            before(found)
            return
        dropped.append(Timer(_AGAIN, os.kill, [os.getpid(), signal.SIGINT]))
        dropped[-1].start()

    sys.unraisablehook = again
    try:
        yield
        if dropped:
            raise KeyboardInterrupt
    finally:
        sys.unraisablehook = before
        for one in dropped:
            one.cancel()
            one.join()
