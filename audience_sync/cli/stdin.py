"""Identifiers that are read from stdin, so that no list of processes and no history has them."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

STDIN = "-"
_TORN = "an identifier is given in bytes that are not UTF-8; type it anew"
SURROGATE = re.compile("[\ud800-\udfff]")  # what Python reads bytes as that are no text


def read_values(given: Sequence[str | None]) -> list[str | None]:
    """The values of options, a line of stdin for each that is `-`; what is blank is None.

    Lines that no option reads are refused: whoever stands in them would be forgotten. Of a
    terminal no end is waited for.
    """
    from audience_sync.errors import ConfigurationError  # noqa: PLC0415 - keeps --help light

    try:
        values = [_line() if value == STDIN else value for value in given]
        more = STDIN in given and not sys.stdin.isatty() and sys.stdin.read().strip()
    except UnicodeDecodeError:
        raise ConfigurationError(_TORN) from None
    if any(SURROGATE.search(value) for value in values if value):
        raise ConfigurationError(_TORN)
    if more:
        raise ConfigurationError(
            "stdin holds more lines than options read; nothing was done: give one line for each "
            "option that is -, and name many people with `audience-sync withdraw --file`"
        )
    return values


def _line() -> str | None:
    return sys.stdin.readline().strip() or None
