"""Whatever happens in whatever order, nobody who withdrew is added, and all ends true (L11).

`AUDIENCE_SYNC_TEST_EXAMPLES=500 pytest tests/unit/test_withdrawals_interleaved.py` looks longer.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from pipeline_world import fast_folder, granted
from two_partners_world import PARTNERS, SharedWorld, TwoPartnersWorld, written_for

from audience_sync.errors import TemporaryPartnerError
from audience_sync.ledger.records.runs import RunState
from audience_sync.ledger.records.work import JobState
from audience_sync.ledger.withdrawal_deliveries import WithdrawalState
from audience_sync.runs import screen
from audience_sync.runs.escalation import OnRefusedRemoval
from audience_sync.runs.fanout import delivering

NUMBERS = st.integers(0, 5)
WHOM = st.sampled_from([None, *PARTNERS])
BEFORE = datetime(2026, 1, 1, tzinfo=UTC)
_WAITING = [RunState.PLANNED, RunState.HELD]
_HOURS = 6  # until all is over where a partner has its last word on everything
_REMOVALS = 3  # in that time: what nobody has sent yet, and once more after an addition
_DEATHS = 3  # of ours, where we die at all
_EXAMPLES = int(os.environ.get("AUDIENCE_SYNC_TEST_EXAMPLES", "6"))

pytestmark = pytest.mark.timeout(max(240, 60 * _EXAMPLES))

Identifier = tuple[str, str]


@dataclass(frozen=True)
class Row:
    """A customer as the source has them."""

    number: int
    letter: str = "p"  # of the address, which may change
    says: str = "granted"
    at: datetime = BEFORE

    @property
    def email(self) -> str:
        """Nobody else has it."""
        return f"{self.letter}{self.number}@example.com"

    @property
    def phone(self) -> str:
        """Two of them share it."""
        return f"+4670000000{self.number // 2}"

    @property
    def identifiers(self) -> list[Identifier]:
        """Both, with their kinds."""
        return [("email", self.email), ("phone", self.phone)]


class Refusals:
    """What one partner must know: the latest withdrawal of each identifier and customer."""

    def __init__(self) -> None:
        self.identifiers: dict[Identifier, datetime] = {}
        self.customers: dict[int, datetime] = {}

    def word(self, row: Row) -> tuple[bool, datetime]:
        """Whether the row grants, and since when it says what it says."""
        withdrawn = self.customers.get(row.number)
        if withdrawn is not None and row.at <= withdrawn:
            return False, withdrawn
        return row.says == "granted", row.at

    def granted(self, rows: list[Row]) -> dict[Identifier, datetime]:
        """The latest grant of each identifier."""
        found: dict[Identifier, datetime] = {}
        for row in rows:
            grants, at = self.word(row)
            for one in row.identifiers if grants else ():
                found[one] = max(at, found.get(one, BEFORE))
        return found

    def allowed(self, rows: list[Row]) -> list[Row]:
        """Who may be shared: the latest word on the customer and on each identifier decides."""
        denied, grants = dict(self.identifiers), self.granted(rows)
        for row in rows:
            said, at = self.word(row)
            for one in () if said else row.identifiers:
                denied[one] = max(at, denied.get(one, at))

        def stands(one: Identifier) -> bool:
            return one in denied and denied[one] >= grants[one]

        return [row for row in rows if self.word(row)[0] and not any(map(stands, row.identifiers))]


class Interleaved(RuleBasedStateMachine):
    """Customers change, decide and withdraw; plans, deliveries and the lane come and fail."""

    world_class: Callable[..., TwoPartnersWorld] = TwoPartnersWorld

    def __init__(self) -> None:
        super().__init__()
        self.restored = screen.PATIENCE, delivering.BATCHES, delivering.UPLOADS
        screen.PATIENCE = 0.0  # restored in teardown
        delivering.BATCHES, delivering.UPLOADS = 2, 1
        self.world = self.world_class(fast_folder())
        self.rows = {number: Row(number) for number in range(6)}
        self.refusals = {partner: Refusals() for partner in PARTNERS}
        self.unresolved: list[tuple[int, datetime, tuple[str, ...]]] = []
        self.withdrew: dict[
            tuple[str, str], int
        ] = {}  # from a partner, and which withdrawal says so

    @initialize()
    def begin(self) -> None:
        """Six customers who granted, and nobody held."""
        self.write()

    def teardown(self) -> None:
        """However far it came, all is settled; then the usual patience again."""
        try:
            if sys.exc_info()[0] is None:
                self.the_lane_settles()
                self.all_is_settled()
        finally:
            self.world.ledger.close()
            patience, batches, uploads = self.restored
            screen.PATIENCE = patience
            delivering.BATCHES, delivering.UPLOADS = batches, uploads

    def write(self) -> None:
        """The source as the customers are."""
        rows: list[Any] = [
            granted(f"c{n}", email=row.email, phone=row.phone)
            | {"consent": row.says, "consent_at": row.at.isoformat()}
            for n, row in self.rows.items()
        ]
        self.world.write(rows)

    def allowed(self, partner: str) -> set[str]:
        """What a partner may hold now."""
        rows = self.refusals[partner].allowed(list(self.rows.values()))
        return {cell for row in rows for cell in written_for(partner, row.email, row.phone)}

    def refuse(self, partner: str, kind: str, value: str, at: datetime) -> None:
        """Nobody may send this to a partner from now on, until a later grant."""
        refused, one = self.refusals[partner].identifiers, (kind, value)
        refused[one] = max(at, refused.get(one, at))
        self.forbid(partner, one, at)

    def forbid(self, partner: str, one: Identifier, at: datetime) -> None:
        """Let a partner tell when it is sent this, unless somebody granted it since."""
        granted_at = self.refusals[partner].granted(list(self.rows.values())).get(one, BEFORE)
        if granted_at <= at:
            self.world.at(partner).forbidden.forbid(written_for(partner, **_named(one)))

    def release(self, partner: str, one: Identifier) -> None:
        """Let it be sent again where no withdrawal stands."""
        refusals, cells = self.refusals[partner], written_for(partner, **_named(one))
        latest = refusals.granted(list(self.rows.values())).get(one, BEFORE)
        if one not in refusals.identifiers or latest > refusals.identifiers[one]:
            self.world.at(partner).forbidden.release(cells)
            for cell in cells:
                self.withdrew.pop((partner, cell), None)

    def release_all(self, row: Row) -> None:
        """The same of all that a customer brings, or brought."""
        for partner in PARTNERS:
            for one in row.identifiers:
                self.release(partner, one)

    @rule(number=NUMBERS, says=st.sampled_from(["granted", "granted", "denied"]))
    def decides(self, number: int, says: str) -> None:
        """A customer comes with an old grant, or decides anew."""
        if number in self.rows:
            self.rows[number] = replace(self.rows[number], says=says, at=self.world.now())
            self.release_all(self.rows[number])
        else:
            self.rows[number] = Row(number)
        self.write()

    @rule(number=NUMBERS)
    def leaves(self, number: int) -> None:
        """A customer is deleted; whose withdrawal was not resolved names nobody but the id."""
        gone = self.rows.pop(number, None)
        if gone is not None and number in {one for one, _, _ in self.unresolved}:
            self.release_all(gone)
        self.write()

    @rule(number=NUMBERS, letter=st.sampled_from("pq"))
    def moves(self, number: int, letter: str) -> None:
        """A customer has another address."""
        if number in self.rows:
            self.rows[number] = replace(self.rows[number], letter=letter)
            self.release_all(self.rows[number])
            self.write()

    @rule(number=NUMBERS, by=st.sampled_from(["email", "phone", "customer_id"]), partner=WHOM)
    def withdraws(self, number: int, by: str, partner: str | None) -> None:
        """Somebody withdraws, known or not, from one partner or all."""
        at = self.world.now()
        row = self.rows.get(number, Row(number))
        partners = (partner,) if partner else PARTNERS
        named = dict(row.identifiers) | {"customer_id": f"c{number}"}
        self.world.withdraw_from(partner, at, **{by: named[by]})
        if by == "customer_id":
            self.unresolved.append((number, at, partners))
        for one in partners:
            if by != "customer_id":
                self.refuse(one, by, named[by], at)
                cells = written_for(one, **_named((by, named[by])))
                for cell in cells & self.world.at(one).forbidden.cells:
                    self.withdrew[one, cell] = self.world.ledger.newest_withdrawal()
                continue
            self.refusals[one].customers[number] = at
            for identifier in row.identifiers if number in self.rows else ():
                self.forbid(one, identifier, at)

    def lane_works(self) -> None:
        """The lane once; it resolves who is named by customer id as the source is now."""
        waiting, self.unresolved = self.unresolved, []
        for number, at, partners in waiting:
            for partner in partners if number in self.rows else ():
                for kind, value in self.rows[number].identifiers:
                    self.refuse(partner, kind, value, at)
        self.world.lane_works()

    @rule(
        numbers=st.lists(NUMBERS, min_size=1, max_size=3),
        by=st.sampled_from(["email", "customer_id"]),
        when=st.integers(0, 3),
        lane=st.booleans(),
        partner=WHOM,
    )
    def withdraws_while_delivering(
        self, numbers: list[int], by: str, when: int, *, lane: bool, partner: str | None
    ) -> None:
        """The same in the middle of a sync, with or without the lane at work beside it."""
        left = [when]

        def on_add() -> None:
            left[0] -= 1
            if left[0] == -1:
                for number in numbers:
                    self.withdraws(number, by, partner)
                if lane:
                    self.lane_works()

        with self.partners_that(on_add=on_add):
            self.world.sync_both()

    @contextmanager
    def partners_that(self, **do: Any) -> Iterator[None]:
        """Both partners behave so for a while."""
        usual = {
            "on_add": lambda: None,
            "fault": lambda _when, _operation: None,
            "answering": False,
            "some": 0b111,
            "lost": False,
            "keeping": False,
        }
        for partner in PARTNERS:
            vars(self.world.at(partner)).update(do)
        try:
            yield
        finally:
            for partner in PARTNERS:
                vars(self.world.at(partner)).update({name: usual[name] for name in do})

    @rule(
        operation=st.sampled_from(["add", "remove"]),
        when=st.sampled_from(["before", "after"]),
        dies=st.booleans(),
        lane_first=st.booleans(),
    )
    def sync_that_fails(self, operation: str, when: str, *, dies: bool, lane_first: bool) -> None:
        """The partner answers nothing, or we die, before or after it did what was asked."""
        steps: list[Callable[[], Any]] = [self.lane_works, self.world.sync_both]
        with self.partners_that(fault=_failing(when, operation, dies=dies)):
            for step in steps if lane_first else reversed(steps):
                with suppress(KeyboardInterrupt, TemporaryPartnerError):  # as in `keep_people`
                    step()

    @rule(
        policy=st.sampled_from(list(OnRefusedRemoval)), away=st.booleans(), lane_first=st.booleans()
    )
    def keep_people(self, policy: OnRefusedRemoval, *, away: bool, lane_first: bool) -> None:
        """The partners refuse removals unless the list is empty then, and perhaps go away."""

        def fault(moment: str, asked: str) -> None:
            if away and moment == "after" and asked != "add":
                raise TemporaryPartnerError("no answer")

        self.world.policy = policy
        steps: list[Callable[[], Any]] = [self.lane_works, self.world.sync_both]
        with self.partners_that(fault=fault, keeping=True):
            for step in steps if lane_first else reversed(steps):
                with suppress(TemporaryPartnerError):  # of a run that is gone on with first
                    step()

    @rule(pending=st.booleans())
    def answers_later(self, *, pending: bool) -> None:
        """The partners have their last word at once, or later."""
        for partner in PARTNERS:
            there = self.world.at(partner)
            there.pending = pending
            if not pending:  # whoever takes people off at once is done with adding
                there.coming.clear()

    @rule()
    def asks(self) -> None:
        """Who answers later is asked, and answers."""
        with self.partners_that(answering=True):
            self.world.time += timedelta(minutes=15)
            self.world.pipeline().poll_delivered()
            self.lane_works()

    @rule(some=st.integers(1, 6), lost=st.booleans())
    def asks_and_hears_of_some(self, some: int, *, lost: bool) -> None:
        """Partners answer one removal before another, and of some say that they failed."""
        with self.partners_that(answering=True, some=some, lost=lost):
            self.world.time += timedelta(minutes=15)
            self.world.pipeline().poll_delivered()
            self.lane_works()

    @rule()
    def plan(self) -> None:
        """A plan is made for later."""
        self.world.sync_both(deliver=False)

    @rule()
    def approve(self) -> None:
        """A plan is delivered, if there is any, whatever happened since."""
        for run in self.world.ledger.runs(states=_WAITING)[:1]:
            with suppress(TemporaryPartnerError):
                self.world.approve(run)

    @rule()
    def recover(self) -> None:
        """Interrupted deliveries go on."""
        with suppress(TemporaryPartnerError):
            self.world.recover()

    @rule()
    def sync(self) -> None:
        """An ordinary sync."""
        self.world.sync_both()

    @rule()
    def lane(self) -> None:
        """The lane."""
        self.lane_works()

    @rule()
    def the_lane_settles(self) -> None:
        """Nobody asks and nobody syncs: each withdrawal is confirmed, and sent no more than twice.

        Interrupted deliveries go on first, as a worker sees to it.
        """
        with self.partners_that(answering=True):
            before = self.removals()
            self.lane_works()  # or additions wait for who withdrew by customer id
            self.world.recover()
            for _ in range(_HOURS):
                self.world.time += timedelta(hours=1)
                self.lane_works()
        assert self.world.ledger.withdrawal_deliveries(only_open=True) == []
        for destination, runs in self.removals().items():
            assert len(runs - before.get(destination, set())) <= _REMOVALS

    @rule(
        number=NUMBERS,
        letter=st.sampled_from("pq"),
        when=st.sampled_from(["before", "after"]),
        passes=st.integers(0, 1),
        dies=st.booleans(),
    )
    def nobody_goes_on(
        self, number: int, letter: str, when: str, passes: int, *, dies: bool
    ) -> None:
        """A delivery was cut off, nobody resumes and nobody syncs: still all is confirmed.

        What a partner that answers later may still add keeps somebody waiting. Many workers go on
        by themselves: the list is theirs until then.
        """
        self.decides(number, "granted")
        self.moves(number, letter)
        fault = _failing(when, "add", dies=dies, passes=passes)
        stopped = suppress(KeyboardInterrupt, TemporaryPartnerError)  # as in `keep_people`
        with self.partners_that(fault=fault), stopped:
            self.world.sync_both()
        self.withdraws(number, "email", None)
        before = self.removals()
        with self.partners_that(answering=True):
            for _ in range(_HOURS):
                self.lane_works()
                self.world.time += timedelta(hours=1)
        for row in self.world.ledger.withdrawal_deliveries(only_open=True):
            if not self.world.ledger.jobs((JobState.OPEN,)):
                assert self.waits_for_its_partner(row.destination)
        for destination, runs in self.removals().items():
            assert len(runs - before.get(destination, set())) <= _REMOVALS

    def waits_for_its_partner(self, destination: str) -> bool:
        """Whether a partner that answers later has not had its last word there."""
        told = self.world.ledger.list_removal(self.world.target.audience, destination)
        delivered = self.world.ledger.runs(destination=destination, states=[RunState.DELIVERED])
        return bool(delivered or (told is not None and told.unanswered))

    def removals(self) -> dict[str, set[str]]:
        """What the lane asked of each destination until now, by the names in the transfer log."""
        found: dict[str, set[str]] = {}
        for line in self.world.log():
            if line.run.startswith("w"):
                found.setdefault(line.destination, set()).add(line.run)
        return found

    @invariant()
    def nobody_was_added_after_withdrawing(self) -> None:
        """At no moment."""
        for partner in PARTNERS:
            assert self.world.at(partner).wrongs == []

    @invariant()
    def nobody_is_held_whose_withdrawal_is_confirmed(self) -> None:
        """Not by the partner, and in our books at most in doubt, to be taken off once more."""
        over = {
            (row.destination.removesuffix("-1"), row.sequence)
            for row in self.world.ledger.withdrawal_deliveries()
            if row.state is WithdrawalState.CONFIRMED
        }
        for partner in PARTNERS:
            there = self.world.at(partner).holds | self.world.held_by(partner, surely=True)
            held = {self.withdrew.get((partner, cell)) for cell in there}
            assert not {number for number in held if (partner, number) in over}

    @rule()
    def all_is_settled(self) -> None:
        """When all is quiet each partner holds exactly who may be there, and we know it."""
        self.answers_later(pending=False)
        with self.partners_that(answering=True):
            self.lane_works()
            for _ in range(3):  # what failed at the partner is sent again by the next sync
                self.world.time += timedelta(minutes=15)
                self.world.recover()
                self.world.pipeline().poll_delivered()
                self.lane_works()
            assert not self.world.ledger.jobs((JobState.OPEN,))
            assert self.world.ledger.withdrawal_deliveries(only_open=True) == []
            for outcome in self.world.sync_both():
                assert outcome.error is None, outcome.error
            self.lane_works()
        assert self.world.ledger.withdrawal_deliveries(only_open=True) == []
        for partner in PARTNERS:
            holds = self.world.at(partner).holds
            assert holds == self.world.held_by(partner) == self.allowed(partner), partner
        self.nobody_was_added_after_withdrawing()


class Shared(Interleaved):
    """The same where many workers share each plan and each delivery."""

    world_class = SharedWorld


def _failing(
    when: str, operation: str, *, dies: bool, passes: int = 0
) -> Callable[[str, str], None]:
    """No answer to what is asked, or our death three times, before or after it is done.

    That is once so many were answered.
    """
    answered, deaths = count(), count()

    def fault(moment: str, asked: str) -> None:
        if (moment, asked) == (when, operation) and next(answered) >= passes:
            if dies and next(deaths) < _DEATHS:
                raise KeyboardInterrupt
            raise TemporaryPartnerError("no answer")

    return fault


def _named(one: Identifier) -> dict[str, str | None]:
    return {"email": None, "phone": None} | {one[0]: one[1]}


TestInterleaved = Interleaved.TestCase
TestShared = Shared.TestCase
TestInterleaved.settings = settings(
    max_examples=_EXAMPLES,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestShared.settings = settings(TestInterleaved.settings, max_examples=-(-_EXAMPLES // 2))
