"""Whatever happens in whatever order, nobody who withdrew is added, and all ends true (L11)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from pipeline_world import fast_folder, granted
from withdrawn_world import WithdrawnWorld, written

from audience_sync.errors import TemporaryPartnerError
from audience_sync.ledger.records import RunState
from audience_sync.runs import standing

NUMBERS = st.integers(0, 5)
BEFORE = datetime(2026, 1, 1, tzinfo=UTC)
NEVER = datetime(2025, 1, 1, tzinfo=UTC)
_WAITING = [RunState.PLANNED, RunState.HELD]


def email(number: int) -> str:
    """An address of somebody."""
    return f"p{number}@example.com"


def phone(number: int) -> str:
    """A number that two of them share."""
    return f"+4670000000{number // 2}"


class Interleaved(RuleBasedStateMachine):
    """Customers change, decide and withdraw; plans, deliveries and the lane come and fail."""

    def __init__(self) -> None:
        super().__init__()
        standing.PATIENCE = 0.0  # type: ignore[misc] # restored in teardown

    @initialize()
    def begin(self) -> None:
        """Six customers who granted, and nobody held."""
        self.world = WithdrawnWorld(fast_folder())
        self.customers: dict[int, datetime] = dict.fromkeys(range(6), BEFORE)
        self.by_email: dict[int, datetime] = {}
        self.by_phone: dict[int, datetime] = {}
        self.write()

    def teardown(self) -> None:
        """The usual patience again."""
        standing.PATIENCE = 60.0  # type: ignore[misc]

    def write(self) -> None:
        """The source as the customers are."""
        rows: list[Any] = [
            granted(f"c{n}", email=email(n), phone=phone(n), consent_at=at.isoformat())
            for n, at in self.customers.items()
        ]
        self.world.write(rows)

    def allowed(self) -> set[str]:
        """What a partner may hold now: the latest word on each customer and identifier decides."""
        return {cell for n in self.people(self.customers) for cell in written(email(n), phone(n))}

    def people(self, customers: dict[int, datetime]) -> set[int]:
        """Who may be shared: a later grant of anybody who carries it lifts a refusal."""
        grants: dict[int, datetime] = {}
        for number, at in customers.items():
            half = number // 2
            grants[half] = max(at, grants.get(half, BEFORE))
        return {
            n
            for n, at in customers.items()
            if not self.by_email.get(n, NEVER) >= at
            and not self.by_phone.get(n // 2, NEVER) >= grants[n // 2]
        }

    @rule(number=NUMBERS)
    def grants(self, number: int) -> None:
        """A customer comes, or grants anew."""
        at = self.world.now() if number in self.customers else BEFORE
        self.customers[number] = at
        if at != BEFORE:  # it lifts what stood before, of the identifiers that it brings
            self.world.forbidden -= written(email(number), phone(number))
        self.write()

    @rule(number=NUMBERS)
    def leaves(self, number: int) -> None:
        """A customer is deleted from the source."""
        self.customers.pop(number, None)
        self.write()

    @rule(number=NUMBERS, by=st.sampled_from(["email", "phone"]))
    def withdraws(self, number: int, by: str) -> None:
        """Somebody withdraws by an identifier, known or not."""
        at = self.world.now()
        if by == "email":
            self.by_email[number] = at
            self.world.withdraw(email=email(number), decided_at=at)
        else:
            self.by_phone[number // 2] = at
            self.world.withdraw(phone=phone(number), decided_at=at)

    @rule(numbers=st.lists(NUMBERS, min_size=1, max_size=3), when=st.integers(0, 2))
    def withdraws_while_delivering(self, numbers: list[int], when: int) -> None:
        """The same in the middle of a sync, with the lane at work beside it."""
        left = [when]

        def on_add() -> None:
            left[0] -= 1
            if left[0] == -1:
                for number in numbers:
                    self.withdraws(number, "email")
                self.world.lane_works()

        self.world.on_add = on_add
        try:
            self.world.sync()
        finally:
            self.world.on_add = lambda: None

    @rule(operation=st.sampled_from(["add", "remove"]), when=st.sampled_from(["before", "after"]))
    def sync_that_fails(self, operation: str, when: str) -> None:
        """The partner answers nothing, before or after it did what was asked."""

        def fault(moment: str, asked: str) -> None:
            if (moment, asked) == (when, operation):
                raise TemporaryPartnerError("no answer")

        self.world.partner.fault = fault
        try:
            self.world.sync()
            self.world.lane_works()
        finally:
            self.world.partner.fault = lambda _when, _operation: None

    @rule()
    def plan(self) -> None:
        """A plan is made for later."""
        self.world.sync(deliver=False)

    @precondition(lambda self: self.world.ledger.runs(states=_WAITING))
    @rule()
    def approve(self) -> None:
        """The plan is delivered, whatever happened since."""
        run = self.world.ledger.runs(states=_WAITING)[0]
        self.world.pipeline().approve(run, "anna")

    @precondition(lambda self: self.world.ledger.runs(states=[RunState.DELIVERING]))
    @rule()
    def resume(self) -> None:
        """An interrupted delivery goes on."""
        self.world.pipeline().resume(self.world.ledger.runs(states=[RunState.DELIVERING])[0])

    @rule()
    def sync(self) -> None:
        """An ordinary sync."""
        self.world.sync()

    @rule()
    def lane(self) -> None:
        """The lane."""
        self.world.lane_works()

    @invariant()
    def nobody_was_added_after_withdrawing(self) -> None:
        """At no moment."""
        if hasattr(self, "world"):
            assert self.world.wrongs == []

    @rule()
    def all_is_settled(self) -> None:
        """When all is quiet the partner holds exactly who may be there, and we know it."""
        for run in self.world.ledger.runs(states=[RunState.DELIVERING]):
            self.world.pipeline().resume(run)
        self.world.lane_works()
        worked = self.world.lane_works()
        assert worked.open == 0, worked.reasons
        outcome = self.world.sync()
        assert outcome.error is None, outcome.error
        assert self.world.lane_works().open == 0
        assert self.world.partner.holds == self.world.held() == self.allowed()


TestInterleaved = Interleaved.TestCase
TestInterleaved.settings = settings(
    max_examples=15,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
