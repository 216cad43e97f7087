"""How the lines of the transfer log are bound together, and how a break is found and named.

A line's hash is the SHA-256 of its canonical JSON: every column but `hash` itself, keys sorted,
no spaces, UTF-8, times as 2026-11-21T08:30:00.000000Z. The first line follows 64 zeros.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from audience_sync.ledger.records import Verification

GENESIS = "0" * 64  # what the first line follows


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Where the log says that it ends, and the highest number that is really there."""

    lines: int
    hash: str
    last: Any  # an honest number, unless somebody wrote another thing


def seal(columns: Mapping[str, Any]) -> str:
    """The hash of a line's columns; `hash` itself is left out."""
    written = json.dumps(
        {name: value for name, value in columns.items() if name != "hash"},
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        default=_time,
    )
    return hashlib.sha256(written.encode("utf-8", "replace")).hexdigest()


def check(lines: Iterable[Mapping[str, Any]], head: Head | None) -> Verification:
    """Follow the chain from its first line to its head; the first break ends the search."""
    if head is None:
        return Verification(lines=0, finding="the head of the log is missing")
    count, previous = 0, GENESIS
    for columns in lines:
        finding = _break(columns, count + 1, previous)
        if finding is not None:
            return finding
        count, previous = count + 1, columns["hash"]
    return _end(count, previous, head)


def _break(columns: Mapping[str, Any], expected: int, previous: str) -> Verification | None:
    number = columns["sequence"]
    if number != expected:
        if isinstance(number, int) and number > expected:
            missing = _span(expected, number - 1)
            return _broken(expected, expected - 1, f"{missing} missing: deleted")
        return _broken(number, expected - 1, f"line {number} was inserted")
    if not _sealed(columns):
        return _broken(number, expected - 1, f"line {number} was changed")
    if columns["previous_hash"] != previous:
        told = f"line {number} does not follow line {number - 1}: one of them was replaced"
        return _broken(number, expected - 1, told)
    return None


def _end(count: int, previous: str, head: Head) -> Verification:
    if count < head.lines:
        missing = _span(count + 1, head.lines)
        return _broken(count + 1, count, f"{missing} missing at the end: deleted")
    if head.last is not None and head.last != head.lines:
        told = f"line {head.last} was inserted after the end of the log"
        return _broken(head.last, count, told)
    if previous != head.hash:
        told = f"line {count} is not the one that was written last: it or the head was replaced"
        return _broken(count, count, told)
    return Verification(lines=count, head=head.hash)


def _sealed(columns: Mapping[str, Any]) -> bool:
    try:
        return bool(columns["hash"] == seal(columns))
    except TypeError:  # a value of a kind that we never write
        return False


def _broken(at: Any, sound: int, finding: str) -> Verification:
    return Verification(
        lines=sound, broken_at=at if isinstance(at, int) else sound + 1, finding=finding
    )


def _span(first: int, last: int) -> str:
    return f"line {first} is" if first == last else f"lines {first} to {last} are"


def _time(value: Any) -> str:
    if not isinstance(value, datetime):
        raise TypeError("a line holds text, numbers, flags and times only")
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
