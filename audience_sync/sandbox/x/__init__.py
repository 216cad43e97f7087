"""A simulated X Ads API: signed requests, custom audiences, users, the Do Not Reach List."""

from __future__ import annotations

import re
from collections import deque
from typing import Any

from audience_sync.sandbox.faults import Fault
from audience_sync.sandbox.world import Call, Reply, World
from audience_sync.sandbox.x.errors import STATUSES, XError, route_not_found, unauthorized
from audience_sync.sandbox.x.lists import CUSTOM, UNREACHED, Audience, Lists
from audience_sync.sandbox.x.signature import Signatures, parameters
from audience_sync.sandbox.x.users import Users

VERSION = "12"
REQUESTS = 1_500  # a minute and account, for users
WINDOW = 60.0  # seconds

_PATH = re.compile(
    r"(?P<version>\d+)/(?P<batch>batch/)?accounts/(?P<account>[^/]+)"
    r"/(?P<kind>custom_audiences|do_not_reach_lists)(?:/(?P<list>[^/]+))?(?P<users>/users)?"
)
_UPDATE = re.compile(rb'"operation_type"\s*:\s*"Update"')
_DELETE = re.compile(rb'"operation_type"\s*:\s*"Delete"')
_LIST = {"GET": "get", "PUT": "update", "DELETE": "delete"}
_LISTS = {"GET": "list", "POST": "create"}
_ACCOUNT = re.compile("[0-9a-z]+")


class XSandbox:
    """The Ads API endpoints that a connector needs, with X's own refusals."""

    name = "x"

    def __init__(self, world: World) -> None:
        self._world = world
        self._lists = Lists(world)
        self._users = Users(world)
        self._signatures = Signatures()
        self._without_terms: set[str] = set()
        self._calls: dict[str, deque[float]] = {}

    def operation(self, call: Call) -> str:
        """What the request wants, in one word; `withdraw` is an entry to the Do Not Reach List."""
        path = _PATH.fullmatch(call.path)
        if path is None:
            return "unknown"
        if path["users"]:
            if call.method != "POST":
                return "unknown"
            if path["kind"] == UNREACHED:
                return "withdraw"
            leaves = _DELETE.search(call.body) and not _UPDATE.search(call.body)
            return "remove" if leaves else "add"
        return (_LIST if path["list"] else _LISTS).get(call.method, "unknown")

    def answer(self, call: Call, fault: Fault | None) -> Reply:
        """X's answer."""
        try:
            path = _PATH.fullmatch(call.path)
            operation = self.operation(call)
            if path is None or path["version"] != VERSION or operation == "unknown":
                raise route_not_found()
            self._signatures.check(call)
            if bool(path["batch"]) != (operation == "withdraw"):
                raise route_not_found()
            self._check_account(path["account"], operation)
            self._spend(path)
            reply = self._serve(operation, path, call, fault)
        except XError as refusal:
            reply = refusal.reply()
        return self._tell(reply, call)

    def refuse(self, call: Call, fault: Fault) -> Reply:  # noqa: ARG002 - all calls fail alike
        """The answer of a partner that does not work."""
        if fault.kind == "rate-limit":
            reply = XError("TOO_MANY_REQUESTS", "Too many requests").reply()
            reset = self._world.clock.now() + 60 * fault.minutes
            reply.headers |= {
                "x-account-rate-limit-remaining": "0",
                "x-account-rate-limit-reset": str(int(reset)),
            }
            return reply
        refusals = {
            "expired-token": unauthorized(),
            "terms-not-accepted": _terms_missing(),
            "conflict": XError("LOCK_ACQUISITION_TIMEOUT", "The list is being changed"),
        }
        status = fault.status or 503
        code = "INTERNAL_ERROR" if status == STATUSES["INTERNAL_ERROR"] else "SERVICE_UNAVAILABLE"
        found = refusals.get(fault.kind)
        return found.reply() if found else XError(code, "Try again later").reply(status)

    def lists(self) -> list[dict[str, Any]]:
        """Every list with its counts."""
        return [_summary(one) for one in self._lists if not one.deleted]

    def members(self, list_id: str, *, people: bool) -> dict[str, list[str]] | None:
        """The identifiers that a list holds now."""
        found = self._lists.find(list_id)
        return None if found is None else found.members.identifiers(people=people)

    def accept_terms(self, account: str, *, accepted: bool) -> None:
        """Sign or withdraw the audience terms of an account."""
        (self._without_terms.discard if accepted else self._without_terms.add)(account)

    def _check_account(self, account: str, operation: str) -> None:
        if not _ACCOUNT.fullmatch(account):
            message = f'Expected Account, got "{account}" for account_id'
            raise XError("INVALID_PARAMETER", message, "account_id", account)
        known = self._world.options.x_accounts
        if known and account not in known:
            raise XError(
                "ACCOUNT_NOT_FOUND", "No such account for this user", "account_id", account
            )
        if account in self._without_terms and operation in ("create", "add"):
            raise _terms_missing()

    def _serve(self, operation: str, path: re.Match[str], call: Call, fault: Fault | None) -> Reply:
        account, kind = path["account"], path["kind"]
        params = parameters(call)
        if operation == "list":
            return Reply(content=self._lists.page(account, kind, params), account=account)
        if operation == "create":
            made = self._lists.create(account, kind, params)
            return self._shown(made)
        found = self._lists.get(account, kind, path["list"])
        if operation in ("add", "remove", "withdraw"):
            return self._users.change(found, call, fault)
        if operation == "update":
            found.definition |= {k: params[k] for k in ("name", "description") if k in params}
        if operation == "delete":
            found.deleted = True
        return self._shown(found)

    def _shown(self, one: Audience) -> Reply:
        content = {"request": {"params": {}}, "data": self._lists.view(one)}
        return Reply(content=content, account=one.account, list_id=one.id)

    def _spend(self, path: re.Match[str]) -> None:
        """Count a request, or refuse it when the minute's requests are used up."""
        if not path["users"] or not self._world.options.strict_quotas:
            return
        now = self._world.clock.now()
        calls = self._calls.setdefault(path["account"], deque())
        while calls and calls[0] <= now - WINDOW:
            calls.popleft()
        if len(calls) >= REQUESTS:
            raise XError("TOO_MANY_REQUESTS", "Too many requests")
        calls.append(now)

    def _tell(self, reply: Reply, call: Call) -> Reply:
        """Say how many requests are left, where quotas are enforced."""
        path = _PATH.fullmatch(call.path)
        calls = self._calls.get(path["account"]) if path is not None and path["users"] else None
        if calls:
            reply.headers |= {
                "x-account-rate-limit-limit": str(REQUESTS),
                "x-account-rate-limit-remaining": str(REQUESTS - len(calls)),
                "x-account-rate-limit-reset": str(int(calls[0] + WINDOW)),
            }
        return reply


def _terms_missing() -> XError:
    return XError("ACTION_NOT_ALLOWED", "Accept the custom audience terms first")


def _summary(one: Audience) -> dict[str, Any]:
    return {
        "id": one.id,
        "account": one.account,
        "kind": "custom audience" if one.kind == CUSTOM else "do not reach",
        **one.definition,
        "people": one.members.people(),
        "identifiers": one.members.counts(),
    }
