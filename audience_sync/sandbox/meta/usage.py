"""The limits of an ad account, told on each reply and enforced on request."""

from __future__ import annotations

from collections import deque

import orjson

from audience_sync.sandbox.meta.audiences import Audiences
from audience_sync.sandbox.meta.errors import throttled
from audience_sync.sandbox.world import Reply, World

HOUR = 3600  # seconds
QUOTA = 190_000  # calls per ad account and hour, with advanced access
QUOTA_PER_LIST = 40


class Usage:
    """Counts the calls of the last hour by ad account."""

    def __init__(self, world: World, audiences: Audiences) -> None:
        self._world, self._audiences = world, audiences
        self._calls: dict[str, deque[float]] = {}

    def spend(self, account: str | None) -> None:
        """Count a call, or refuse it when the hour's calls are used up."""
        if account is None or not self._world.options.strict_quotas:
            return
        now = self._world.clock.now()
        calls = self._calls.setdefault(account, deque())
        while calls and calls[0] <= now - HOUR:
            calls.popleft()
        if len(calls) >= self._quota(account):
            raise throttled(status=self._world.options.meta_throttle_status)
        calls.append(now)

    def _quota(self, account: str) -> int:
        return QUOTA + QUOTA_PER_LIST * len(self._audiences.of(account))

    def tell(
        self, reply: Reply, account: str | None, *, full: bool = False, minutes: int = 0
    ) -> Reply:
        """Say how much of the limits is used, in percent, as Meta does on each reply."""
        if account is None:
            return reply
        reply.account = account
        share = 100 if full else len(self._calls.get(account, ())) * 100 // self._quota(account)
        usage = {
            "type": "custom_audience",
            "call_count": share,
            "total_cputime": 1,
            "total_time": 1,
            "estimated_time_to_regain_access": minutes,
            "ads_api_access_tier": "standard_access",
        }
        reply.headers["X-Business-Use-Case-Usage"] = orjson.dumps({account: [usage]}).decode()
        app = {"call_count": share, "total_cputime": 1, "total_time": 1}
        reply.headers["X-App-Usage"] = orjson.dumps(app).decode()
        return reply
