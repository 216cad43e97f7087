"""The stages of a plan in pieces, and what each piece of one has to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from audience_sync.errors import ConfigurationError
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.work import Job
from audience_sync.runs.targets import Selection, Target

READ, SETTLE, CROSS, COMPARE, CONCLUDE = "read", "settle", "cross", "compare", "conclude"
_PARTITIONS = 8  # in a piece; about a million rows


class Wanted(NamedTuple):
    """What a job plans, as the project stands: which customers, and the lists in its order."""

    selection: Selection
    targets: Sequence[Target]


def groups_of(partitions: int) -> int:
    """How many pieces so many partitions are."""
    return -(-partitions // _PARTITIONS)


def partitions_of(piece: int, partitions: int) -> range:
    """The partitions of a piece."""
    start = piece * _PARTITIONS
    return range(start, min(start + _PARTITIONS, partitions))


def is_concluded(ledger: Ledger, job: Job, number: int) -> bool:
    """Whether the run of a list stands in the ledger."""
    try:
        ledger.run(job.spec["runs"][number])
    except ConfigurationError:
        return False
    return True
