"""What the ledger remembers, as frozen values: runs, batches, lists, leases, transfer lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class RunState(StrEnum):
    """Where a run is on its way: planned → (held) → delivering → delivered → confirmed."""

    PLANNED = "planned"
    HELD = "held"
    DELIVERING = "delivering"
    DELIVERED = "delivered"  # every batch was accepted; a partner may still be at work on it
    CONFIRMED = "confirmed"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN_STATES = frozenset({RunState.PLANNED, RunState.HELD, RunState.DELIVERING})


class Operation(StrEnum):
    """What a batch does at the partner."""

    ADD = "add"
    REMOVE = "remove"
    REPORT = "report"  # of orders


class BatchState(StrEnum):
    """How far a batch is."""

    WAITING = "waiting"
    SENDING = "sending"  # an intent is in the transfer log, no answer yet
    ACCEPTED = "accepted"
    PENDING = "pending"  # accepted; the partner answers later
    CONFIRMED = "confirmed"
    UNKNOWN = "unknown"  # we stopped between intent and answer; it is sent again
    FAILED = "failed"


class LineState(StrEnum):
    """What is known of an order line at a destination."""

    REPORTED = "reported"
    UNKNOWN = "unknown"  # reported last without an answer; a person says whether it arrived
    REFUSED = "refused"  # the partner took nothing of it; reported again once it has changed


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


class JobState(StrEnum):
    """How a job stands."""

    OPEN = "open"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Work for many workers, stage by stage; `spec` holds names, numbers and times only.

    `leases` are the leases, name → token, that the job holds for all its workers until it ends.
    """

    id: str
    kind: str
    state: JobState = JobState.OPEN
    stage: str
    spec: Mapping[str, Any] = field(default_factory=dict)
    leases: Mapping[str, int] = field(default_factory=dict)
    created_at: datetime
    changed_at: datetime
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of a stage that one worker does alone; `result` holds counts and names only."""

    job: str
    stage: str
    number: int
    done: bool = False
    attempts: int = 0
    not_before: datetime | None = None
    result: Mapping[str, Any] = field(default_factory=dict)
    note: str | None = None  # what it waits for: one sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One upload within a run, in the order of the outbox (removals first)."""

    run: str
    position: int
    operation: Operation
    members: int
    state: BatchState = BatchState.WAITING
    accepted: int = 0
    rejected: int = 0
    unattributed: int = 0
    rejected_positions: tuple[int, ...] = ()  # positions in the batch; cleared when the run ends
    reference: str | None = None
    attempts: int = 0
    error: str | None = None
    withheld: int = 0  # members who withdrew after the plan and were not sent, at the last attempt
    withheld_positions: tuple[int, ...] = ()  # the same as positions; cleared when the run ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One sync of one audience to one destination."""

    id: str
    audience: str
    destination: str
    state: RunState
    planned_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    reason: str | None = None  # why it is held, failed or waiting: one sentence
    funnel: Mapping[str, int] = field(default_factory=dict)
    delta: Mapping[str, int] = field(default_factory=dict)
    forms: Mapping[str, str] = field(default_factory=dict)  # kind → "form@version"
    generation: int = 0  # of the membership that the delta was made against
    outbox: str | None = None  # SHA-256 of the outbox, hex; None when nothing is to be sent
    forced: bool = False
    approved_by: str | None = None
    next_attempt_at: datetime | None = None  # a partner asked us to wait, or will answer later
    planned_by: str | None = None  # who gave the command that planned it, or "schedule"
    withdrawals: int = 0  # the newest one that the plan knew, by its sequence

    @property
    def lease_name(self) -> str:
        """The name of the lease that protects this run's list (L7)."""
        return f"{self.audience}/{self.destination}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteList:
    """What we know of one audience at one destination; `manifest` names the membership's files."""

    audience: str
    destination: str
    remote_id: str | None = None
    marker: str | None = None
    creation_intended_at: datetime | None = None
    adopted: bool = False
    account: str | None = None  # at the partner, that the list belongs to
    generation: int = 0
    members: int = 0
    forms: Mapping[str, str] = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict)
    statistics: Mapping[str, Any] = field(default_factory=dict)
    updated_at: datetime | None = None
    refreshed_at: datetime | None = None  # everybody on it was sent since then


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedLine:
    """What one destination holds of an order line; `tried` is what the last report would make it.

    `line`, `of_order` and `revision` are keyed fingerprints, 32 bytes each.
    """

    destination: str
    line: bytes
    of_order: bytes
    quantity: int = 0
    amount: int = 0  # minor units
    tried_quantity: int = 0
    tried_amount: int = 0
    revision: bytes
    state: LineState
    run: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """How far an audience's schedule is: the last due time that needs nothing more."""

    audience: str
    rule: str  # cron and time zone; when it changes, what was due by the new one has passed
    due_at: datetime
    served_at: datetime | None = None  # None: the due time was before we knew the schedule
    retry_at: datetime | None = None  # the due time after `due_at` failed, and is tried again
    note: str | None = None  # what was skipped or failed, in one sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to work on one audience at one destination; `token` grows with each holder."""

    name: str
    holder: str
    token: int
    expires_at: datetime


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
