"""What a kind of job has to say, and what is said of its pieces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from audience_sync.errors import AudienceSyncError
from audience_sync.ledger.records.work import Job, Piece
from audience_sync.runs.leases import Held


class PieceRef(NamedTuple):
    """The name of a piece: what a wake-up carries."""

    job: str
    stage: str
    number: int


class Next(NamedTuple):
    """The stage that follows: its name, how many pieces it has, what the job knows by then."""

    stage: str
    pieces: int
    spec: Mapping[str, Any]


class JobKind(Protocol):
    """What a kind of job does in its stages; `sends` tells whether its pieces ask a partner."""

    @property
    def sends(self) -> bool:
        """Whether what a piece has begun may arrive at a partner after the job has ended."""
        ...

    def do(self, job: Job, piece: Piece, held: Held) -> Mapping[str, Any]:
        """Do a piece; counts and names for the ledger."""
        ...

    def next(self, job: Job) -> Next | None:
        """What follows a stage whose pieces are all done; None after the last."""
        ...

    def finished(self, job: Job) -> Mapping[str, Any]:
        """Every stage is done; what is to stand in the job. May be asked more than once."""
        ...

    def gave_up(self, job: Job, error: AudienceSyncError, held: Held) -> None:
        """The job has ended before its end; its leases are still held, unless one was lost."""
        ...


@dataclass(frozen=True, kw_only=True)
class Worked:
    """What follows a piece: pieces to wake, when to come back to this one, the job at its end."""

    wake: Sequence[PieceRef] = ()
    again: tuple[PieceRef, datetime] | None = None
    ended: Job | None = None
