"""Makes the standard streams fit to be used, whatever the caller did to them."""

from __future__ import annotations

import codecs
import io
import os
import sys

_NAMES = ("stdin", "stdout", "stderr")
_ESCAPED = "audience-sync-escaped"
_PLAIN = {"✓": "+", "…": "..."}  # signs of ours, for who reads no other letters than ASCII


def make_ready() -> None:
    """Open what was closed, to nowhere, and let stdout and stderr take any letter.

    A stream that is closed leaves its number to the next file that is opened: what is printed
    would be written into the ledger.
    """
    for number, name in enumerate(_NAMES):
        if getattr(sys, name) is None:
            setattr(sys, name, _nowhere(number))
    codecs.register_error(_ESCAPED, escaped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ESCAPED)


def escaped(error: UnicodeError) -> tuple[str, int]:
    """What a terminal has no letters for, as JSON escapes it: a document stays what it was."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(_PLAIN.get(letter) or _escape(letter) for letter in letters), error.end


def _escape(letter: str) -> str:
    units = letter.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def _nowhere(number: int) -> io.TextIOWrapper:
    opened = os.open(os.devnull, os.O_RDWR)
    if opened != number:
        os.dup2(opened, number)
        os.close(opened)
    return open(number, "w" if number else "r", encoding="utf-8", closefd=False)
