"""How long things are kept, who approves, and what the record of processing activities says."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from audience_sync.period import Period
from audience_sync.project.source import Section
from audience_sync.project.values import CountOrOff, PeriodValue

REPORT_THRESHOLD = 10  # people; a count of fewer could point at one of them

Line = Annotated[str, Field(min_length=1, max_length=500)]
Category = Literal[
    "health", "religion", "ethnicity", "politics", "sexuality", "union", "crime", "minors"
]
Acknowledged = dict[Category, Line]


def _kept(count: int, unit: Any, description: str) -> Any:
    default = Period(count, unit)
    return Field(default, description=description, json_schema_extra={"default": str(default)})


class Retention(Section):
    """How long each thing is kept; `purge` and the daily task delete what is older."""

    transfer_log: PeriodValue = _kept(1, "year", "lines of the transfer log, after their run ended")
    runs: PeriodValue = _kept(1, "year", "runs with their funnels and batches, after they ended")
    outboxes: PeriodValue = _kept(
        14, "day", "plans that nobody approved or finished; older ones are cancelled and deleted"
    )
    fingerprints: PeriodValue = _kept(
        30, "day", "keyed fingerprints of members that a partner rejected"
    )
    traces: PeriodValue = _kept(
        1, "year", "keyed fingerprints of who was taken off a list, for `subject find`"
    )
    withdrawals: PeriodValue = _kept(3, "year", "records of withdrawals, after they were confirmed")
    lists: PeriodValue = _kept(1, "year", "lists that hold nobody and that the project dropped")
    schedules: PeriodValue = _kept(90, "day", "served times of audiences that the project dropped")
    jobs: PeriodValue = _kept(30, "day", "ended jobs, and leases that nobody holds any more")


class Approval(Section):
    """Who may send what a guard held."""

    two_people: Annotated[bool, Field(strict=True)] = Field(
        False,
        description="whoever planned a held run may not approve it; --force is refused",
    )


class RecordsSection(Section):
    """What the record of processing activities (GDPR Art. 30) says beside what we know."""

    contact: Line | None = Field(None, description="how to reach the controller")
    protection_officer: Line | None = Field(None, description="the data protection officer")
    legal_basis: Line = Field(
        "consent, Art. 6(1)(a) GDPR", description="why customers may be shared"
    )
    data_subjects: Line = Field(
        "customers who consented to be shared for this purpose", description="whose data it is"
    )
    retention_at_recipient: Line | None = Field(
        None, description="how long recipients keep what they matched, by their terms"
    )
    safeguards: Line | None = Field(
        None,
        description="what protects transfers outside the EEA, such as standard contractual clauses",
    )
    security: Line | None = Field(None, description="measures beyond those of audience-sync")


Threshold = CountOrOff
