"""A simulated Google Data Manager API: OAuth, user lists, members and request statuses."""

from __future__ import annotations

import re
from typing import Any

import orjson

from audience_sync.sandbox.faults import Fault
from audience_sync.sandbox.google import compact
from audience_sync.sandbox.google.errors import (
    GoogleError,
    denied,
    exhausted,
    missing,
    unauthenticated,
    wrong,
)
from audience_sync.sandbox.google.ingestion import Ingestion, check_account
from audience_sync.sandbox.google.lists import UserList, UserLists
from audience_sync.sandbox.google.oauth import OAuth
from audience_sync.sandbox.google.quotas import Quotas
from audience_sync.sandbox.google.statuses import Statuses
from audience_sync.sandbox.world import Call, Reply, World

_LISTS = re.compile(r"v1/accountTypes/([^/]+)/accounts/([^/]+)/userLists(?:/([^/]+))?")
_LOGIN = re.compile(r"accountTypes/([^/]+)/accounts/([^/]+)")
_PLAIN = {
    ("POST", "token"): "token",
    ("POST", "v1/audienceMembers:ingest"): "add",
    ("POST", "v1/audienceMembers:remove"): "remove",
    ("POST", "v1/audienceMembers:removeAll"): "remove_all",
    ("GET", "v1/requestStatus:retrieve"): "status",
}
_COLLECTION = {"GET": "list", "POST": "create"}
_RESOURCE = {"GET": "get", "PATCH": "update", "DELETE": "delete"}
_SERVER_ERRORS = {500: "INTERNAL", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED"}


class GoogleSandbox:
    """The Data Manager endpoints that a connector needs, with Google's own refusals."""

    name = "google"

    def __init__(self, world: World) -> None:
        self._world = world
        self._oauth = OAuth(world.clock)
        self._lists = UserLists(world)
        self._statuses = Statuses(world)
        self._ingestion = Ingestion(world, self._lists, self._statuses)
        self._quotas = Quotas(world.clock)
        self.service_account = self._oauth.service_account
        self.refresh_token = self._oauth.refresh_token

    def operation(self, call: Call) -> str:
        """What the request wants, in one word."""
        path = _LISTS.fullmatch(call.path)
        if path is None:
            return _PLAIN.get((call.method, call.path), "unknown")
        table = _RESOURCE if path.group(3) else _COLLECTION
        return table.get(call.method, "unknown")

    def answer(self, call: Call, fault: Fault | None) -> Reply:
        """Google's answer."""
        operation = self.operation(call)
        if operation == "token":
            return self._oauth.token(call)
        try:
            self._oauth.check(call)
            if self._world.options.strict_quotas:
                self._quotas.spend(operation)
            return self._serve(operation, call, fault)
        except GoogleError as refusal:
            return refusal.reply()

    def refuse(self, call: Call, fault: Fault) -> Reply:
        """The answer of a partner that does not work."""
        if self.operation(call) == "token":
            return _refuse_token(fault)
        refusals = {
            "rate-limit": exhausted(fault.quota_limit),
            "expired-token": unauthenticated(),
            "terms-not-accepted": denied("ADVERTISER_TOS_NOT_ACCEPTED"),
            "conflict": GoogleError("ABORTED", "The operation was aborted."),
        }
        status = _SERVER_ERRORS.get(fault.status or 500, "INTERNAL")
        fallback = GoogleError(status, "Internal error encountered.", "INTERNAL_ERROR")
        return refusals.get(fault.kind, fallback).reply()

    def lists(self) -> list[dict[str, Any]]:
        """Every list with its counts."""
        return [_summary(one) for one in self._lists]

    def members(self, list_id: str, *, people: bool) -> dict[str, list[str]] | None:
        """The identifiers that a list holds; hashes in lower-case hex."""
        found = self._lists.find(list_id)
        return None if found is None else found.members.identifiers(people=people)

    def accept_terms(self, account: str, *, accepted: bool) -> None:
        """Sign or withdraw the terms of an operating account."""
        terms = self._ingestion.without_terms
        (terms.discard if accepted else terms.add)(account)

    def _serve(self, operation: str, call: Call, fault: Fault | None) -> Reply:
        if operation == "unknown":
            raise GoogleError("NOT_FOUND", "Method not found.")
        if operation == "status":
            return Reply(content=self._statuses.view(call.query.get("requestId")))
        if operation == "remove_all":
            return self._ingestion.remove_all(_read(call))
        if operation in ("add", "remove"):
            request, batch = compact.read(call.body) or (_read(call), None)
            change = self._ingestion.add if operation == "add" else self._ingestion.remove
            return change(request, batch, fault)
        reply = self._serve_lists(operation, call)
        found = _LISTS.fullmatch(call.path)
        reply.account = found.group(2) if found else None
        return reply

    def _serve_lists(self, operation: str, call: Call) -> Reply:
        path = _LISTS.fullmatch(call.path)
        if path is None:
            raise GoogleError("NOT_FOUND", "Method not found.")
        account = self._account(path, call)
        validate_only = call.query.get("validateOnly") == "true"
        if operation == "list":
            return Reply(content=self._lists.page(account, dict(call.query)))
        if operation == "create":
            if account[1] in self._ingestion.without_terms:
                raise denied("ADVERTISER_TOS_NOT_ACCEPTED")
            made = self._lists.create(account, _read(call), validate_only=validate_only)
            return Reply(content=made, list_id=made.get("id"))
        found = self._lists.get(account, path.group(3))
        if operation == "get":
            return Reply(content=self._lists.view(found), list_id=found.id)
        if operation == "update":
            mask = call.query.get("updateMask", "")
            shown = self._lists.update(found, _read(call), mask, validate_only=validate_only)
            return Reply(content=shown, list_id=found.id)
        if not validate_only:
            self._lists.delete(found)
        return Reply(content={}, list_id=found.id)

    def _account(self, path: re.Match[str], call: Call) -> tuple[str, str]:
        given = {"accountType": path.group(1), "accountId": path.group(2)}
        account = check_account(given, "parent")
        header = call.headers.get("login-account")
        login = account[1]
        if header is not None:
            read = _LOGIN.fullmatch(header)
            if read is None:
                text = "The header is accountTypes/TYPE/accounts/ID."
                raise wrong("INVALID_ARGUMENT", "login-account", text)
            found = {"accountType": read.group(1), "accountId": read.group(2)}
            login = check_account(found, "login-account")[1]
        self._ingestion.check_access(account[1], login)
        return account


def _read(call: Call) -> dict[str, Any]:
    if not call.body:
        raise missing("body")
    try:
        request = orjson.loads(call.body)
    except orjson.JSONDecodeError:
        text = "Invalid JSON payload received."
        raise GoogleError("INVALID_ARGUMENT", text) from None
    if not isinstance(request, dict):
        raise GoogleError("INVALID_ARGUMENT", "Invalid JSON payload received. Root is no message.")
    return request


def _refuse_token(fault: Fault) -> Reply:
    if fault.kind == "expired-token":
        error, text, status = "invalid_grant", "Token has been expired or revoked.", 400
    elif fault.kind == "rate-limit":
        error, text, status = "rate_limit_exceeded", "Rate limit exceeded.", 429
    else:
        error, text, status = "internal_failure", "Try again later.", fault.status or 500
    content = {"error": error, "error_description": text}
    return Reply(status=status, content=content, outcome=error)


def _summary(one: UserList) -> dict[str, Any]:
    return {
        "id": one.id,
        "account": "/".join(one.account),
        "name": one.definition["displayName"],
        "description": one.definition.get("description", ""),
        "integration_code": one.definition.get("integrationCode", ""),
        "key_type": one.key_type,
        "people": one.members.people(),
        "identifiers": one.members.counts(),
    }
