"""`audience-sync serve` ends when it is told to, however early."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest
from fastapi import FastAPI

from audience_sync.web.lane import Lane
from audience_sync.web.serving import Serving, serve

PATIENCE = 60.0  # seconds


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_a_signal_before_the_first_request_is_heard() -> None:
    """SIGTERM right after the address was told: the server ends, and the lane with it."""
    lane = Lane(lambda: None)
    in_vain: list[str] = []

    def end_otherwise() -> None:
        in_vain.append("SIGTERM")
        os.kill(os.getpid(), signal.SIGINT)

    otherwise = threading.Timer(PATIENCE, end_otherwise)
    otherwise.start()
    serve(
        Serving(FastAPI(), lane, ()),
        "127.0.0.1",
        0,
        lambda _url: os.kill(os.getpid(), signal.SIGTERM),
    )
    otherwise.cancel()
    otherwise.join()
    assert in_vain == []
    assert not lane.alive
