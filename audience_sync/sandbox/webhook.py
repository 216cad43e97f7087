"""A simulated HTTPS endpoint: what a partner's engineers would write behind a webhook.

It takes the body that `connectors/webhook.py` writes unless told otherwise, checks the signature
and its age, answers a repeated batch as it answered it first, and names the rows that it rejects.
Every path below `/webhook/` is an endpoint with lists of its own.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import Any

import orjson

from audience_sync.sandbox.faults import Fault
from audience_sync.sandbox.membership import Column, Columns, MemberList
from audience_sync.sandbox.world import Call, Reply, World

LARGEST = 5_000_000  # bytes of a body
MOST_ROWS = 10_000
TOLERANCE = 300  # seconds that a signature may be old, or early
KINDS = ("email", "phone", "idfa", "gaid", "external_id")
KEYS = frozenset({"operation", "list", "title", "batch", "consent", "members"})

_HASH = re.compile(r"[0-9a-f]{64}")
_DEVICE = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_OF_NOTHING = hashlib.sha256(b"").hexdigest()
_SIGNATURE = re.compile(r"t=(\d{1,12}),v1=([0-9a-f]{64})")


class RefusalError(Exception):
    """The endpoint takes the request as a whole for wrong."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(status, code)
        self.status = status
        self.code = code

    def reply(self) -> Reply:
        """As the endpoint answers it."""
        return Reply(status=self.status, content={"error": self.code}, outcome=self.code)


@dataclass(slots=True)
class _List:
    endpoint: str
    name: str
    title: str
    members: MemberList = field(repr=False)


class WebhookSandbox:
    """Endpoints that keep lists."""

    name = "webhook"

    def __init__(self, world: World) -> None:
        self._world = world
        self._lists: dict[tuple[str, str], _List] = {}
        self._answered: dict[tuple[str, str], tuple[str, Reply]] = {}
        self._closed: set[str] = set()

    def operation(self, call: Call) -> str:
        """What the request wants, in one word; it stands in the body."""
        wanted = _read(call)
        found = wanted.get("operation") if isinstance(wanted, dict) else None
        return found if found in ("check", "create", "add", "remove") else "unknown"

    def answer(self, call: Call, fault: Fault | None) -> Reply:
        """The endpoint's answer; that of a repeated batch is the first one."""
        try:
            self._check(call)
            key = (call.path, call.headers["idempotency-key"])
            reply = self._repeated(key, call) or self._serve(call, fault)
        except RefusalError as refusal:
            return refusal.reply()
        if self.operation(call) in ("add", "remove"):
            self._answered[key] = (call.body_sha256, reply)
        return reply

    def refuse(self, call: Call, fault: Fault) -> Reply:  # noqa: ARG002 - as every partner has it
        """The answer of an endpoint that does not work."""
        if fault.kind == "rate-limit":
            waits = {"Retry-After": str(fault.minutes * 60)}
            status = fault.status or 429
            return Reply(
                status=status, content={"error": "SLOW_DOWN"}, headers=waits, outcome="SLOW_DOWN"
            )
        codes = {"expired-token": 401, "terms-not-accepted": 403, "conflict": 503}
        return RefusalError(fault.status or codes.get(fault.kind, 500), fault.kind.upper()).reply()

    def lists(self) -> list[dict[str, Any]]:
        """Every list with its counts."""
        return [
            {
                "id": f"{found.endpoint}/{found.name}",
                "account": found.endpoint,
                "name": found.name,
                "description": found.title,
                "people": found.members.people(),
                "identifiers": found.members.counts(),
            }
            for found in self._lists.values()
        ]

    def members(self, list_id: str, *, people: bool) -> dict[str, list[str]] | None:
        """The identifiers that a list holds; its id is the endpoint, a slash and its name."""
        endpoint, _, name = list_id.rpartition("/")
        found = self._lists.get((endpoint, name))
        return None if found is None else found.members.identifiers(people=people)

    def accept_terms(self, account: str, *, accepted: bool) -> None:
        """Open or close an endpoint: one that is closed answers 403."""
        change = self._closed.discard if accepted else self._closed.add
        change(account)

    def _repeated(self, key: tuple[str, str], call: Call) -> Reply | None:
        """The first answer to a batch that comes once more."""
        if key not in self._answered:
            return None
        body, reply = self._answered[key]
        if body != call.body_sha256:
            raise RefusalError(422, "KEY_REUSED")
        return reply

    def _check(self, call: Call) -> None:
        if call.method != "POST":
            raise RefusalError(405, "POST_ONLY")
        if len(call.body) > LARGEST:
            raise RefusalError(413, "TOO_LARGE")
        if call.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise RefusalError(415, "JSON_ONLY")
        self._check_signature(call)
        if not 0 < len(call.headers.get("idempotency-key", "")) <= 64:  # noqa: PLR2004 - our own rule
            raise RefusalError(400, "NO_IDEMPOTENCY_KEY")
        if call.path in self._closed:
            raise RefusalError(403, "CLOSED")

    def _check_signature(self, call: Call) -> None:
        found = _SIGNATURE.fullmatch(call.headers.get("x-audience-sync-signature", ""))
        if found is None:
            raise RefusalError(401, "NO_SIGNATURE")
        key = self._world.options.webhook_secret.encode()
        wanted = hmac.new(key, found[1].encode() + b"." + call.body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(wanted, found[2]):
            raise RefusalError(401, "WRONG_SIGNATURE")
        if abs(self._world.clock.now() - int(found[1])) > TOLERANCE:
            raise RefusalError(401, "OLD_SIGNATURE")

    def _serve(self, call: Call, fault: Fault | None) -> Reply:
        wanted = _read(call)
        operation = self.operation(call)
        if not isinstance(wanted, dict) or set(wanted) - KEYS or operation == "unknown":
            raise RefusalError(400, "UNKNOWN_REQUEST")
        name, members = wanted.get("list"), wanted.get("members")
        if not isinstance(name, str) or not isinstance(members, list):
            raise RefusalError(400, "UNKNOWN_REQUEST")
        if operation == "check":
            return Reply(content={"ok": True}, account=call.path)
        if operation == "create":
            return self._create(call.path, name, str(wanted.get("title") or ""))
        found = self._lists.get((call.path, name))
        if found is None:
            raise RefusalError(404, "UNKNOWN_LIST")
        if operation == "add" and wanted.get("consent") != _CONSENT:
            raise RefusalError(422, "NO_CONSENT")
        return self._change(operation, found, members, fault)

    def _create(self, endpoint: str, name: str, title: str) -> Reply:
        if not name:
            raise RefusalError(400, "NO_LIST")
        members = MemberList(keep=not self._world.options.discard)
        self._lists.setdefault((endpoint, name), _List(endpoint, name, title, members))
        return Reply(content={"list": name}, account=endpoint, list_id=name)

    def _change(
        self, operation: str, found: _List, members: list[Any], fault: Fault | None
    ) -> Reply:
        if not 0 < len(members) <= MOST_ROWS:
            raise RefusalError(422, "ROWS")
        named = {at: code for at, row in enumerate(members) if (code := _wrong(row))}
        counted: set[int] = set()
        if fault is not None:
            some = set(fault.rejected(len(members)))
            values = set(fault.values)
            hit = {at for at, row in enumerate(members) if at not in named and _hits(row, values)}
            if fault.kind == "reject-values":
                named |= dict.fromkeys(hit | some, "REJECTED")
            elif fault.kind == "reject-share":
                counted = some - named.keys()
        taken = [row for at, row in enumerate(members) if at not in named and at not in counted]
        columns = _columns(taken)
        if operation == "add":
            found.members.add(columns, len(taken), self._world.clock.now())
        else:
            found.members.remove(columns, len(taken))
        content = {
            "accepted": len(taken),
            "rejected": [{"index": at, "code": code} for at, code in sorted(named.items())],
        }
        return Reply(content=content, account=found.endpoint, list_id=found.name, rows=len(members))


_CONSENT = {"ad_user_data": True, "ad_personalization": True}


def _read(call: Call) -> Any:
    if "body" not in call.memory:
        try:
            call.memory["body"] = orjson.loads(call.body)
        except orjson.JSONDecodeError:
            call.memory["body"] = None
    return call.memory["body"]


def _wrong(row: Any) -> str | None:
    """What is wrong with a row, in the endpoint's own code."""
    if not isinstance(row, dict) or not row or set(row) - set(KINDS):
        return "UNKNOWN_ROW"
    for kind, value in row.items():
        device = kind in ("idfa", "gaid") and isinstance(value, str) and _DEVICE.fullmatch(value)
        hashed = isinstance(value, str) and _HASH.fullmatch(value) and value != _OF_NOTHING
        if not device and not hashed:
            return "INVALID_HASH"
    return None


def _hits(row: Any, values: set[str]) -> bool:
    return isinstance(row, dict) and not values.isdisjoint(row.values())


def _columns(rows: list[dict[str, str]]) -> Columns:
    found: Columns = {}
    for kind in KINDS:
        at = [number for number, row in enumerate(rows) if kind in row]
        if at:
            found[kind] = Column([rows[number][kind] for number in at], at)
    return found
