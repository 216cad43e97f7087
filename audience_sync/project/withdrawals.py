"""`withdrawals:` in the project file: their deadline, and what to do where a partner refuses."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field

from audience_sync.connector import Connector
from audience_sync.project.document import Findings, Place
from audience_sync.project.source import Section

RemovalPolicy = Literal["empty_and_rebuild", "delete", "alert"]


class WithdrawalsSection(Section):
    """How fast a withdrawal must reach every partner, and what happens where one refuses it."""

    # Workers look for refusals every five minutes.
    deadline_hours: Annotated[float, Field(strict=True, ge=0.1, le=720)] = Field(
        24, description="hours until every partner must have acknowledged; warned of before"
    )
    on_refused_removal: RemovalPolicy = Field(
        "alert",
        description="where a partner refuses to take people off, as a list would be too small: "
        "empty_and_rebuild takes everybody off, delete deletes the list; the next sync builds it "
        "anew; alert leaves it to a person",
    )

    @property
    def deadline(self) -> timedelta:
        """The deadline as a duration."""
        return timedelta(hours=self.deadline_hours)


class DestinationPolicy(Section):
    """What any destination may set for itself, beside the settings of its connector."""

    on_refused_removal: RemovalPolicy | None = Field(
        None, description="the same as in withdrawals:, for this destination alone"
    )


def check_deletes(
    policy: DestinationPolicy, connector: type[Connector[Any]], place: Place, findings: Findings
) -> None:
    """A destination that is to delete a list must be able to."""
    unable = connector.delete_audience is Connector.delete_audience
    if policy.on_refused_removal == "delete" and unable:
        findings.add(
            (*place, "on_refused_removal"),
            f"{connector.title} deletes no lists; write empty_and_rebuild or alert",
        )
