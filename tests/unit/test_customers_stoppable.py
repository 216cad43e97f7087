"""Ctrl-C while a database works: the statement is cancelled, and nothing else is told of it."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from adbc_driver_manager import dbapi

from audience_sync.customers.description import SourceDescription
from audience_sync.customers.source import Source, open_source
from audience_sync.customers.stoppable import stoppable

TOO_LONG = 20.0  # seconds


@pytest.fixture(autouse=True)
def _ctrl_c() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """A customer in a database."""
    with closing(sqlite3.connect(tmp_path / "customers.db")) as base, base:
        base.execute("CREATE TABLE customers AS SELECT 1 AS id, 'granted' AS consent")
    return open_source(
        SourceDescription(
            url="sqlite:///customers.db",
            columns={"customer_id": "id", "consent": "consent"},
            base=tmp_path,
            table="customers",
            query=None,
        )
    )


@pytest.mark.parametrize("number", range(4))
def test_ctrl_c_is_not_lost_while_the_driver_works(
    source: Source, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """ADBC listens to it too, and SQLite's driver forgets it: everything would be sent."""
    original: Any = vars(dbapi)["_blocking_call"]
    begun: list[Any] = []

    def interrupted(call: Any, words: Any, named: Any, cancel: Any) -> Any:
        def pressed(*words: Any, **named: Any) -> Any:
            if len(begun) == number:
                os.kill(os.getpid(), signal.SIGINT)
            begun.append(call)
            return call(*words, **named)

        return original(pressed, words, named, cancel)

    monkeypatch.setattr(dbapi, "_blocking_call", interrupted)
    with pytest.raises(KeyboardInterrupt):
        (source.count(), list(source.batches({}, 10)))
    assert len(begun) > number


def test_whoever_stops_it_has_it_cancelled_and_ended() -> None:
    """Nobody may close what a driver is working with, so that a second Ctrl-C waits, too."""
    cancelled, over, ended = (threading.Event() for _ in range(3))

    def call() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        over.wait(TOO_LONG)
        ended.set()

    def cancel() -> None:
        cancelled.set()
        os.kill(os.getpid(), signal.SIGINT)
        over.set()
        raise NotImplementedError  # as SQLite's driver

    with pytest.raises(KeyboardInterrupt):
        stoppable(call, cancel)
    assert cancelled.is_set()
    assert ended.is_set()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_a_call_comes_to_is_told() -> None:
    """Its answer or its error, and it is not cancelled then."""
    cancelled: list[None] = []
    assert stoppable(lambda: 7, lambda: cancelled.append(None)) == 7
    with pytest.raises(ZeroDivisionError):
        stoppable(lambda: 1 // 0, lambda: cancelled.append(None))
    assert cancelled == []
