"""A simulated Meta Marketing API (Facebook and Instagram): custom audiences and their members."""

from __future__ import annotations

import re
from typing import Any

from audience_sync.sandbox.faults import Fault
from audience_sync.sandbox.meta.audiences import Audience, Audiences
from audience_sync.sandbox.meta.errors import (
    UPDATING,
    MetaError,
    expired,
    replacing,
    terms_missing,
    throttled,
    unknown_object,
)
from audience_sync.sandbox.meta.params import read
from audience_sync.sandbox.meta.tokens import Tokens
from audience_sync.sandbox.meta.usage import Usage
from audience_sync.sandbox.meta.users import Uploads
from audience_sync.sandbox.world import Call, Reply, World

OLDEST_VERSION = 21

_VERSION = re.compile(r"v(\d+)\.\d+/?")
_NODE = {"GET": "get", "POST": "update", "DELETE": "delete"}
_EDGES = {
    ("POST", "users"): "add",
    ("DELETE", "users"): "remove",
    ("POST", "usersreplace"): "replace",
    ("GET", "sessions"): "sessions",
    ("GET", "health"): "health",
}
_ACCOUNT_EDGES = {
    ("GET", "customaudiences"): "list",
    ("POST", "customaudiences"): "create",
    ("DELETE", "usersofanyaudience"): "remove_everywhere",
    ("GET", "customaudiencestos"): "terms",
    ("POST", "customaudiencestos"): "accept_terms",
}
_PLAIN = {"oauth/access_token": "token", "debug_token": "inspect_token", "me": "me"}


class MetaSandbox:
    """The Graph endpoints that a connector needs, with Meta's own refusals."""

    name = "meta"

    def __init__(self, world: World) -> None:
        self._world = world
        self._audiences = Audiences(world)
        self._uploads = Uploads(world, self._audiences)
        self._tokens = Tokens(world.options, world.clock)
        self._without_terms: set[str] = set()
        self._usage = Usage(world, self._audiences)

    def operation(self, call: Call) -> str:
        """What the request wants, in one word."""
        method, node, edge = self._route(call)
        if f"{node}/{edge}".rstrip("/") in _PLAIN:
            return _PLAIN[f"{node}/{edge}".rstrip("/")]
        if node.startswith("act_"):
            return _ACCOUNT_EDGES.get((method, edge), "unknown") if edge else "account"
        return _EDGES.get((method, edge), "unknown") if edge else _NODE.get(method, "unknown")

    def answer(self, call: Call, fault: Fault | None) -> Reply:
        """Meta's answer."""
        account: str | None = None
        try:
            operation = self.operation(call)
            account = self._account(call)
            params = read(call)
            if operation == "token":
                return self._tokens.exchange(params)
            token = self._tokens.check(call, params)
            self._check_account(account)
            self._usage.spend(account)
            reply = self._serve(operation, account, call, params, fault, token)
        except MetaError as refusal:
            reply = refusal.reply()
        return self._usage.tell(reply, account)

    def refuse(self, call: Call, fault: Fault) -> Reply:
        """The answer of a partner that does not work."""
        account = self._account(call)
        status = fault.status or self._world.options.meta_throttle_status
        if fault.kind == "rate-limit":
            reply = throttled(fault.code or 80003, status).reply()
            return self._usage.tell(reply, account, full=True, minutes=fault.minutes)
        refusals = {
            "expired-token": expired(),
            "terms-not-accepted": terms_missing(account or "0"),
            "conflict": replacing(UPDATING, "The audience is being updated."),
        }
        fallback = MetaError(
            fault.code or 2,
            "An unexpected error has occurred. Please retry your request later.",
            status=fault.status or 500,
            transient=True,
        )
        return self._usage.tell(refusals.get(fault.kind, fallback).reply(), account)

    def lists(self) -> list[dict[str, Any]]:
        """Every audience with its counts."""
        return [self._summary(audience) for audience in self._audiences]

    def members(self, list_id: str, *, people: bool) -> dict[str, list[str]] | None:
        """The identifiers that an audience holds."""
        audience = self._audiences.find(list_id)
        if audience is None:
            return None
        self._uploads.settle(audience)
        return audience.members.identifiers(people=people)

    def accept_terms(self, account: str, *, accepted: bool) -> None:
        """Sign or withdraw the custom audience terms of an ad account."""
        change = self._without_terms.discard if accepted else self._without_terms.add
        change(account.removeprefix("act_"))

    def flag(self, list_id: str, status: int | None) -> bool:
        """Give an audience a status that stays, such as 471 (flagged by policy)."""
        audience = self._audiences.find(list_id)
        if audience is not None:
            audience.trouble = status
        return audience is not None

    def issue(self, token: str, seconds: float) -> None:
        """Make a token that ends after some seconds of the sandbox's clock."""
        self._tokens.issue(token, seconds)

    def _route(self, call: Call) -> tuple[str, str, str]:
        path = _VERSION.sub("", call.path, count=1) if _VERSION.match(call.path) else call.path
        node, _, edge = path.strip("/").partition("/")
        method = call.method
        if method == "POST":
            method = self._override(call) or method
        return method, node, edge

    @staticmethod
    def _override(call: Call) -> str | None:
        if "method" in call.query:
            return call.query["method"].upper()
        if b"method" not in call.body:
            return None
        try:
            wanted = read(call).get("method")
        except MetaError:
            return None
        return wanted.upper() if isinstance(wanted, str) else None

    def _account(self, call: Call) -> str | None:
        _, node, _ = self._route(call)
        if node.startswith("act_"):
            return node.removeprefix("act_")
        audience = self._audiences.find(node)
        return audience.account if audience else None

    def _check_account(self, account: str | None) -> None:
        known = self._world.options.meta_accounts
        if account is None:
            return
        if not account.isdigit() or (
            known and account not in {name.removeprefix("act_") for name in known}
        ):
            raise unknown_object(f"act_{account}")

    def _serve(
        self,
        operation: str,
        account: str | None,
        call: Call,
        params: dict[str, Any],
        fault: Fault | None,
        token: str,
    ) -> Reply:
        _, node, _ = self._route(call)
        version = _VERSION.match(call.path)
        if version and int(version.group(1)) < OLDEST_VERSION:
            raise MetaError(2635, "(#2635) You are calling a deprecated version of the Ads API.")
        if operation == "unknown":
            raise unknown_object(node)
        if operation == "me":
            return Reply(content={"id": "1", "name": "Sandbox system user"})
        if operation == "inspect_token":
            return self._tokens.inspect(params, token)
        if account is not None and node.startswith("act_"):
            return self._serve_account(operation, account, call, params, fault)
        return self._serve_audience(operation, self._audiences.get(node), call, params, fault)

    def _serve_account(
        self,
        operation: str,
        account: str,
        call: Call,
        params: dict[str, Any],
        fault: Fault | None,
    ) -> Reply:
        accepted = account not in self._without_terms
        if operation == "account":
            terms = {"custom_audience_tos": int(accepted)}
            return Reply(content={"tos_accepted": terms, "id": f"act_{account}"})
        if operation == "terms":
            return Reply(content={"data": [{"id": "custom_audience_tos"}]})
        if operation == "accept_terms":
            self.accept_terms(account, accepted=True)
            return Reply(content={"success": True})
        if operation == "list":
            url = f"{call.base}/{call.path}"
            return Reply(content=self._audiences.page(account, params, url))
        if not accepted:
            raise terms_missing(account)
        if operation == "remove_everywhere":
            return self._uploads.remove_everywhere(account, params, fault)
        audience = self._audiences.create(account, params)
        return Reply(content={"id": audience.id}, list_id=audience.id)

    def _serve_audience(
        self,
        operation: str,
        audience: Audience,
        call: Call,
        params: dict[str, Any],
        fault: Fault | None,
    ) -> Reply:
        if operation in ("add", "replace") and audience.account in self._without_terms:
            raise terms_missing(audience.account)
        if operation in ("add", "remove"):
            return self._uploads.change(operation, audience, call, params, fault)
        if operation == "replace":
            return self._uploads.replace(audience, call, params, fault)
        self._uploads.settle(audience)
        if operation == "get":
            return Reply(
                content=self._audiences.view(audience, params.get("fields")), list_id=audience.id
            )
        if operation == "sessions":
            return Reply(content={"data": self._sessions(audience, params)}, list_id=audience.id)
        if operation == "health":
            return Reply(content={"data": []}, list_id=audience.id)
        if operation == "update":
            self._audiences.update(audience, params)
        else:
            self._audiences.delete(audience)
        return Reply(content={"success": True}, list_id=audience.id)

    def _sessions(self, audience: Audience, params: dict[str, Any]) -> list[dict[str, str]]:
        wanted = params.get("session_id")
        share = self._world.options.match_share
        return [
            {
                "session_id": str(session.id),
                "start_time": str(int(session.started)),
                "end_time": str(int(session.finished or 0)),
                "num_received": str(session.received),
                "num_matched": str(int((session.received - session.refused) * share)),
                "num_invalid_entries": str(session.refused),
                "progress": "100" if session.finished else "0",
                "stage": "finished" if session.finished else "uploading",
            }
            for session in self._uploads.sessions.of(audience.id)
            if wanted is None or str(session.id) == str(wanted)
        ]

    @staticmethod
    def _summary(audience: Audience) -> dict[str, Any]:
        return {
            "id": audience.id,
            "account": audience.account,
            "name": audience.definition["name"],
            "description": audience.definition.get("description", ""),
            "people": audience.members.people(),
            "identifiers": audience.members.counts(),
        }
