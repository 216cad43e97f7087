"""A simulated Snapchat Marketing API: OAuth, segments and their users."""

from __future__ import annotations

import re
from collections import deque
from typing import Any

import orjson

from audience_sync.sandbox.faults import Fault
from audience_sync.sandbox.snapchat import users
from audience_sync.sandbox.snapchat.errors import (
    SnapchatError,
    denied,
    missing,
    only,
    success,
    unauthorized,
    wrong,
)
from audience_sync.sandbox.snapchat.oauth import OAuth, refusal
from audience_sync.sandbox.snapchat.segments import Segment, Segments
from audience_sync.sandbox.world import Call, Reply, World

TOKEN = "login/oauth2/access_token"  # noqa: S105 - a path
PER_SECOND = 10  # requests of one token, on average

_ACCOUNT = re.compile(r"v1/adaccounts/([^/]+)/segments")
_SEGMENT = re.compile(r"v1/segments/([^/]+)(?:/(users|all_users))?")
_COLLECTION = {"GET": "list", "POST": "create", "PUT": "update"}
_RESOURCE = {
    ("GET", None): "get",
    ("DELETE", None): "delete",
    ("POST", "users"): "add",
    ("DELETE", "users"): "remove",
    ("DELETE", "all_users"): "remove_all",
}


class SnapchatSandbox:
    """The endpoints that a connector needs, with Snapchat's own refusals."""

    name = "snapchat"

    def __init__(self, world: World) -> None:
        self._world = world
        self._oauth = OAuth(world.clock)
        self._segments = Segments(world)
        self._closed: set[str] = set()  # ad accounts that the token's user may not change
        self._calls: deque[float] = deque(maxlen=PER_SECOND)

    def operation(self, call: Call) -> str:
        """What the request wants, in one word."""
        if call.path == TOKEN and call.method == "POST":
            return "token"
        if _ACCOUNT.fullmatch(call.path):
            return _COLLECTION.get(call.method, "unknown")
        found = _SEGMENT.fullmatch(call.path)
        return _RESOURCE.get((call.method, found.group(2)), "unknown") if found else "unknown"

    def answer(self, call: Call, fault: Fault | None) -> Reply:
        """Snapchat's answer."""
        operation = self.operation(call)
        if operation == "token":
            return self._oauth.token(call)
        if not self._oauth.takes(call):
            return unauthorized()
        try:
            self._count()
            account = _ACCOUNT.fullmatch(call.path)
            if account is not None and operation != "unknown":
                return self._serve_account(operation, account.group(1), call)
            found = _SEGMENT.fullmatch(call.path)
            if found is None or operation == "unknown":
                raise missing()
            return self._serve(operation, self._segments.get(found.group(1)), call, fault)
        except SnapchatError as refused:
            return refused.reply()

    def refuse(self, call: Call, fault: Fault) -> Reply:
        """The answer of a partner that does not work."""
        token = self.operation(call) == "token"
        if fault.kind == "expired-token":
            return refusal("invalid_grant") if token else unauthorized()
        if fault.kind == "rate-limit":
            return SnapchatError(429, "E2001", "Too many requests").reply()
        if fault.kind == "terms-not-accepted":
            return denied().reply()
        return SnapchatError(fault.status or 500, "E1000", "Internal error").reply()

    def lists(self) -> list[dict[str, Any]]:
        """Every segment with its counts."""
        return [
            {
                "id": one.id,
                "account": one.account,
                "name": one.definition["name"],
                "description": one.definition.get("description", ""),
                "people": one.members.people(),
                "identifiers": one.members.counts(),
            }
            for one in self._segments
        ]

    def members(self, list_id: str, *, people: bool) -> dict[str, list[str]] | None:
        """The identifiers that a segment holds."""
        found = self._segments.find(list_id)
        return None if found is None else found.members.identifiers(people=people)

    def accept_terms(self, account: str, *, accepted: bool) -> None:
        """Give the token's user the right to change an ad account, or take it."""
        (self._closed.discard if accepted else self._closed.add)(account)

    def _count(self) -> None:
        if not self._world.options.strict_quotas:
            return
        now = self._world.clock.now()
        if len(self._calls) == PER_SECOND and now - self._calls[0] < 1:
            raise SnapchatError(429, "E2001", "Too many requests")
        self._calls.append(now)

    def _may(self, account: str) -> None:
        known = self._world.options.snapchat_accounts
        if known and account not in known:
            raise missing()
        if account in self._closed:
            raise denied()

    def _serve_account(self, operation: str, account: str, call: Call) -> Reply:
        self._may(account)
        if operation == "list":
            url = f"{call.base}/{call.path}"
            page = self._segments.page(account, dict(call.query), url)
            content = success("segments", [_part(one) for one in page["found"]])
            return Reply(content=content | {"paging": page["paging"]}, account=account)
        wanted = only(_object(call), "segments").get("segments")
        if not isinstance(wanted, list) or not wanted:
            raise wrong("segments must be an array")
        change = self._segments.create if operation == "create" else self._segments.update
        made = [change(account, one) for one in wanted]
        content = success("segments", [_part(self._segments.view(one)) for one in made])
        return Reply(content=content, account=account, list_id=made[0].id)

    def _serve(self, operation: str, found: Segment, call: Call, fault: Fault | None) -> Reply:
        self._may(found.account)
        if operation in ("add", "remove"):
            return self._change(operation, found, call, fault)
        shown = []
        if operation == "delete":
            self._segments.delete(found)
        else:
            if operation == "remove_all":
                now = self._world.clock.now()
                found.members.remove_added_before(now + 1)
                found.changed = now
            shown = [_part(self._segments.view(found))]
        return Reply(content=success("segments", shown), account=found.account, list_id=found.id)

    def _change(self, operation: str, found: Segment, call: Call, fault: Fault | None) -> Reply:
        upload, now = users.read(_object(call), found.id, fault), self._world.clock.now()
        if fault is not None and fault.kind == "final-failure":
            part = {"sub_request_status": "ERROR", "sub_request_error_reason": "Upload failed"}
            content = success("users", [part])
            return Reply(
                content=content, account=found.account, list_id=found.id, outcome="sub-request"
            )
        if operation == "add":
            found.members.add(upload.columns, upload.taken, now)
        else:
            found.members.remove(upload.columns, upload.taken)
        late = fault is not None and fault.kind == "slow-processing"
        found.changed = now + (fault.seconds if fault is not None and late else 0.0)
        user = {"number_uploaded_users": upload.taken}
        return Reply(
            content=success("users", [{"sub_request_status": "SUCCESS", "user": user}]),
            account=found.account,
            list_id=found.id,
            rows=upload.received,
        )


def _part(segment: dict[str, Any]) -> dict[str, Any]:
    return {"sub_request_status": "SUCCESS", "segment": segment}


def _object(call: Call) -> Any:
    if not call.headers.get("content-type", "").startswith("application/json"):
        raise wrong("The body must be application/json")
    try:
        return orjson.loads(call.body)
    except orjson.JSONDecodeError:
        raise wrong("The body must be JSON") from None
