"""When a request is tried again, and after how long; what takes longer belongs to the queue."""

from __future__ import annotations

from collections.abc import Callable

import tenacity

from audience_sync.connector import TemporaryPartnerError
from audience_sync.delivery.circuit import WithheldError

ATTEMPTS = 6
FIRST_WAIT = 0.5  # seconds; doubles with each attempt, plus up to a second of jitter
LONGEST_WAIT = 10.0  # seconds

_growing = tenacity.wait_exponential_jitter(multiplier=FIRST_WAIT, max=LONGEST_WAIT, jitter=1.0)


def retrying(attempts: int, patience: float, sleep: Callable[[float], None]) -> tenacity.Retrying:
    """Calls again what a partner could not answer, so often and for so many seconds at most."""

    def enough(state: tenacity.RetryCallState) -> bool:
        """Whether to stop: too many attempts, or the next wait would outlast our patience."""
        spent = max(state.idle_for, state.seconds_since_start or 0.0)
        return state.attempt_number >= attempts or spent + state.upcoming_sleep > patience

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(_worth_another),
        wait=_wait,
        stop=enough,
        sleep=sleep,
        reraise=True,
    )


def _worth_another(error: BaseException) -> bool:
    return isinstance(error, TemporaryPartnerError) and not isinstance(error, WithheldError)


def _wait(state: tenacity.RetryCallState) -> float:
    """As long as the partner asked for, else longer with every attempt."""
    error = state.outcome.exception() if state.outcome is not None else None
    if isinstance(error, TemporaryPartnerError) and error.retry_after is not None:
        return error.retry_after
    return _growing(state)
