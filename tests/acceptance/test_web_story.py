"""Withdrawals by HTTP against a real server process, a real ledger and simulated partners."""

from __future__ import annotations

import hashlib
import hmac
import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests
from shop import PATIENCE, Shop, expected, people, sha256

KEY = "canary-key-of-the-shop-7712"
BASIC = "Basic canary-c2hvcDpzZWNyZXQ="
SECTION = """
webhooks:
  keys: {shop: "${WEBHOOK_KEY}"}
  usercentrics:
    authorization: ["${USERCENTRICS}"]
    purposes: {BJ59EidsWQ: [google], LykAT-gy: none}
"""
ROWS = people(24)
ANNA, BERT = ROWS[0], ROWS[1]


def signed(body: bytes) -> dict[str, str]:
    """The headers that prove a body, or the path that is asked for."""
    now = str(int(time.time()))
    proof = hmac.new(KEY.encode(), now.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {"Content-Type": "application/json", "X-Audience-Sync-Signature": f"t={now},v1={proof}"}


class Server:
    """`audience-sync serve` in a process of its own, and all that it wrote when it has ended."""

    wrote = ""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: list[str] = []
        # All the time: a server whose pipe is full stands still with the line in its hands.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert process.stdout is not None
        first = process.stdout.readline()
        assert "/v1/withdrawals" in first, first or self.ended()
        self.url = first.split()[-1].removesuffix("/v1/withdrawals")

    def _read(self) -> None:
        assert self.process.stderr is not None
        self._lines.extend(self.process.stderr)

    def ended(self) -> str:
        """What it wrote until its end."""
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self.process.stdout is not None
        return self.process.stdout.read() + "".join(self._lines)

    def withdraw(self, *people: dict[str, Any], **headers: str) -> requests.Response:
        """Send withdrawals."""
        body = json.dumps({"withdrawals": people}).encode()
        sent = signed(body) | headers
        return requests.post(
            f"{self.url}/v1/withdrawals", data=body, headers=sent, timeout=PATIENCE
        )

    def receipt(self, place: str) -> Any:
        """What is told of a receipt."""
        return requests.get(
            f"{self.url}{place}", headers=signed(place.encode()), timeout=PATIENCE
        ).json()

    def done(self, place: str) -> Any:
        """The same, when every partner has confirmed."""
        end = time.monotonic() + PATIENCE
        while not (told := self.receipt(place))["progress"]["done"]:
            assert time.monotonic() < end, told
            time.sleep(0.05)
        return told


@pytest.fixture
def shop(synced_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A shop whose customers are on every list, and whose project file says who may withdraw."""
    monkeypatch.setenv("WEBHOOK_KEY", KEY)
    monkeypatch.setenv("USERCENTRICS", BASIC)
    return synced_shop(ROWS, change=lambda text: text + SECTION)


@contextmanager
def serving(shop: Shop, **environment: str) -> Iterator[Server]:
    """A server that is ended in order, whatever happens."""
    with shop.started("serve", "--port", "0", "--debug", **environment) as process:
        try:
            yield (server := Server(process))
            process.send_signal(signal.SIGTERM)  # none where it was killed
            server.wrote = server.ended()
        finally:
            process.kill()


def test_a_withdrawal_reaches_the_partners_it_names_and_stays(shop: Shop) -> None:
    """Off their lists within seconds, and never added again though the source still says yes.

    Anna withdraws at the shop, from every partner; Bert at its consent platform, which knows him by
    the shop's own id, from one: the other keeps him.
    """
    anna, bert = (one[1].strip().lower() for one in (ANNA, BERT))
    with serving(shop) as server:
        found = server.withdraw({"email": ANNA[1]})
        assert found.status_code == 202
        told = server.done(found.headers["Location"])
        place = _consent_ends(server, BERT)
        end = time.monotonic() + PATIENCE
        while sha256(bert) in shop.held(partner="google")["email"]:
            assert time.monotonic() < end, server.receipt(place)
            time.sleep(0.05)
        shop.must("sync")

    assert told["progress"]["destinations"] == {"google-se": "confirmed", "meta-se": "confirmed"}
    assert shop.held() == expected(ROWS[1:])
    assert not {sha256(anna), sha256(bert)} & shop.held(partner="google")["email"]
    assert server.process.returncode == 0


def _consent_ends(server: Server, customer: tuple[Any, ...]) -> str:
    """The consent platform tells that somebody takes back what they had agreed to; the receipt."""
    consent = {
        "controller_id": str(customer[0]),
        "timestamp": int(time.time() * 1000),
        "consents": [
            {"dps_id": "BJ59EidsWQ", "consent_status": False},
            {"dps_id": "LykAT-gy", "consent_status": False},
        ],
    }
    proved = {"Authorization": BASIC}
    url = f"{server.url}/v1/usercentrics"
    found = requests.post(url, json=consent, headers=proved, timeout=PATIENCE)
    assert found.status_code == 202, found.text
    return found.headers["Location"]


def test_what_was_answered_survives_a_kill(shop: Shop) -> None:
    """A partner that is away, a server that is killed: the next one goes on by itself."""
    shop.fault("5xx", operation="remove", times=None)
    with serving(shop) as server:
        found = server.withdraw({"email": ANNA[1]}, **{"Idempotency-Key": "anna"})
        assert found.status_code == 202
        server.process.kill()
        server.process.wait(PATIENCE)
    shop.clear_faults()

    with serving(shop) as server:
        again = server.withdraw({"email": ANNA[1]}, **{"Idempotency-Key": "anna"})
        assert again.json() == found.json()
        server.done(found.headers["Location"])
    assert shop.held() == expected(ROWS[1:])


def test_nobody_is_found_where_the_server_wrote(shop: Shop) -> None:
    """Not in its output at DEBUG, the ledger or the state; keys and signatures neither."""
    canary = "canary-zq99w@example.com"
    loud = {"AUDIENCE_SYNC_LOG_LEVEL": "debug", "AUDIENCE_SYNC_LOG_FORMAT": "json"}
    with serving(shop, **loud) as server:
        good = server.withdraw({"email": canary, "customer_id": "canary-7"}, **{"X-A": canary})
        assert good.status_code == 202
        assert server.withdraw({"email": "canary is no address"}).status_code == 422
        assert server.withdraw({canary: canary}).status_code == 422
        requests.get(f"{server.url}/{canary}?email={canary}", timeout=PATIENCE)
    written = [server.wrote.encode()]
    folder = shop.folder / ".audience-sync"
    written += [path.read_bytes() for path in folder.rglob("*") if path.is_file()]

    assert "answered 202" in server.wrote
    hashed = (sha256(canary).encode(), bytes.fromhex(sha256(canary)))
    for secret in (b"canary", KEY.encode(), BASIC.encode(), *hashed):
        assert not any(secret in one for one in written)


def test_it_does_not_start_without_anybody_who_may_send(shop: Shop) -> None:
    """Nor on a port that is taken; both in one sentence."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = shop.run("serve", "--port", str(other.getsockname()[1]))
    shop.write()
    nobody = shop.run("serve", "--port", "0")

    assert (taken.code, nobody.code) == (2, 2)
    assert "cannot be used; choose another" in taken.err
    assert "write webhooks: with keys:" in nobody.err
