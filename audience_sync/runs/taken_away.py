"""Whole lists that were emptied or deleted for withdrawals, as the transfer log has them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.log import Event, TransferLine
from audience_sync.runs.announcing import OPERATION

OF_RUNS = "remove everybody"  # what a run does where its removals are refused
BY_DELETING = "by deleting the list"
EMPTYING = f"{OPERATION} by emptying the list"
DELETING = f"{OPERATION} {BY_DELETING}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenAway:
    """A list whose partner took off all `members`, or was asked to where it answers later."""

    audience: str
    destination: str
    members: int
    deleted: bool
    asked: bool


def taken_away(ledger: Ledger, after: int) -> list[TakenAway]:
    """What became of whole lists since a line of the transfer log, each of them once."""
    found: dict[tuple[str, str, bool], list[TransferLine]] = {}
    for line in _taken(ledger, after):
        deleted = line.operation == DELETING
        found.setdefault((line.audience, line.destination, deleted), []).append(line)
    return [
        TakenAway(
            audience=audience,
            destination=destination,
            members=sum(line.accepted for line in lines),
            deleted=deleted,
            asked=not deleted and any(line.reference for line in lines),
        )
        for (audience, destination, deleted), lines in found.items()
    ]


def _taken(ledger: Ledger, after: int) -> Iterator[TransferLine]:
    for logged in ledger.log_lines(after=after):
        line = logged.line
        whole = line.operation in (EMPTYING, DELETING)
        if whole and line.event is Event.OUTCOME and line.accepted:
            yield line
