"""Orders that a first attempt perhaps brought: no later refusal says that they never arrived."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from pipeline_world import START, World

from audience_sync.connector import (
    AuthenticationError,
    ConnectorSettings,
    Limits,
    OrderConnector,
    Orders,
    Receipt,
    Recipient,
    RefusedError,
    Rejection,
    TemporaryPartnerError,
    UnreachedError,
)
from audience_sync.delivery.exchange import current, recording
from audience_sync.errors import AudienceSyncError
from audience_sync.ledger.records.orders import LineState
from audience_sync.ledger.records.runs import Batch, Operation, Run, RunState
from audience_sync.runs.leases import Held
from audience_sync.runs.link import Link
from audience_sync.runs.orders.deliver import OrderDeliverer
from audience_sync.runs.orders.outbox import OrderOutboxWriter
from audience_sync.runs.progress import Silent
from audience_sync.testing.orders import made_up_orders

Attempt = Callable[[Orders], Receipt]
ORDERS = 2


class Scripted(OrderConnector[ConnectorSettings]):
    """A partner who counts a repeated order once, with prepared answers."""

    name = "scripted"
    limits = Limits(members_per_request=4)
    recipient = Recipient(name="Scripted Ltd", country="IE")
    counts_once = True

    def __init__(self, *attempts: Attempt) -> None:
        super().__init__(ConnectorSettings(base_url="https://partner.example"), None)  # type: ignore[arg-type] # nothing is sent
        self.attempts = list(attempts)

    def check(self) -> None: ...

    def repeatable(self) -> bool:
        return self.counts_once

    def report(self, orders: Orders) -> Receipt:
        return self.attempts.pop(0)(orders)


def attempt(
    answer: Receipt | Exception, *, requests: int = 1, perhaps_taken: bool = False
) -> Attempt:
    """One call of the connector, as its exchange tells it."""

    def reported(_orders: Orders) -> Receipt:
        exchange = current()
        assert exchange is not None
        exchange.attempts, exchange.uncertain = requests, perhaps_taken
        if isinstance(answer, Exception):
            raise answer
        return answer

    return reported


TIMEOUT = attempt(TemporaryPartnerError("no answer"), perhaps_taken=True)
REFUSAL = RefusedError("a bad order", 400)
TAKEN = Receipt(accepted=ORDERS)
REJECTED = Receipt(accepted=1, rejected=(Rejection(position=1, reason="bad"),))


class OrdersWorld(World):
    """One run with two orders of two lines in its outbox."""

    def plan(self) -> Run:
        """A run that waits to be delivered."""
        frame = made_up_orders(range(ORDERS)).frame
        rows = range(frame.height)
        key = [bytes([row]) * 32 for row in rows]
        frame = frame.with_columns(
            pl.Series("line", key),
            pl.Series("revision", key),
            pl.Series("of_order", [bytes([100 + row // 2]) * 32 for row in rows]),
            *(pl.lit(0).alias(f"held_{name}") for name in ("quantity", "amount")),
            *(pl.col(name).alias(f"tried_{name}") for name in ("quantity", "amount")),
            expires_at=pl.lit(2_000_000_000_000_000),
        )
        name = self.ledger.new_run_id()
        writer = OrderOutboxWriter(self.location, self.keyring, name, 4)
        writer.add(frame)
        run = Run(
            id=name,
            audience="orders",
            destination="shop",
            state=RunState.PLANNED,
            planned_at=START,
            outbox=writer.finish(),
        )
        batch = Batch(run=name, position=0, operation=Operation.REPORT, members=ORDERS)
        self.ledger.create_run(run, [batch])
        return run

    def deliver(self, run: Run, connector: Scripted) -> Run:
        """Once; a run that an error stopped as it is then."""
        deliverer = OrderDeliverer(
            ledger=self.ledger,
            location=self.location,
            keyring=self.keyring,
            now=self.now,
            progress=Silent(),
        )
        link = Link(
            destination="shop",
            connector=connector,
            recording=recording,
            project="test",
            purpose="attribution",
        )
        lease = self.ledger.take_lease(run.lease_name, self.holder, 60)
        try:
            with Held(self.ledger, {run.lease_name: lease}) as held:
                return deliverer.deliver(self.ledger.run(run.id), link, None, held)
        except AudienceSyncError:
            return self.ledger.run(run.id)

    def lines(self) -> list[tuple[LineState, bool]]:
        """The state of each line, and whether it counts as reported."""
        orders = [bytes([100 + number]) * 32 for number in range(ORDERS)]
        found = self.ledger.reported("shop", orders)
        return [(one.state, one.quantity > 0) for one in sorted(found, key=lambda one: one.line)]


@pytest.fixture
def world(tmp_path: Path) -> OrdersWorld:
    return OrdersWorld(tmp_path)


UNKNOWN = [(LineState.UNKNOWN, False)] * 4
NEVER = [(LineState.REPORTED, False)] * 4
REPORTED = [(LineState.REPORTED, True)] * 4


@pytest.mark.parametrize(
    ("attempts", "lines"),
    [
        ([attempt(REFUSAL)], NEVER),
        ([attempt(REFUSAL, perhaps_taken=True)], NEVER),  # one answer, which refuses
        ([attempt(REFUSAL, requests=2)], NEVER),  # after a 429, say
        ([attempt(REFUSAL, requests=2, perhaps_taken=True)], UNKNOWN),
        ([attempt(AuthenticationError("no", 401), requests=2, perhaps_taken=True)], UNKNOWN),
        ([attempt(REJECTED, requests=2, perhaps_taken=True)], [*REPORTED[:2], *UNKNOWN[:2]]),
        ([attempt(REJECTED)], [*REPORTED[:2], *[(LineState.REFUSED, False)] * 2]),
        ([TIMEOUT, attempt(REFUSAL)], UNKNOWN),
        ([TIMEOUT, attempt(AuthenticationError("no", 401))], UNKNOWN),
        ([TIMEOUT, attempt(UnreachedError("no line"), requests=0)], UNKNOWN),
        ([TIMEOUT, attempt(REJECTED)], [*REPORTED[:2], *UNKNOWN[:2]]),
        ([TIMEOUT, attempt(TAKEN)], REPORTED),
        ([attempt(UnreachedError("no line"), requests=0), attempt(REFUSAL)], NEVER),
    ],
)
def test_only_a_refusal_of_all_that_was_sent_is_believed(
    world: OrdersWorld, attempts: list[Attempt], lines: list[tuple[LineState, bool]]
) -> None:
    """By one of several requests, or in a later delivery."""
    run, connector = world.plan(), Scripted(*attempts)
    for _ in attempts:
        run = world.deliver(run, connector)
        world.time += timedelta(hours=1)

    assert connector.attempts == []
    assert world.lines() == lines
    doubtful = [one for one in world.ledger.unknown_orders() if one.run == run.id]
    assert bool(doubtful) == ((LineState.UNKNOWN, False) in lines)
    assert run.state is not RunState.FAILED or not doubtful or "orders lost" in (run.reason or "")


def test_what_was_in_doubt_can_be_settled_by_another_attempt(world: OrdersWorld) -> None:
    """A refusal of the credentials in between forgets nothing."""
    refused = attempt(AuthenticationError("no", 401))
    run, connector = world.plan(), Scripted(TIMEOUT, refused, attempt(TAKEN))
    for _ in range(3):
        run = world.deliver(run, connector)

    assert (run.state, world.lines()) == (RunState.CONFIRMED, REPORTED)


def test_what_may_count_twice_is_not_sent_again(world: OrdersWorld) -> None:
    """It waits for a person."""
    run, connector = world.plan(), Scripted(TIMEOUT)
    connector.counts_once = False
    for _ in range(2):
        run = world.deliver(run, connector)

    assert (run.state, world.lines()) == (RunState.FAILED, UNKNOWN)
