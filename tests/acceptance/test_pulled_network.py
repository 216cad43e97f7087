"""A partner whose network is pulled out for ten minutes costs nothing but time; hastened time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from urllib.parse import urlsplit

import pytest
from chaos.wire import Wire, wires
from shop import Shop, expected, people

from audience_sync.app import App
from audience_sync.delivery import client, limits, redis_board
from audience_sync.delivery.board import LocalBoard
from audience_sync.delivery.circuit import LONGEST
from audience_sync.delivery.client import HttpPartnerClient
from audience_sync.delivery.limits import Gate
from audience_sync.errors import TemporaryPartnerError
from audience_sync.ledger.records.runs import RunState
from audience_sync.sandbox import RunningSandbox

PULLED = 600.0  # seconds
SWEEP = 180.0  # seconds between two looks at what is due, as beat's


@dataclass
class Time:
    """A clock that goes on when somebody sleeps."""

    seconds: float = 0.0

    def clock(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    def now(self) -> datetime:
        return datetime(2026, 11, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    """The time of everything that waits for a partner."""
    time = Time()
    paced = {"sleep": time.sleep, "clock": time.clock}
    monkeypatch.setattr(client, "HttpPartnerClient", partial(HttpPartnerClient, **paced))
    monkeypatch.setattr(limits, "Gate", partial(Gate, **paced))
    monkeypatch.setattr(redis_board, "LocalBoard", partial(LocalBoard, time.clock))
    return time


@pytest.fixture
def wire(sandbox: RunningSandbox) -> Iterator[Wire]:
    """The network to Meta."""
    with wires(urlsplit(sandbox.url).port or 0, 1) as (wire,):
        yield wire


def test_ten_minutes_without_a_partner_cost_nothing_but_time(
    open_shop: Callable[..., Shop], time: Time, wire: Wire
) -> None:
    """Nobody is lost or sent twice, the other partner has everything, and nobody had to help."""
    before, after = people(24), [*people(12), *people(36)[24:]]
    shop = open_shop(before, meta=f"http://127.0.0.1:{wire.port}/meta")
    with App.open(shop.project) as opened:
        app = replace(opened, now=time.now)
        app.sync(["everyone"])
        assert shop.held() == expected(before)
        asked = len(shop.journal("meta"))
        shop.customers(after)

        wire.pull()
        app.sync(["everyone"])
        pulled = time.seconds
        while time.seconds < pulled + PULLED:
            go_on(app, time)

        assert len(shop.journal("meta")) == asked
        assert shop.held() == expected(before)
        assert states(app) == {"meta-se": RunState.DELIVERING, "google-se": RunState.CONFIRMED}
        told = sum(1 for _ in app.ledger.log_lines(destination="meta-se"))
        wire.plug()
        plugged = time.seconds
        while states(app)["meta-se"] is RunState.DELIVERING:
            go_on(app, time)
            assert time.seconds < plugged + LONGEST + SWEEP

        assert shop.held() == expected(after)
        assert set(states(app).values()) == {RunState.CONFIRMED}
        assert app.ledger.verify_log().sound
    sent = [entry["body_sha256"] for entry in shop.journal("meta")[asked:]]
    assert len(sent) == len(set(sent))
    assert told < 12  # it was tried every few minutes, not all the time


def go_on(app: App, time: Time) -> None:
    """What beat and a worker do, until the next sweep."""
    for run in app.sweep():
        with suppress(TemporaryPartnerError):
            app.go_on(run.id)
    time.sleep(SWEEP)


def states(app: App) -> dict[str, RunState]:
    """How the newest run to each partner stands."""
    found = {}
    for destination in ("meta-se", "google-se"):
        run = app.ledger.last_run("everyone", destination)
        assert run is not None
        found[destination] = run.state
    return found
