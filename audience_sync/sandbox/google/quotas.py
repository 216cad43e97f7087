"""The documented quotas per project, by the minute and by the day."""

from __future__ import annotations

from audience_sync.sandbox.google.errors import exhausted
from audience_sync.sandbox.world import Clock

PER_MINUTE = 300
PER_DAY = {
    "IngestionMutate": 100_000,
    "IngestionRead": 100_000,
    "ManagementMutate": 50_000,
    "ManagementRead": 50_000,
}
METRICS = {
    "add": "IngestionMutate",
    "remove": "IngestionMutate",
    "remove_all": "IngestionMutate",
    "status": "IngestionRead",
    "create": "ManagementMutate",
    "update": "ManagementMutate",
    "delete": "ManagementMutate",
    "list": "ManagementRead",
    "get": "ManagementRead",
}


class Quotas:
    """Counts calls in whole minutes and days of the sandbox's clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._used: dict[tuple[str, int], int] = {}

    def spend(self, operation: str) -> None:
        """Count a call, or refuse it by the name of the quota."""
        metric = METRICS.get(operation)
        if metric is None:
            return
        now = int(self._clock.now())
        minute, day = (f"{metric}Minute", now // 60), (f"{metric}Day", now // 86_400)
        if self._used.get(day, 0) >= PER_DAY[metric]:
            raise exhausted(f"{metric}RequestsPerDayPerProject")
        if self._used.get(minute, 0) >= PER_MINUTE:
            raise exhausted(f"{metric}RequestsPerMinutePerProject")
        for window in (minute, day):
            self._used[window] = self._used.get(window, 0) + 1
