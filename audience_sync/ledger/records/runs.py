"""Runs with their batches, and the lists at partners that they change."""

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
