"""Upload sessions: counters that grow from batch to batch, and the rules of their order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from audience_sync.sandbox.meta.errors import CLOSED, FINISHED, invalid, replacing

SESSION_LIFE = 90 * 60  # seconds from the first batch
LARGEST_SESSION = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Step:
    """The `session` object of one request."""

    session: int
    batch: int
    last: bool


@dataclass(slots=True)
class Session:
    """One session of one audience."""

    id: int
    audience: str
    operation: str
    schema: tuple[str, ...]
    started: float
    received: int = 0
    refused: int = 0
    finished: float | None = None
    batches: dict[int, str] = field(default_factory=dict, repr=False)  # body hash by batch_seq


def read(session: dict[str, Any] | None) -> Step | None:
    """The session object, or the refusal of it."""
    if session is None:
        return None
    number, batch = _integer(session.get("session_id")), _integer(session.get("batch_seq"))
    if number is None or not 0 < number <= LARGEST_SESSION:
        raise invalid("Param session[session_id] must be a positive 64-bit integer.")
    if batch is None or batch < 1:
        raise invalid("Param session[batch_seq] must be an integer that starts at 1.")
    last = session.get("last_batch_flag", False)
    if last not in (True, False, "true", "false"):
        raise invalid("Param session[last_batch_flag] must be a boolean.")
    total = session.get("estimated_num_total")
    if total is not None and _integer(total) is None:
        raise invalid("Param session[estimated_num_total] must be an integer.")
    return Step(number, batch, last in (True, "true"))


def _integer(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return int(value) if str(value).lstrip("-").isdecimal() else None


class Sessions:
    """The sessions of every ad account; an id is taken once per account."""

    def __init__(self) -> None:
        self._by_key: dict[tuple[str, int], Session] = {}

    def find(self, account: str, session: int) -> Session | None:
        """A session, or None."""
        return self._by_key.get((account, session))

    def of(self, audience: str) -> list[Session]:
        """The sessions of an audience, oldest first."""
        return [session for session in self._by_key.values() if session.audience == audience]

    def enter(self, account: str, wanted: Session, step: Step, body_hash: str) -> Session:
        """The session that a batch belongs to, new or old, if the batch may join it.

        A finished session takes the very bytes of a batch that it took before, and nothing else:
        the sender may not have seen the answer.
        """
        session = self._by_key.setdefault((account, step.session), wanted)
        if (session.audience, session.operation) != (wanted.audience, wanted.operation):
            raise invalid("The session_id was used for another upload.")
        if session.schema != wanted.schema:
            raise invalid("The schema differs from the one of the session's first batch.")
        if session.batches.get(step.batch) == body_hash:
            return session
        if session.finished is not None:
            raise replacing(FINISHED, "This session has already finished.")
        if wanted.started >= session.started + SESSION_LIFE:
            raise replacing(CLOSED, "The 90-minute window of this session has passed.")
        return session

    @staticmethod
    def count(session: Session, step: Step, body_hash: str, received: int, refused: int) -> None:
        """Add a batch to the session's counters, which answers then show."""
        session.received += received
        session.refused += refused
        session.batches[step.batch] = body_hash
