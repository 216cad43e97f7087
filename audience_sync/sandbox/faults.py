"""Faults that a test or a person switches on: which call goes wrong, how, and how often."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

KINDS = {
    "rate-limit": "the partner's own throttle (status, code, minutes, quota_limit)",
    "5xx": "a server error in the partner's own body (status)",
    "conflict": "the list is being changed by somebody else",
    "expired-token": "the access token has expired",
    "terms-not-accepted": "the terms of service are not accepted",
    "html": "a proxy's error page (status)",
    "empty": "an empty body (status)",
    "half-json": "a JSON document that ends too early",
    "huge": "a very long answer (bytes)",
    "timeout": "the answer comes late (seconds)",
    "hang": "the answer never comes",
    "drop": "the connection is closed without an answer",
    "fail-after-change": "the change is made, then a server error or a drop (then)",
    "reject-share": "a share of the rows is refused by count (share, record_indices)",
    "reject-values": "rows with these identifiers, or the first ones, are refused (values, count)",
    "slow-processing": "the result is known later (seconds)",
    "final-failure": "the upload is accepted and fails at the end (Google: values, list ids)",
}


@dataclass(slots=True, kw_only=True)
class Fault:
    """One fault; the values of its options are documented with its kind."""

    partner: str
    kind: str
    operation: str = "*"
    times: int | None = 1  # None: until it is removed
    after: int = 0  # calls that still go well
    status: int | None = None
    code: int | None = None
    seconds: float = 30.0
    minutes: int = 5
    share: float = 0.1
    count: int = 1
    values: list[str] = field(default_factory=list, repr=False)
    quota_limit: str = "IngestionMutateRequestsPerMinutePerProject"
    record_indices: bool = False
    bytes: int = 10_000_000
    then: str = "5xx"

    def rejected(self, rows: int) -> list[int]:
        """Positions of the rows that a rejecting fault takes by number, evenly spread."""
        if self.kind == "reject-values":
            return list(range(min(self.count, rows))) if not self.values else []
        if self.kind != "reject-share":
            return []
        wanted = round(rows * self.share)
        return [index * rows // wanted for index in range(wanted)]


class Faults:
    """The faults that are switched on, oldest first."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []

    def add(self, wanted: dict[str, Any]) -> Fault:
        """Switch a fault on; a ValueError says what is wrong with the wish."""
        known = {option.name for option in fields(Fault)}
        unknown = sorted(set(wanted) - known)
        if unknown:
            raise ValueError(f"unknown option {unknown[0]!r}; known are {', '.join(sorted(known))}")
        if wanted.get("kind") not in KINDS:
            raise ValueError(f"unknown kind; known are {', '.join(KINDS)}")
        if "partner" not in wanted:
            raise ValueError("name the partner, e.g. meta")
        fault = Fault(**wanted)
        self._waiting.append(fault)
        return fault

    def take(self, partner: str, operation: str) -> Fault | None:
        """The fault that this call meets, if any; counts it."""
        for fault in self._waiting:
            if fault.partner not in (partner, "*") or fault.operation not in (operation, "*"):
                continue
            if fault.after > 0:
                fault.after -= 1
                continue
            if fault.times is not None:
                fault.times -= 1
                if fault.times <= 0:
                    self._waiting.remove(fault)
            return fault
        return None

    def clear(self) -> None:
        """Switch all off."""
        self._waiting.clear()

    def waiting(self) -> list[dict[str, Any]]:
        """What is still switched on."""
        return [
            {"partner": f.partner, "operation": f.operation, "kind": f.kind, "times": f.times}
            for f in self._waiting
        ]
