"""The web application behind a real server: no banner, bounds, and silence about everybody."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from shutil import which

import pytest
import requests
import uvicorn
from web_world import BASIC, KEY, MARKETING, Door, webhooks

from audience_sync import journal
from audience_sync.errors import BusyError, StateError
from audience_sync.ledger.ledger import Ledger
from audience_sync.web.lane import Lane
from audience_sync.web.serving import configuration

PATIENCE = 30.0  # seconds
CANARY = "canary-person-8842@example.com"
ROOT = Path(__file__).resolve().parents[2]
BASH = "/bin/bash"


@contextmanager
def served(door: Door) -> Iterator[str]:
    """The URL of a real server in a thread of this process."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(configuration(door.app))
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(PATIENCE)


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    """A web process."""
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        yield Door(ledger, webhooks(body_limit=100_000))


@contextmanager
def everything_logged(heard: io.StringIO) -> Iterator[None]:
    """Every library speaks from DEBUG on, apart from the client that asks here."""
    handler = logging.StreamHandler(heard)
    handler.setFormatter(journal.JsonLines(debug=True))
    handler.addFilter(lambda record: not record.name.startswith("urllib3"))
    root = logging.getLogger()
    loggers = [root, *(logging.getLogger(name) for name in logging.root.manager.loggerDict)]
    before = [(logger, logger.level) for logger in loggers]
    root.addHandler(handler)
    try:
        for logger in loggers:
            logger.setLevel(logging.DEBUG)
        yield
    finally:
        root.removeHandler(handler)
        for logger, level in before:
            logger.setLevel(level)


def raw(url: str, request: bytes) -> bytes:
    """What a server answers to these very bytes."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.sendall(request)
        return connection.recv(65_536)


def test_it_tells_nothing_about_itself(door: Door) -> None:
    """No name of a server, no version, no page of documentation."""
    with served(door) as url:
        found = requests.get(f"{url}/healthz", timeout=PATIENCE)

    assert found.status_code == 200
    assert "server" not in {name.lower() for name in found.headers}
    assert "uvicorn" not in str(found.headers).lower()


def test_what_is_no_http_is_refused(door: Door) -> None:
    """A head without an end, bytes that are no request, a length that is none."""
    with served(door) as url:
        endless = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 100_000
        assert raw(url, endless).startswith(b"HTTP/1.1 400")
        assert raw(url, b"\x16\x03\x01\r\n\r\n").startswith(b"HTTP/1.1 400")
        wrong = b"POST /v1/withdrawals HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n"
        assert raw(url, wrong).startswith(b"HTTP/1.1 400")
        assert requests.get(f"{url}/healthz", timeout=PATIENCE).status_code == 200


def test_a_large_body_is_refused_before_it_has_come(door: Door) -> None:
    """By its announced length, and in pieces."""
    with served(door) as url:
        signed = door.signed(b"") | {"Content-Type": "application/json"}
        head = "".join(f"{name}: {value}\r\n" for name, value in signed.items())
        announced = (
            f"POST /v1/withdrawals HTTP/1.1\r\nHost: x\r\n{head}Content-Length: 999999\r\n\r\n"
        )
        assert raw(url, announced.encode()).startswith(b"HTTP/1.1 413")
        pieces = (b" " * 9_999 for _ in range(100))
        found = requests.post(
            f"{url}/v1/withdrawals", data=pieces, headers=signed, timeout=PATIENCE
        )
        assert found.status_code == 413


def test_nobody_is_found_in_any_log(door: Door, tmp_path: Path) -> None:
    """At DEBUG of every library: no identifier, no key, no query, no signature, no path."""
    heard = io.StringIO()
    with served(door) as url, everything_logged(heard):
        _everything(door, url)
    found = heard.getvalue()

    assert "POST /v1/withdrawals answered 202" in found
    assert "GET /v1/withdrawals/{receipt} answered" in found
    assert "canary" not in found.lower()
    assert "v1=" not in found
    ledger = b"".join(path.read_bytes() for path in tmp_path.glob("ledger.db*"))
    assert b"canary" not in ledger.lower()


def _everything(door: Door, url: str) -> None:
    """Requests of every kind, all about the canary."""
    good = json.dumps({"withdrawals": [{"email": CANARY, "customer_id": CANARY}]}).encode()
    plain = {"Content-Type": "application/json"}

    def post(path: str, body: bytes, **headers: str) -> int:
        sent = requests.post(f"{url}{path}", data=body, headers=plain | headers, timeout=PATIENCE)
        assert "canary" not in sent.text.lower()
        return sent.status_code

    query = f"?email={CANARY}"
    named = {"idempotency-key": CANARY}
    assert post(f"/v1/withdrawals{query}", good, **door.signed(good), **named) == 202
    assert post("/v1/withdrawals", good, **door.signed(good, late=1), **named) == 202
    assert post("/v1/withdrawals", good, **door.signed(good, late=1)) == 409
    assert post("/v1/withdrawals", good) == 401
    wrong = json.dumps({"withdrawals": [{CANARY: CANARY}]}).encode()
    assert post("/v1/withdrawals", wrong, **door.signed(wrong)) == 422
    assert post("/v1/withdrawals", good[:-1], **door.signed(good[:-1])) == 400
    assert post(f"/{CANARY}{query}", good, **door.signed(good)) == 404
    consent = {"controller_id": CANARY, "timestamp": int(door.now.timestamp()), "consents": []}
    consent["consents"] = [{"dps_id": MARKETING, "consent_status": False}]
    body = json.dumps(consent).encode()
    assert post("/v1/usercentrics", body, Authorization=BASIC) == 202
    door.reception.failing = StateError("the disk is full")
    assert post("/v1/withdrawals", good, **door.signed(good, late=2)) == 503
    door.reception.failing = ValueError(f"{CANARY} cannot be used with {KEY}")
    assert post("/v1/withdrawals", good, **door.signed(good, late=3)) == 500
    asked = requests.get(f"{url}/v1/withdrawals/{CANARY}", headers=plain, timeout=PATIENCE)
    assert asked.status_code == 401


@pytest.mark.skipif(
    not (which("curl") and which("openssl")), reason="the page's shell words need curl and openssl"
)
def test_the_page_shows_how_to_sign(door: Door) -> None:
    """What docs/web.md says for a shell is what the server takes."""
    page = (ROOT / "docs/web.md").read_text(encoding="utf-8")
    [script] = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    door.now = datetime.now(UTC)
    with served(door) as url:
        surroundings = {**os.environ, "URL": url, "WEBHOOK_KEY": KEY, "NO_PROXY": "*"}
        first, again = (
            subprocess.run(  # noqa: S603 - our own page
                [BASH, "-euc", script], env=surroundings, capture_output=True, check=False
            )
            for _ in range(2)
        )

    assert (first.returncode, first.stderr) == (0, b"")
    assert json.loads(first.stdout)["withdrawals"] == 1
    assert json.loads(again.stdout) == json.loads(first.stdout)
    [request] = door.reception.requests
    assert (request.email, request.channel) == ("anna@example.com", "account")


def test_deliveries_go_on_whatever_fails() -> None:
    """A wake-up is a delivery, an error is tried again, and the end waits for what is under way."""
    delivered: list[float] = []
    done = threading.Event()
    errors = [BusyError("somebody else"), StateError("the disk is full"), ValueError(CANARY)]

    def deliver() -> float | None:
        delivered.append(time.monotonic())
        if errors:
            raise errors.pop()
        done.set()
        return None

    lane = Lane(deliver, every=0.01)
    lane.start()
    assert done.wait(PATIENCE)
    lane.end()
    assert not lane.alive
    count = len(delivered)
    lane.wake()
    assert (count >= 4, len(delivered)) == (True, count)


def test_what_is_to_be_done_again_is_done_when_it_is_time() -> None:
    """A partner that answers later is asked when it said, not with the next half minute."""
    asked = threading.Semaphore(0)

    def deliver() -> float:
        asked.release()
        return 0.0

    lane = Lane(deliver, every=3600)
    lane.start()
    try:
        assert all(asked.acquire(timeout=PATIENCE) for _ in range(3))
    finally:
        lane.end()


def test_a_wake_up_does_not_wait_for_the_half_minute() -> None:
    """Nor does it wait for the delivery."""
    begun = threading.Semaphore(0)
    lane = Lane(begun.release, every=3600)
    lane.start()
    try:
        assert begun.acquire(timeout=PATIENCE)
        lane.wake()
        assert begun.acquire(timeout=PATIENCE)
    finally:
        lane.end()
