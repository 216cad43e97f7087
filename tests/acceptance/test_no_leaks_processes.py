"""The red team's attack on processes: workers, beat, the web, and processes that are killed."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import pytest
from redteam.attack import Attack
from redteam.processes import (
    Processes,
    hits_in,
    overheard,
    processes,
    redis_with_password,
    rows_of,
)
from redteam.target import SECRETS, customer
from shop import PATIENCE
from web_world import Door

from audience_sync.ledger.ledger import Ledger
from audience_sync.settings import Settings
from audience_sync.worker.celery_app import make_celery
from audience_sync.worker.messages import SYNC, WITHDRAW, Message

ENOUGH = 8  # requests that were repeated in answers
SLOW = 150  # milliseconds a request
EMAIL = customer(12)["email"]


@pytest.fixture
def started(attack: Attack) -> Iterator[Processes]:
    """The attack's processes."""
    with processes(attack) as found:
        yield found


def _ask(task: str, *args: list[str]) -> None:
    with make_celery(Settings()) as celery:
        Message(task=task, args=args).send(celery)


def _sending(attack: Attack) -> bool:
    """Whether some list has got something: then more is on its way."""
    return any(entry["operation"] == "add" for entry in attack.target.journal())


def test_workers_tell_nobody(
    attack: Attack,
    started: Processes,
    redis_url: str,
    postgresql_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Redis, PostgreSQL and the logs, after repeated requests, a kill and a recovery."""
    login = f"//tests:{SECRETS['DATABASE_PASSWORD']}@"
    monkeypatch.setenv("AUDIENCE_SYNC_DATABASE_URL", postgresql_url.replace("//tests@", login))
    monkeypatch.setenv("AUDIENCE_SYNC_PROJECT", str(attack.target.project))
    with redis_with_password(redis_url) as broker, overheard(redis_url) as heard:
        monkeypatch.setenv("AUDIENCE_SYNC_BROKER_URL", broker)
        attack.both("migrate")
        attack.both("ready")
        started.start("beat", "beat")
        started.start("worker", "worker", "--concurrency=2")
        attack.mirror.echo = 400
        _ask(SYNC, ["everyone", "orders"])
        started.until(lambda: attack.mirror.repeated > ENOUGH)
        attack.mirror.echo = None
        attack.target.control("latency", milliseconds=SLOW)
        _ask(SYNC, ["everyone", "north", "orders"])
        started.until(lambda: _sending(attack))
        assert started.leaves_no_core("worker")
        started.kill("worker")
        attack.target.control("latency", milliseconds=0)
        assert hits_in(attack, rows_of(postgresql_url)) == []

        attack.run("sync", "--force", "--debug")
        started.start("second", "worker", "--concurrency=1")
        attack.run("withdraw", "--email", EMAIL)
        _ask(WITHDRAW)
        _ask(SYNC, ["north"])
        started.until(lambda: " of north to " in started.said("second"))
        attack.both("status")
        assert (started.end("second"), started.end("beat")) == (0, 0)
    assert any(b"audience_sync" in command for command in heard)
    assert hits_in(attack, {"Redis": b"\n".join(heard), **rows_of(postgresql_url)}) == []
    assert attack.hits() == []


def test_a_killed_command_leaves_nothing_to_find(attack: Attack, started: Processes) -> None:
    """SIGKILL in the middle of a delivery: what is left is searched, and what follows, too."""
    attack.target.control("latency", milliseconds=SLOW)
    started.start("sync", "sync", "--force", "--debug")
    started.until(lambda: _sending(attack))
    assert started.leaves_no_core("sync")
    started.kill("sync")
    assert attack.hits() == []
    attack.target.control("latency", milliseconds=0)
    attack.run("sync", "--force", "--json", "--debug")
    attack.run("runs", "--json")
    assert attack.hits() == []


class _Answer(NamedTuple):
    status: int
    location: str
    body: bytes


class _Web:
    """Asks a server, and keeps what it answers."""

    def __init__(self, url: str) -> None:
        self.url, self.answers = url, b""

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> _Answer:
        """Ask as somebody who has no key; by a client that writes no log."""
        line = HTTPConnection(urlsplit(self.url).netloc, timeout=PATIENCE)
        with closing(line):
            sent = {"Content-Type": "application/json", **headers}
            line.request(method, quote(path, safe="/?="), body, sent)
            found = line.getresponse()
            told = found.read()
        self.answers += f"{found.getheaders()}".encode() + told
        return _Answer(found.status, found.headers.get("Location", ""), told)

    def signed(self, method: str, path: str, body: bytes, key: str) -> _Answer:
        """Ask as somebody who has it."""
        now, signed = str(int(time.time())), body or path.encode()
        proof = hmac.new(key.encode(), now.encode() + b"." + signed, hashlib.sha256).hexdigest()
        return self.ask(method, path, body, **{"X-Audience-Sync-Signature": f"t={now},v1={proof}"})


ASKED = {
    "/healthz", "/readyz", "/v1/withdrawals", "/v1/onetrust", "/v1/usercentrics",
    "/v1/withdrawals/{receipt}",
}  # fmt: skip


def test_every_address_is_attacked(tmp_path: Path) -> None:
    """A new page or webhook needs a request below."""
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.sqlite") as ledger:
        routes: Any = Door(ledger).app.routes
    assert {route.path for route in routes} == ASKED


def test_the_web_tells_nobody(attack: Attack, started: Processes) -> None:
    """Withdrawals in every shape, good and bad; answers, logs, ledger and state are searched."""
    attack.run("sync", "everyone", "--destination", "webhook-se", "--force")
    started.start("serve", "serve", "--port", "0", "--debug")
    # Not to the end of the line: what a thread logs may come before that, Python unbuffered.
    shown = r"at (http://[\d.:]+)/v1/withdrawals"
    web = _Web(started.until(lambda: re.findall(shown, started.said("serve")))[0])
    assert started.leaves_no_core("serve")
    key, one = SECRETS["SHOP_KEY"], customer(13)

    def generic(*people: Any) -> _Answer:
        body = json.dumps({"withdrawals": people}).encode()
        return web.signed("POST", "/v1/withdrawals", body, key)

    taken = generic({"email": EMAIL}, {"customer_id": one["id"]}, {"phone": one["phone"]})
    assert taken.status == 202, taken
    assert web.signed("GET", taken.location, b"", key).status == 200
    for bad in ({"email": "Zqvxbad0 is no address"}, {EMAIL: one["name"]}, EMAIL, [one]):
        assert generic(bad).status >= 400
    person = {"data": one, "email": EMAIL}
    for path in sorted(ASKED):
        address = path.replace("{receipt}", one["name"])
        for body in (b"", b"{" + EMAIL.encode(), json.dumps(person).encode()):
            web.ask("POST", address, body, Authorization=f"Basic {EMAIL}", **{"X-Name": EMAIL})
            web.ask("GET", f"{address}?email={EMAIL}")
        web.signed("POST", address, json.dumps(person).encode(), key)
    profile = {"purposeId": "marketing", "profileFields": {"TransactionStatus": "WITHDRAWN"}}
    receipt = {"dataSubjectEmail": EMAIL, "profiles": [profile]}
    body = json.dumps({"payload": receipt, "eventTime": "2026-11-01T10:00:00Z"}).encode()
    found = web.signed("POST", "/v1/onetrust", body, SECRETS["ONETRUST_KEY"])
    assert found.status == 202, found
    consents = [{"dps_id": "marketing", "consent_status": False}]
    body = json.dumps({"controller_id": one["id"], "consents": consents, "timestamp": 1}).encode()
    web.ask("POST", "/v1/usercentrics", body, Authorization=SECRETS["USERCENTRICS"])
    assert started.end("serve") in (0, -15)

    assert hits_in(attack, {"the answers": web.answers}) == []
    assert attack.hits() == []


def test_simulated_partners_tell_no_more_than_their_own_access(
    attack: Attack, started: Processes
) -> None:
    """They print how they are reached; what they are sent stays in their memory."""
    started.start("sandbox", "sandbox", "--port", "0")
    shown = r"hold: (http://.*)/_control/state"
    web = _Web(started.until(lambda: re.findall(shown, started.said("sandbox")))[0])
    web.ask("POST", f"/meta/v26.0/{EMAIL}?access_token={EMAIL}", EMAIL.encode())
    started.end("sandbox")
    assert attack.hits() == []
