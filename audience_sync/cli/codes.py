"""The exit codes, and which of them an outcome means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from audience_sync.errors import AudienceSyncError, ConfigurationError, GuardError

if TYPE_CHECKING:
    from audience_sync.runs.outcome import Outcome

DONE = 0
FAILED = 1
USAGE = 2  # wrong usage or configuration
HELD = 3  # by a guard; a person decides
PARTLY = 4  # some lists were delivered, others were not
INTERRUPTED = 130  # Ctrl-C, as shells have it


def of_error(error: AudienceSyncError) -> int:
    """The code that an error ends a command with."""
    if isinstance(error, ConfigurationError):
        return USAGE
    return HELD if isinstance(error, GuardError) else FAILED


def of_outcomes(outcomes: Sequence[Outcome]) -> int:
    """The code of several lists together; one that another run works on is no failure."""
    from audience_sync.runs.outcome import worst  # noqa: PLC0415 - keeps --help light

    counts = worst(outcomes)
    if counts["failed"]:
        if counts["done"] or counts["held"]:
            return PARTLY
        errors = [outcome.error for outcome in outcomes if outcome.error is not None]
        wrong = [error for error in errors if isinstance(error, ConfigurationError)]
        return USAGE if len(wrong) == counts["failed"] else FAILED
    return HELD if counts["held"] else DONE
