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
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from audience_sync.customers.decisions import read_decisions
from audience_sync.customers.policy import check_rules
from audience_sync.customers.source import open_source
from audience_sync.customers.table import Split
from audience_sync.errors import (
    AudienceSyncError,
    AwayError,
    BusyError,
    ConfigurationError,
    StateError,
)
from audience_sync.identifiers.kinds import Kind
from audience_sync.ledger.jobs import piece_lease
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.work import Job, Piece
from audience_sync.membership.held import Manifest, Membership
from audience_sync.runs.compare import Comparison, sizes_of
from audience_sync.runs.decided import DecisionJoin
from audience_sync.runs.fanout.coordinator import Next
from audience_sync.runs.fanout.parts import (
    StoredReader,
    StoredWriter,
    gathered,
    gathered_at,
    sum_of,
    tally_as_json,
)
from audience_sync.runs.leases import Held
from audience_sync.runs.listplan import ListPlan, files_for
from audience_sync.runs.plan import Planner
from audience_sync.runs.reading import profiled
from audience_sync.runs.refusals import Refusals
from audience_sync.runs.suppression import Suppression
from audience_sync.runs.survey import Survey
from audience_sync.runs.surveyed import Surveyed
from audience_sync.runs.sweep import PLANS, SCRATCH
from audience_sync.runs.targets import Selection, Target, Workspace, partner_groups
from audience_sync.runs.threads import in_order
from audience_sync.runs.verdicts import Verdicts
from audience_sync.runs.waiting import WaitingLines

KIND = PLANS
READ, SETTLE, CROSS, COMPARE, CONCLUDE = "read", "settle", "cross", "compare", "conclude"
_PARTITIONS = 8  # in a piece; about a million rows

_CHANGED = "the project file was changed while it was planned; plan it again"


class Wanted(NamedTuple):
    """What a job plans, as the project stands: which customers, and the lists in its order."""

    selection: Selection
    targets: Sequence[Target]


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
        work = _Work(self, job, self._space(job, folder), held, name)
        done: Mapping[str, Any] = getattr(work, piece.stage)(piece.number)
        return {"folder": folder, **done}

    def next(self, job: Job) -> Next | None:
        """The stage after this one."""
        partitions = -(-job.spec["partitions"] // _PARTITIONS)
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
            if not self.concluded(job, number):
                self._forget(job, number)
        self._space(job, f"{SCRATCH}/{job.id}").clear()

    def concluded(self, job: Job, number: int) -> bool:
        """Whether the run of a list stands in the ledger."""
        try:
            self.ledger.run(job.spec["runs"][number])
        except ConfigurationError:
            return False
        return True

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


class _Work:
    """One piece of a plan; a method for each stage."""

    def __init__(
        self, stages: PlanStages, job: Job, space: Workspace, held: Held, lease: str
    ) -> None:
        self.stages, self.job, self.space, self.held, self.lease = stages, job, space, held, lease
        self.ledger = stages.ledger
        self.selection, targets = stages.same(job)
        self.targets = list(targets)
        self.now = datetime.fromisoformat(job.spec["now"])
        self.refusals = Refusals(stages.planner.standing, job.spec.get("withdrawals", 0))
        limited = self.selection.decisions is not None or self.refusals.limited
        self.groups = partner_groups(self.targets, by_partner=limited)

    def proceed(self) -> None:
        """Go on, or stop because the piece is another's or is to be handed back."""
        self.held.renew(self.lease)

    def read(self, number: int) -> Mapping[str, Any]:
        """Read and hash one split of the customers, or the decisions."""
        survey = self._survey()
        join = DecisionJoin(survey, self.groups, self.space) if self.selection.decisions else None
        splits = self.job.spec["splits"]
        if number == len(splits):
            return self._read_decisions(join)
        wheres = {t.audience: t.where for t in self.targets if t.where is not None}
        check_rules(self.selection.rules, self.selection.source.columns, decisions=join is not None)
        frames = open_source(self.selection.source).batches(
            wheres,
            without=("customer_id",) if join is None and not self.refusals.customers else (),
            split=Split(**splits[number]),
        )
        take = survey.take if join is None else join.take
        in_order(take, profiled(frames, self.selection.hashed), lambda _: self.proceed())
        if join is not None:
            join.finish()
        elif number == 0:
            survey.refuse()
        return {"customers": 0 if join is None else join.customers, **_told(survey)}

    def _read_decisions(self, join: DecisionJoin | None) -> Mapping[str, Any]:
        if join is None or self.selection.decisions is None:
            raise StateError("a piece for decisions that the project does not have")
        with closing(read_decisions(self.selection.decisions)) as frames:
            for frame in frames:
                join.take_decisions(frame)
                self.proceed()
        join.finish()
        return {"decisions": join.decisions, "unknown": join.unknown_words}

    def settle(self, number: int) -> Mapping[str, Any]:
        """Give the customers of some partitions their latest words."""
        survey = self._survey()
        if number == 0:
            survey.refuse()
        *customers, decisions = [one.result for one in self.ledger.pieces(self.job.id, READ)]
        found = (
            gathered(self.space, "customers", customers, "customers"),
            gathered(self.space, "decisions", [decisions], "decisions"),
        )
        join = DecisionJoin(survey, self.groups, self.space, found)
        in_order(join.settle, self._partitions(number), lambda _: self.proceed())
        return _told(survey)

    def cross(self, _number: int) -> Mapping[str, Any]:
        """Carry refusals across partitions; how large the lists will be, about."""
        surveyed = self._surveyed()
        verdicts = Verdicts(surveyed, self.space)
        verdicts.cross()
        sizes = sizes_of(surveyed)
        files = [
            files_for(
                sizes[target.audience],
                self.space.partitions,
                Manifest.of(self._remote(target).manifest).partitions,
            )
            for target in self.targets
        ]
        return {"reached": verdicts.reached, "files": files}

    def compare(self, number: int) -> Mapping[str, Any]:
        """Compare some partitions with what every list holds."""
        surveyed = self._surveyed()
        (crossed,) = [one.result for one in self.ledger.pieces(self.job.id, CROSS)]
        reached = gathered(self.space, "reached", [crossed], "reached")
        verdicts = Verdicts(surveyed, self.space, reached)
        suppression = Suppression(self.ledger, self.stages.fingerprint_key, self.stages.planner.now)
        comparison = Comparison(surveyed, verdicts, suppression.suppressed, self.now)
        waiting = WaitingLines(self.space)
        plans = [self._plan(at, waiting) for at in range(len(self.targets))]
        failed: set[int] = set()
        with StoredWriter(self.space) as writer:
            for partition in self._partitions(number):
                rows = comparison.read(partition)
                for at, plan in enumerate(plans):
                    if at in failed:
                        continue
                    try:
                        compared = comparison.compare(rows, plan.target, plan.before)
                        writer.put(at, plan.store(compared))
                    except AwayError:
                        raise  # that stops all lists, for a while
                    except AudienceSyncError as error:
                        failed.add(at)
                        writer.failed(at, str(error))
                self.proceed()
            writer.finish()
        return {}

    def conclude(self, number: int) -> Mapping[str, Any]:
        """Close one list: outbox, guards, and the run in the ledger; a list's error is its own."""
        run = self.job.spec["runs"][number]
        if self.stages.concluded(self.job, number):
            return {"run": run}  # who did this piece before died after the run was written
        waiting = WaitingLines(self.space)
        plan = self._plan(number, waiting)
        try:
            for one in self.ledger.pieces(self.job.id, COMPARE):
                reader = StoredReader(self.space.at(one.result["folder"]))
                error = reader.error(number)
                if error is not None:
                    raise StateError(error)
                for stored in reader.of(number):
                    plan.take(stored)
                self.proceed()
            waiting.finish()
            leases = self.held[self.lease], self.held[self.targets[number].name]
            surveyed = self._surveyed()
            return {"run": self.stages.planner.conclude(plan, surveyed, *leases, due=True).id}
        except (AwayError, BusyError):
            raise
        except AudienceSyncError as error:
            return {"error": str(error)}
        finally:
            waiting.close()
            if not plan.kept:
                plan.abandon()

    def _survey(self) -> Survey:
        space, now = self.space, self.now
        return Survey(self.selection, self.targets, self.groups, space, now, self.refusals)

    def _surveyed(self) -> Surveyed:
        """What all pieces of the survey found, as one."""
        read = [one.result for one in self.ledger.pieces(self.job.id, READ)]
        found = [one.result for one in self.ledger.pieces(self.job.id, self.job.spec["surveyed"])]
        found = [one for one in found if "tally" in one]
        blank = self._survey()
        others = [] if self.job.spec["surveyed"] == READ else read
        tally = sum_of([one["tally"] for one in [*others, *found] if "tally" in one])
        tally.unknown_consent_values += sum(one.get("unknown", 0) for one in read)
        denials = {
            kind: self.space.denials(kind, self._denials(kind, found)) for kind in blank.identity
        }
        rows = gathered(self.space, "rows", found, "kept")
        identity, audiences = blank.identity, blank.audiences
        groups, known = blank.groups, self.refusals.through
        group_of = blank.group_of
        return Surveyed(identity, audiences, group_of, groups, rows, denials, tally, known)

    def _denials(self, kind: Kind, found: Sequence[Mapping[str, Any]]) -> Any:
        parts = [
            (self.space.at(one["folder"]).denials_path(kind), one["denials"].get(kind.value, 0))
            for one in found
        ]
        return gathered_at(self.space, parts)

    def _plan(self, number: int, waiting: WaitingLines) -> ListPlan:
        target = self.targets[number]
        remote = self._remote(target)
        before = Membership(
            self.space.location,
            self.space.keyring,
            Manifest.of(remote.manifest),
            stale=target.is_due(remote.refreshed_at),
        )
        return ListPlan(
            self.job.spec["runs"][number],
            target,
            before,
            remote.generation,
            self.space,
            waiting,
            at_once=True,
            files=self.job.spec["files"][number],
            attempt=self.space.folder.rpartition("/")[2],
        )

    def _remote(self, target: Target) -> Any:
        return self.ledger.remote_list(target.audience, target.destination)

    def _partitions(self, number: int) -> range:
        start = number * _PARTITIONS
        return range(start, min(start + _PARTITIONS, self.space.partitions))


def _plain(value: object) -> object:
    """What JSON lacks: sets in order, times and numbers as text; folders differ by machine."""
    if isinstance(value, frozenset):
        return sorted(value)
    return None if isinstance(value, Path) else str(value)


def _told(survey: Survey) -> dict[str, Any]:
    """What a survey found, in numbers."""
    surveyed = survey.finish()
    return {
        "tally": tally_as_json(surveyed.tally),
        "kept": surveyed.rows.rows,
        "denials": {kind.value: found.rows for kind, found in surveyed.denials.items()},
    }
