"""A simulated Pinterest API v5: tokens, customer lists and the audiences on top of them."""

from __future__ import annotations

import re
from collections import deque
from typing import Any

import orjson

from audience_sync.sandbox.faults import Fault
from audience_sync.sandbox.pinterest.errors import (
    PinterestError,
    forbidden,
    invalid,
    limited,
    missing,
    unauthorized,
)
from audience_sync.sandbox.pinterest.lists import CustomerList, Lists
from audience_sync.sandbox.pinterest.tokens import PinterestTokens
from audience_sync.sandbox.world import Call, Reply, World

WRITES = 400  # a minute
WINDOW = 60.0  # seconds

_PATH = re.compile(
    r"ad_accounts/(?P<account>[^/]+)(?:/(?P<kind>customer_lists|audiences)(?:/(?P<id>[^/]+))?)?"
)
_ON_TOP = ("ad_account_id", "name", "rule", "audience_type", "description")
_REMOVES = re.compile(rb'"operation_type"\s*:\s*"REMOVE"')
_OPERATIONS: dict[tuple[str | None, bool], dict[str, str]] = {
    (None, False): {"GET": "account"},
    ("customer_lists", False): {"GET": "list", "POST": "create"},
    ("customer_lists", True): {"GET": "get"},
    ("audiences", False): {"GET": "audiences", "POST": "create_audience"},
    ("audiences", True): {"GET": "audience", "PATCH": "change_audience"},
}


class PinterestSandbox:
    """The endpoints that a connector needs, with Pinterest's own refusals."""

    name = "pinterest"

    def __init__(self, world: World) -> None:
        self._world = world
        self._tokens = PinterestTokens(world)
        self._lists = Lists(world)
        self._closed: set[str] = set()
        self._writes: deque[float] = deque()

    def operation(self, call: Call) -> str:
        """What the request wants, in one word."""
        path = call.path.removeprefix("v5/")
        if (call.method, path) == ("POST", "oauth/token"):
            return "token"
        found = _PATH.fullmatch(path)
        if found is None:
            return "unknown"
        if call.method == "PATCH" and found["kind"] == "customer_lists" and found["id"]:
            return "remove" if _REMOVES.search(call.body) else "add"
        return _OPERATIONS[found["kind"], bool(found["id"])].get(call.method, "unknown")

    def answer(self, call: Call, fault: Fault | None) -> Reply:
        """Pinterest's answer."""
        try:
            operation = self.operation(call)
            if operation == "token":
                return self._tokens.renew(call)
            self._tokens.check(call)
            found = _PATH.fullmatch(call.path.removeprefix("v5/"))
            if found is None or operation == "unknown":
                raise missing("Method")
            self._check_account(found["account"], call.method)
            if call.method != "GET":
                self._spend(call)
            return self._serve(operation, found, call, fault)
        except PinterestError as refusal:
            return refusal.reply()

    def refuse(self, call: Call, fault: Fault) -> Reply:  # noqa: ARG002 - all calls fail alike
        """The answer of a partner that does not work."""
        if fault.kind == "rate-limit":
            reply = limited().reply()
            reply.headers["X-RateLimit-Reset"] = str(60 * fault.minutes)
            return reply
        refusals = {"expired-token": unauthorized(expired=True), "terms-not-accepted": forbidden()}
        status = fault.status or 503
        code = 4197 if status == 503 else 0  # noqa: PLR2004 - Pinterest's own pair
        fallback = PinterestError(
            status, code, "Something went wrong on our end. Sorry about that."
        )
        return refusals.get(fault.kind, fallback).reply()

    def lists(self) -> list[dict[str, Any]]:
        """Every list with its counts, and the audiences on top of it."""
        return [self._summary(one) for one in self._lists]

    def members(self, list_id: str, *, people: bool) -> dict[str, list[str]] | None:
        """The records that a list holds; a list mixes e-mails and devices under its own type."""
        found = self._lists.find(list_id)
        return None if found is None else found.members.identifiers(people=people)

    def accept_terms(self, account: str, *, accepted: bool) -> None:
        """Let an ad account be changed, or not."""
        (self._closed.discard if accepted else self._closed.add)(account)

    def _check_account(self, account: str, method: str) -> None:
        known = self._world.options.pinterest_accounts
        if not account.isdigit() or (known and account not in known):
            raise missing("Ad account")
        if account in self._closed and method != "GET":
            raise forbidden()

    def _spend(self, call: Call) -> None:
        if len(call.body) > self._world.options.pinterest_bytes_per_request:
            raise PinterestError(413, 413, "The request is too large.")
        if not self._world.options.strict_quotas:
            return
        now = self._world.clock.now()
        while self._writes and self._writes[0] <= now - WINDOW:
            self._writes.popleft()
        if len(self._writes) >= WRITES:
            raise limited()
        self._writes.append(now)

    def _serve(self, operation: str, path: re.Match[str], call: Call, fault: Fault | None) -> Reply:
        account, number = path["account"], path["id"] or ""
        reply = Reply(account=account)
        if operation == "account":
            reply.content = {"id": account, "name": "Sandbox", "currency": "EUR"}
        elif operation in ("list", "audiences"):
            reply.content = self._lists.page(path["kind"], account, call.query)
        elif operation == "create_audience":
            reply.content = self._lists.put_on_top(account, _read(call, *_ON_TOP))
        elif operation == "audience":
            reply.content = self._lists.view_audience(self._lists.audience(account, number))
        elif operation == "change_audience":
            top = self._lists.audience(account, number)
            reply.content = self._lists.change_audience(
                top, _read(call, "operation_type", *_ON_TOP)
            )
        else:
            self._serve_list(reply, operation, number, call, fault)
        return reply

    def _serve_list(
        self, reply: Reply, operation: str, number: str, call: Call, fault: Fault | None
    ) -> None:
        account = str(reply.account)
        if operation == "create":
            one = self._lists.create(account, _read(call, "name", "list_type", "records"), fault)
        else:
            one = self._lists.get(account, number)
        if operation in ("add", "remove"):
            reply.rows = self._lists.change(one, _read(call, "operation_type", "records"), fault)
        reply.list_id, reply.content = one.id, self._lists.view(one)

    def _summary(self, one: CustomerList) -> dict[str, Any]:
        return {
            "id": one.id,
            "account": one.account,
            "name": one.name,
            "description": "",
            "status": self._lists.status(one),
            "audiences": self._lists.on_top(one.id),
            "people": one.members.people(),
            "identifiers": one.members.counts(),
        }


def _read(call: Call, *names: str) -> dict[str, Any]:
    if not call.headers.get("content-type", "").startswith("application/json"):
        raise invalid("the body must be application/json.")
    try:
        wanted = orjson.loads(call.body)
    except orjson.JSONDecodeError:
        wanted = None
    if not isinstance(wanted, dict):
        raise invalid("the body must be a JSON object.")
    strange = sorted(wanted.keys() - names)
    if strange:
        raise invalid(f"{strange[0]} is not a property of this request.")
    return wanted
