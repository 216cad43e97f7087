"""How the lines of the transfer log are bound together, and how a break is found and named.

A line's hash is the SHA-256 of its canonical JSON: every column but `hash` itself, keys sorted,
no spaces, UTF-8, times as 2026-11-21T08:30:00.000000Z. The first line follows 64 zeros.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from audience_sync.ledger.records.log import Verification

GENESIS = "0" * 64  # what the first line follows


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Where the log says that it ends, and the highest number that is really there."""

    lines: int
    hash: str
    last: Any  # an honest number, unless somebody wrote another thing


def canonical(columns: Mapping[str, Any]) -> bytes:
    """The one way to write an object as JSON, so that everybody hashes the same bytes."""
    return json.dumps(
        columns, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_time
    ).encode("utf-8", "replace")


def seal(columns: Mapping[str, Any]) -> str:
    """The hash of a line's columns; `hash` itself is left out."""
    kept = {name: value for name, value in columns.items() if name != "hash"}
    return hashlib.sha256(canonical(kept)).hexdigest()


class Chain:
    """Takes lines one after the other; `after` is the number before the first of them.

    Without a `previous` hash the first line is taken at its word about what it follows.
    """

    def __init__(self, after: int = 0, previous: str | None = GENESIS) -> None:
        self.after = after
        self.last = after
        self.hash = previous

    @property
    def lines(self) -> int:
        """How many lines were taken, all of them sound."""
        return self.last - self.after

    def take(self, columns: Mapping[str, Any]) -> Verification | None:
        """The next line, or what is wrong with it."""
        number, expected = columns.get("sequence"), self.last + 1
        if type(number) is not int or number != expected:
            if isinstance(number, int) and number > expected:
                return self.broken(expected, f"{span(expected, number - 1)} missing: deleted")
            return self.broken(number, f"line {number} was inserted")
        if not _sealed(columns):
            return self.broken(number, f"line {number} was changed")
        if self.hash not in (None, columns["previous_hash"]):
            told = f"line {number} does not follow line {number - 1}: one of them was replaced"
            return self.broken(number, told)
        self.last, self.hash = number, columns["hash"]
        return None

    def broken(self, at: Any, finding: str) -> Verification:
        """What is wrong, and how many lines before it are sound."""
        broken_at = at if isinstance(at, int) else self.last + 1
        return Verification(lines=self.lines, broken_at=broken_at, finding=finding)


def check(
    lines: Iterable[Mapping[str, Any]],
    head: Head | None,
    chain: Chain | None = None,
    see: Callable[[int, str], str | None] = lambda _number, _hash: None,
) -> Verification:
    """Follow the chain from its first line to its head; the first break ends the search.

    `see` is shown each sound line's number and hash, and may find something else that is wrong.
    """
    if head is None:
        return Verification(lines=0, finding="the head of the log is missing")
    chain = chain or Chain()
    for columns in lines:
        found = chain.take(columns)
        if found is not None:
            return found
        finding = see(chain.last, columns["hash"])
        if finding is not None:
            return chain.broken(chain.last, finding)
    return _end(chain, head)


def _end(chain: Chain, head: Head) -> Verification:
    if chain.last < head.lines:
        missing = span(chain.last + 1, head.lines)
        return chain.broken(chain.last + 1, f"{missing} missing at the end: deleted")
    if head.last is not None and head.last != head.lines:
        told = f"line {head.last} was inserted after the end of the log"
        return chain.broken(head.last, told)
    if chain.hash != head.hash:
        told = f"line {chain.last} is not the one that was written last: it or the head"
        return chain.broken(chain.last, f"{told} was replaced")
    return Verification(lines=chain.lines, head=head.hash)


def _sealed(columns: Mapping[str, Any]) -> bool:
    try:
        return bool(columns["hash"] == seal(columns)) and "previous_hash" in columns
    except (KeyError, TypeError):  # a value of a kind that we never write
        return False


def span(first: int, last: int) -> str:
    """Lines, as the beginning of a sentence about them."""
    return f"line {first} is" if first == last else f"lines {first} to {last} are"


def written_time(value: datetime) -> str:
    """A time as lines and checkpoints are hashed with it."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _time(value: Any) -> str:
    if not isinstance(value, datetime):
        raise TypeError("a line holds text, numbers, flags and times only")
    return written_time(value)
