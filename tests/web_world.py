"""The web application in this process: asked without a network, with a reception that remembers."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import SecretStr

from audience_sync.delivery.board import LocalBoard
from audience_sync.ledger.ledger import Ledger
from audience_sync.project.webhooks import OneTrust, Usercentrics, Webhooks
from audience_sync.runs.withdrawal_requests import Received, UnusableError, WithdrawalRequest
from audience_sync.web.application import make_app
from audience_sync.web.desk import Desk, intake_key
from audience_sync.web.senders import Web

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
KEY, OLD_KEY = "canary-key-of-the-shop-1", "canary-key-of-the-shop-0"
BASIC = "Basic canary-bG9naW46cGFzc3dvcmQ="
MARKETING, META_ONLY, STATISTICS = "BJ59EidsWQ", "H1Vl5NidjWX", "LykAT-gy"


def webhooks(**more: Any) -> Webhooks:
    """A section with everything in it."""
    purposes: dict[str, Any] = {MARKETING: "all", META_ONLY: ["meta"], STATISTICS: "none"}
    shown: dict[str, Any] = {
        "keys": {"new": SecretStr(KEY), "old": SecretStr(OLD_KEY)},
        "onetrust": OneTrust(keys={"first": SecretStr(KEY)}, purposes=purposes),
        "usercentrics": Usercentrics(authorization=(SecretStr(BASIC),), purposes=purposes),
    }
    return Webhooks(**(shown | more))


class FakeReception:
    """Takes everything in, once for each idempotency key, unless it is told to fail."""

    def __init__(self) -> None:
        self.requests: list[WithdrawalRequest] = []
        self.keys: set[str | None] = set()
        self.failing: Exception | None = None

    def receive(self, requests: Sequence[WithdrawalRequest]) -> Received:
        if self.failing is not None:
            raise self.failing
        wrong = [n for n, one in enumerate(requests) if one.email == "not an address"]
        if wrong:
            raise UnusableError("'not an address' is no e-mail address", wrong)
        new = [request for request in requests if request.idempotency_key not in self.keys]
        self.keys |= {request.idempotency_key for request in new}
        self.requests += new
        return Received(
            withdrawals=(f"wd{len(self.keys)}",),
            people=len(new),
            repeated=len(requests) - len(new),
        )


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Door:
    """One web process; several may share a ledger and a reception."""

    ledger: Ledger
    section: Webhooks = field(default_factory=webhooks)
    reception: FakeReception = field(default_factory=FakeReception)
    now: datetime = NOW
    woken: int = 0
    ready: bool = True
    keys: tuple[bytes, ...] = (intake_key(b"f" * 32),)

    def __post_init__(self) -> None:
        desk = Desk(
            ledger=self.ledger,
            keys=self.keys,
            reception=self.reception,
            progress=lambda ids: {"withdrawals": list(ids), "states": {"received": len(ids)}},
            wake=self._wake,
            remember=self.section.remember,
            now=lambda: self.now,
        )
        self.app = make_app(
            Web(
                desk=desk,
                webhooks=self.section,
                partners={"google", "meta"},
                board=LocalBoard(),
                healthy=lambda: True,
                ready=lambda: self.ready,
                now=lambda: self.now,
            )
        )

    def _wake(self) -> None:
        self.woken += 1

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | Sequence[bytes] = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request; a body in several parts has no length that is said before."""
        given = {"content-type": "application/json", **(headers or {})}
        if isinstance(body, bytes):
            given = {"content-length": str(len(body)), **given}
        return asyncio.run(_ask(self.app, method, path, body, given))

    def post(
        self, body: Any, path: str = "/v1/withdrawals", *, name: str | None = None, **how: Any
    ) -> Answer:
        """A signed request."""
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {} if name is None else {"idempotency-key": name}
        return self.ask("POST", path, sent, {**self.signed(sent, **how), **named})

    def get(self, path: str, **how: Any) -> Answer:
        """A signed question."""
        return self.ask("GET", path, b"", self.signed(path.encode(), **how))

    def signed(self, body: bytes, key: str = KEY, late: float = 0) -> dict[str, str]:
        """The header that proves a body, as if signed so many seconds ago."""
        moment = str(int((self.now - timedelta(seconds=late)).timestamp()))
        proof = hmac.new(key.encode(), moment.encode() + b"." + body, hashlib.sha256).hexdigest()
        return {"x-audience-sync-signature": f"t={moment},v1={proof}"}


async def _ask(
    app: Any, method: str, path: str, body: bytes | Sequence[bytes], headers: Mapping[str, str]
) -> Answer:
    parts = [body] if isinstance(body, bytes) else list(body)
    sent: list[dict[str, Any]] = []

    async def messages() -> AsyncIterator[dict[str, Any]]:
        for at, part in enumerate(parts):
            yield {"type": "http.request", "body": part, "more_body": at + 1 < len(parts)}
        while True:
            yield {"type": "http.disconnect"}

    coming = messages()

    async def receive() -> dict[str, Any]:
        return await anext(coming)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    address, _, query = path.partition("?")
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http",
        "method": method, "path": address, "raw_path": address.encode(),
        "query_string": query.encode(), "root_path": "", "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 5000),
        "headers": [(k.encode("latin-1"), v.encode("latin-1")) for k, v in headers.items()],
    }  # fmt: skip
    await app(scope, receive, send)
    start = sent[0]
    content = b"".join(message.get("body", b"") for message in sent[1:])
    told = {name.decode(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], told, content)
