"""Lines of the transfer log, the checkpoints over them, and what a look at them found."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Event(StrEnum):
    """What a line of the transfer log tells."""

    INTENT = "intent"  # written before a request is sent
    OUTCOME = "outcome"  # the partner's answer, or the error
    UNKNOWN = "unknown"  # an intent whose answer was never seen
    CONFIRMED = "confirmed"  # the partner's later, final answer
    FORCED = "forced"  # a person sent a held run at once
    APPROVED = "approved"  # a person approved a held run
    FORGOTTEN = "forgotten"  # a person took a list that its partner deleted for gone
    ERASED = "erased"  # a person asked to be erased everywhere, and was


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferLine:
    """One line of the transfer log before it is chained: counts, never people."""

    event: Event
    run: str
    audience: str
    destination: str
    recipient: str
    recipient_country: str
    purpose: str
    operation: str | None = None
    batch: int | None = None
    sent: int = 0
    accepted: int = 0
    rejected: int = 0
    unattributed: int = 0
    forms: str = ""  # kinds and forms used: "email=email/plain@1 phone=phone/digits@1"
    raw_device_ids: bool = False
    reference: str | None = None
    status: int | None = None
    code: str | None = None
    attempts: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    body_sha256: str | None = None
    actor: str | None = None
    note: str | None = None  # one sentence, ours


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedLine:
    """A line of the transfer log as it stands: its number, its time and the chain."""

    sequence: int
    at: datetime
    line: TransferLine
    previous_hash: str
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A signed word about the lines `first` to `sequence` of the transfer log.

    It also stands in for lines that were purged: all up to `purged_through`, of which the last
    had the hash `purged_hash`. `salt` hides the other lines in a proof of one.
    """

    number: int  # counts from 1
    first: int
    sequence: int
    head: str  # hash of the last line
    merkle_root: str
    salt: str
    at: datetime
    purged_through: int
    purged_hash: str
    previous: str  # SHA-256 of what the checkpoint before said
    public_key: str
    signature: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What `log verify` found: how many lines, and the first thing wrong, in words.

    `signed` lines are under checkpoints; older lines, up to `purged`, were purged.
    """

    lines: int
    broken_at: int | None = None  # sequence number
    finding: str | None = None
    head: str | None = None  # hash of the last line when sound; noted elsewhere, it proves more
    checkpoints: int = 0
    signed: int = 0
    purged: int = 0
    broken_checkpoint: int | None = None  # its number

    @property
    def sound(self) -> bool:
        """Whether nothing was changed, deleted or inserted."""
        return self.finding is None
