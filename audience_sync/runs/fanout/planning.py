"""Plans lists together, stage by stage, in pieces that any worker may do.

`read` (splits of the source; the decisions are one piece more) → `settle` (only with decisions:
partitions of customers) → `cross` → `compare` (partitions of people) → `conclude` (lists). The
stages call what a plan in one process calls; only what lies between them is kept in files.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from audience_sync.customers.table import Split
from audience_sync.errors import AudienceSyncError, ConfigurationError, StateError
from audience_sync.ledger.jobs import piece_lease
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.work import Job, Piece
from audience_sync.runs.fanout.concluding import Work
from audience_sync.runs.fanout.kinds import Next
from audience_sync.runs.fanout.stages import (
    COMPARE,
    CONCLUDE,
    CROSS,
    READ,
    SETTLE,
    Wanted,
    groups_of,
    is_concluded,
)
from audience_sync.runs.leases import Held
from audience_sync.runs.plan import Planner
from audience_sync.runs.sweep import PLANS, SCRATCH
from audience_sync.runs.targets import Workspace

KIND = PLANS

_CHANGED = "the project file was changed while it was planned; plan it again"


@dataclass(frozen=True, kw_only=True)
class PlanStages:
    """The kind of job that plans; `wanted` tells what the project wants of the lists of a job."""

    sends: ClassVar[bool] = False

    ledger: Ledger
    planner: Planner
    fingerprint_key: bytes = field(repr=False)
    wanted: Callable[[Sequence[Sequence[str]], datetime], Wanted]

    def spec(self, wanted: Wanted, splits: Sequence[Split], partitions: int) -> dict[str, Any]:
        """What a new job of this kind has to know; every list gets the id of its run."""
        now = self.planner.now()
        names = [[target.audience, target.destination] for target in wanted.targets]
        return {
            "now": now.isoformat(),
            "lists": names,
            "runs": [self.ledger.new_run_id() for _ in names],
            "splits": [split.as_json() for split in splits],
            "partitions": partitions,
            "withdrawals": self.ledger.newest_withdrawal(),
            "definition": self._definition(self.wanted(names, now)),
        }

    def pieces(self, wanted: Wanted, splits: Sequence[Split]) -> int:
        """How many pieces the first stage, READ, has."""
        return len(splits) + (wanted.selection.decisions is not None)

    def do(self, job: Job, piece: Piece, held: Held) -> Mapping[str, Any]:
        """Do a piece of any stage."""
        name = piece_lease(job.id, piece.stage, piece.number)
        token = held[name].token
        folder = f"{SCRATCH}/{job.id}/{piece.stage}-{piece.number}-{token}"
        space = self._space(job, folder)
        key = self.fingerprint_key
        work = Work(job, self.same(job), self.ledger, self.planner, key, space, held, name)
        done: Mapping[str, Any] = getattr(work, piece.stage)(piece.number)
        return {"folder": folder, **done}

    def next(self, job: Job) -> Next | None:
        """The stage after this one."""
        partitions = groups_of(job.spec["partitions"])
        if job.stage == READ and len(self.ledger.pieces(job.id, READ)) > len(job.spec["splits"]):
            return Next(SETTLE, partitions, {})
        if job.stage in (READ, SETTLE):
            return Next(CROSS, 1, {"surveyed": job.stage})
        if job.stage == CROSS:
            (crossed,) = self.ledger.pieces(job.id, CROSS)
            return Next(COMPARE, partitions, {"files": crossed.result["files"]})
        return Next(CONCLUDE, len(job.spec["lists"]), {}) if job.stage == COMPARE else None

    def finished(self, job: Job) -> Mapping[str, Any]:
        """What lay between the stages goes; what stopped lists stays to be told."""
        concluded = self.ledger.pieces(job.id, CONCLUDE)
        errors = [one.result.get("error") for one in concluded]
        with suppress(StateError):  # the sweep deletes what is left
            self._space(job, f"{SCRATCH}/{job.id}").clear()
            for number, error in enumerate(errors):
                if error is not None:
                    self._forget(job, number)
        return {"errors": errors}

    def gave_up(self, job: Job, error: AudienceSyncError, held: Held) -> None:  # noqa: ARG002 - what follows is the same
        """What was written goes, but for the lists that are concluded."""
        for number in range(len(job.spec["lists"])):
            if not is_concluded(self.ledger, job, number):
                self._forget(job, number)
        self._space(job, f"{SCRATCH}/{job.id}").clear()

    def _forget(self, job: Job, number: int) -> None:
        """Delete what was written for a list that has no run in the end."""
        (audience, destination), run = job.spec["lists"][number], job.spec["runs"][number]
        self.planner.location.delete(f"lists/{destination}/{audience}/{run}")
        self.planner.location.delete(f"outbox/{run}")

    def _space(self, job: Job, folder: str) -> Workspace:
        return Workspace(
            location=self.planner.location,
            keyring=self.planner.keyring,
            folder=folder,
            partitions=job.spec["partitions"],
        )

    def _definition(self, wanted: Wanted) -> str:
        """A keyed digest of all that a project says of a plan, the source's address included.

        The same on every machine, wherever the project's folder is there.
        """
        said = [asdict(wanted.selection), [asdict(target) for target in wanted.targets]]
        words = json.dumps(said, default=_plain, sort_keys=True)
        return hmac.new(self.fingerprint_key, words.encode(), hashlib.sha256).hexdigest()

    def same(self, job: Job) -> Wanted:
        """What the project wants of a job's lists; it must be what it wanted at the beginning."""
        wanted = self.wanted(job.spec["lists"], datetime.fromisoformat(job.spec["now"]))
        if not hmac.compare_digest(self._definition(wanted), job.spec["definition"]):
            raise ConfigurationError(_CHANGED)
        return wanted


def _plain(value: object) -> object:
    """What JSON lacks: sets in order, times and numbers as text; folders differ by machine."""
    if isinstance(value, frozenset):
        return sorted(value)
    return None if isinstance(value, Path) else str(value)
