"""Pieces of a plan that survey customers: `read`, `settle` and `cross`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import datetime
from typing import Any

from audience_sync.customers.decisions import read_decisions
from audience_sync.customers.policy import check_rules
from audience_sync.customers.source import open_source
from audience_sync.customers.table import Split
from audience_sync.errors import StateError
from audience_sync.identifiers.kinds import Kind
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.runs import RemoteList
from audience_sync.ledger.records.work import Job
from audience_sync.membership.held import Manifest
from audience_sync.runs.compare import sizes_of
from audience_sync.runs.decided import DecisionJoin
from audience_sync.runs.fanout.parts import gathered, gathered_at, sum_of, tally_as_json
from audience_sync.runs.fanout.stages import READ, Wanted, partitions_of
from audience_sync.runs.leases import Held
from audience_sync.runs.listplan import files_for
from audience_sync.runs.reading import profiled
from audience_sync.runs.refusals import Refusals
from audience_sync.runs.standing import Standing
from audience_sync.runs.survey import Survey
from audience_sync.runs.surveyed import Surveyed
from audience_sync.runs.targets import Target, Workspace, partner_groups
from audience_sync.runs.threads import in_order
from audience_sync.runs.verdicts import Verdicts


class Surveying:
    """One piece of a plan; see `Work` for the stages after these."""

    def __init__(
        self,
        job: Job,
        wanted: Wanted,
        ledger: Ledger,
        standing: Standing,
        space: Workspace,
        held: Held,
        lease: str,
    ) -> None:
        self.job, self.ledger, self.space, self.held, self.lease = job, ledger, space, held, lease
        self.selection, self.targets = wanted.selection, list(wanted.targets)
        self.now = datetime.fromisoformat(job.spec["now"])
        self.refusals = Refusals(standing, job.spec.get("withdrawals", 0))
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
        mine = partitions_of(number, self.space.partitions)
        in_order(join.settle, mine, lambda _: self.proceed())
        return _told(survey)

    def cross(self, _number: int) -> Mapping[str, Any]:
        """Carry refusals across partitions; how large the lists will be, about."""
        surveyed = self.surveyed()
        verdicts = Verdicts(surveyed, self.space)
        verdicts.cross()
        sizes = sizes_of(surveyed)
        files = [
            files_for(
                sizes[target.audience],
                self.space.partitions,
                Manifest.of(self.remote(target).manifest).partitions,
            )
            for target in self.targets
        ]
        return {"reached": verdicts.reached, "files": files}

    def _survey(self) -> Survey:
        space, now = self.space, self.now
        return Survey(self.selection, self.targets, self.groups, space, now, self.refusals)

    def surveyed(self) -> Surveyed:
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

    def remote(self, target: Target) -> RemoteList:
        """What is known of a list at its partner."""
        return self.ledger.remote_list(target.audience, target.destination)


def _told(survey: Survey) -> dict[str, Any]:
    """What a survey found, in numbers."""
    surveyed = survey.finish()
    return {
        "tally": tally_as_json(surveyed.tally),
        "kept": surveyed.rows.rows,
        "denials": {kind.value: found.rows for kind, found in surveyed.denials.items()},
    }
