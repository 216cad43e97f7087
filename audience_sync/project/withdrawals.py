"""`withdrawals:` in the project file: their deadline, and what to do where a partner refuses."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from audience_sync.project.source import Section

Policy = Literal["empty_and_rebuild", "delete", "alert"]


class WithdrawalsSection(Section):
    """How fast a withdrawal must reach every partner, and what happens where one refuses it."""

    deadline_hours: Annotated[int, Field(strict=True, ge=1, le=720)] = Field(
        24, description="hours until every partner must have acknowledged; warned of before"
    )
    on_refused_removal: Policy = Field(
        "alert",
        description="where a partner refuses to take people off, as a list would be too small: "
        "empty_and_rebuild takes everybody off, delete deletes the list; the next sync builds it "
        "anew; alert leaves it to a person",
    )

    @property
    def deadline(self) -> timedelta:
        """The deadline as a duration."""
        return timedelta(hours=self.deadline_hours)

    def policy(self, destination: str) -> Policy:  # noqa: ARG002 - one for all, so far
        """What to do where this destination refuses."""
        return self.on_refused_removal
