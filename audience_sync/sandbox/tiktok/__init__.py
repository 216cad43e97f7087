"""A simulated TikTok Business API: custom audiences, streamed or from files."""

from __future__ import annotations

import re
import secrets
from typing import Any

import orjson

from audience_sync.sandbox.faults import Fault
from audience_sync.sandbox.tiktok import errors, mapping
from audience_sync.sandbox.tiktok.audiences import STREAMING, Audiences
from audience_sync.sandbox.tiktok.errors import TikTokError, envelope, only, wrong
from audience_sync.sandbox.tiktok.files import Files, form
from audience_sync.sandbox.world import Call, Reply, World

VERSION = "v1.3"

_PATH = re.compile(r"open_api/(v\d+\.\d+)/(.*)")
_ROUTES = {
    ("POST", "oauth2/access_token/"): "token",
    ("GET", "user/info/"): "me",
    ("GET", "advertiser/info/"): "account",
    ("GET", "dmp/custom_audience/list/"): "list",
    ("GET", "dmp/custom_audience/get/"): "get",
    ("POST", "dmp/custom_audience/file/upload/"): "upload",
    ("POST", "dmp/custom_audience/create/"): "create",
    ("POST", "dmp/custom_audience/update/"): "replace",
    ("POST", "dmp/custom_audience/delete/"): "delete",
    ("POST", "segment/audience/"): "segment",
    ("POST", "segment/mapping/"): "add",
}
_BY_ACTION = {
    "replace": {"APPEND": "add", "REMOVE": "remove"},
    "add": {"delete": "remove"},
    "segment": {"create": "create", "delete": "delete"},
}
_REFUSALS = {
    "rate-limit": (errors.BUSY, "Too many requests. Please retry in some seconds."),
    "conflict": (errors.CONFLICT, "The object is being changed by another request."),
    "expired-token": (errors.EXPIRED, "Access token is expired."),
    "terms-not-accepted": (errors.PERMISSION, "No permission to operate the advertiser."),
}


class TikTokSandbox:
    """The endpoints that a connector needs, with TikTok's own refusals."""

    name = "tiktok"

    def __init__(self, world: World) -> None:
        self._world = world
        self._files = Files(world.clock)
        self._audiences = Audiences(world, self._files)
        self._closed: set[str] = set()  # advertisers that the token may not change

    def operation(self, call: Call) -> str:
        """What the request wants, in one word; members are added and removed at one address."""
        found = _PATH.fullmatch(call.path)
        operation = _ROUTES.get((call.method, found.group(2)), "unknown") if found else "unknown"
        if operation not in _BY_ACTION:
            return operation
        try:
            action = str(_object(call).get("action"))
        except TikTokError:
            action = ""
        return _BY_ACTION[operation].get(action, operation)

    def answer(self, call: Call, fault: Fault | None) -> Reply:
        """TikTok's answer."""
        try:
            return self._serve(self.operation(call), call, fault)
        except TikTokError as refusal:
            return refusal.reply()

    def refuse(self, call: Call, fault: Fault) -> Reply:  # noqa: ARG002 - the protocol of partners
        """The answer of a partner that does not work; with a status, that of the edge before it."""
        if fault.kind == "5xx" and fault.status is not None:
            page = b"<html><head><title>502 Bad Gateway</title></head></html>"
            return Reply(status=fault.status, content=page, content_type="text/html", outcome="5xx")
        code, message = _REFUSALS.get(fault.kind, (errors.SERVER, "System error."))
        return TikTokError(fault.code or code, message).reply()

    def lists(self) -> list[dict[str, Any]]:
        """Every audience with its counts."""
        return [
            {
                "id": one.id,
                "account": one.advertiser,
                "name": one.name,
                "description": "",
                "calculate_type": one.kind,
                "people": one.members.people(),
                "identifiers": one.members.counts(),
            }
            for one in self._audiences
        ]

    def members(self, list_id: str, *, people: bool) -> dict[str, list[str]] | None:
        """The identifiers that an audience holds."""
        found = self._audiences.find(list_id)
        return None if found is None else found.members.identifiers(people=people)

    def accept_terms(self, account: str, *, accepted: bool) -> None:
        """Give the token the right to change an advertiser's audiences, or take it."""
        (self._closed.discard if accepted else self._closed.add)(account)

    def _serve(self, operation: str, call: Call, fault: Fault | None) -> Reply:
        found = _PATH.fullmatch(call.path)
        if found is None or operation == "unknown":
            raise TikTokError(errors.NO_ROUTE, "The requested route does not exist.")
        if found.group(1) != VERSION:
            raise TikTokError(errors.VERSION, "This API version is not supported.")
        if operation == "token":
            return _granted(_object(call))
        self._check_token(call)
        if call.method == "GET":
            return self._look(operation, call)
        if operation == "upload":
            named = form(call).get("advertiser_id", b"").decode("ascii", "replace")
            advertiser = self._advertiser(named)
            return _reply({"file_path": self._files.upload(call, advertiser)}, advertiser)
        if found.group(2) == "segment/mapping/":
            return self._map(_object(call), fault)
        return self._change(found.group(2), _object(call), fault)

    def _look(self, operation: str, call: Call) -> Reply:
        if operation == "me":
            return _reply({"display_name": "Sandbox user"})
        if operation == "account":
            return self._account(call)
        advertiser = self._advertiser(call.query.get("advertiser_id"))
        look = self._audiences.page if operation == "list" else self._audiences.details
        return _reply(look(advertiser, dict(call.query)), advertiser)

    def _check_token(self, call: Call) -> None:
        token, known = call.headers.get("access-token", ""), self._world.options.tiktok_tokens
        if not token:
            raise TikTokError(errors.NO_TOKEN, "Access token is missing.")
        if token.startswith("expired"):
            raise TikTokError(errors.EXPIRED, "Access token is expired.")
        if token.startswith("invalid") or (known and token not in known):
            text = "Access token is incorrect or has been revoked."
            raise TikTokError(errors.BAD_TOKEN, text)

    def _advertiser(self, advertiser: Any) -> str:
        if not isinstance(advertiser, str) or not advertiser.isdigit():
            raise wrong("advertiser_id: A text of digits is needed.")
        known = self._world.options.tiktok_advertisers
        if known and advertiser not in known:
            raise TikTokError(errors.NO_ADVERTISER, "The advertiser does not exist.")
        if advertiser in self._closed:
            raise TikTokError(*_REFUSALS["terms-not-accepted"])
        return advertiser

    def _account(self, call: Call) -> Reply:
        try:
            wanted = orjson.loads(call.query.get("advertiser_ids", ""))
        except orjson.JSONDecodeError:
            wanted = None
        if not isinstance(wanted, list) or not wanted:
            raise wrong("advertiser_ids: A JSON array is needed.")
        found = [{"advertiser_id": self._advertiser(one)} for one in wanted]
        return _reply({"list": found})

    def _change(self, path: str, wanted: dict[str, Any], fault: Fault | None) -> Reply:
        advertiser = self._advertiser(wanted.get("advertiser_id"))
        if path == "segment/audience/":
            return self._segment(advertiser, wanted)
        if path == "dmp/custom_audience/delete/":
            only(wanted, "advertiser_id", "custom_audience_ids")
            self._audiences.delete(advertiser, wanted.get("custom_audience_ids"))
            return _reply({}, advertiser)
        if path == "dmp/custom_audience/create/":
            made = self._audiences.create(advertiser, wanted)
            return _reply({"custom_audience_id": made.id, "audience_id": made.id}, advertiser)
        audience, lines = self._audiences.update(advertiser, wanted, fault)
        audience.trouble = _trouble(fault)
        partly = fault is not None and fault.kind in ("reject-share", "reject-values")
        return _reply({}, advertiser, audience.id, lines, partly=partly)

    def _segment(self, advertiser: str, wanted: dict[str, Any]) -> Reply:
        only(wanted, "advertiser_id", "custom_audience_name", "action", "audience_id")
        if not self._world.options.tiktok_streaming:
            text = "The app is not in the allow list of this endpoint."
            raise TikTokError(errors.NOT_ALLOWED, text)
        if wanted.get("action") == "delete":
            if not self._audiences.get(wanted.get("audience_id"), advertiser).streaming:
                raise wrong("This audience is made from files.")
            self._audiences.delete(advertiser, [wanted["audience_id"]])
            return _reply({}, advertiser)
        if wanted.get("action") != "create":
            raise wrong("action: create or delete.")
        made = self._audiences.make(advertiser, wanted.get("custom_audience_name"), STREAMING)
        return _reply({"audience_id": made.id}, advertiser, made.id)

    def _map(self, wanted: dict[str, Any], fault: Fault | None) -> Reply:
        advertisers = wanted.get("advertiser_ids")
        if not isinstance(advertisers, list) or len(advertisers) != 1:
            raise wrong("advertiser_ids: A list with one advertiser is needed here.")
        advertiser = self._advertiser(advertisers[0])
        if not self._world.options.tiktok_streaming:
            text = "The app is not in the allow list of this endpoint."
            raise TikTokError(errors.NOT_ALLOWED, text)
        most = self._world.options.tiktok_people_per_request
        changes = mapping.read(wanted, self._audiences, advertiser, most, fault)
        for change in changes:
            if not change.audience.streaming:
                raise wrong("This audience is made from files.")
        now = self._world.clock.now()
        for change in changes:
            if change.leave:
                change.audience.members.remove(change.columns, change.rows)
            else:
                change.audience.members.add(change.columns, change.rows, now)
            change.audience.changed = now
            change.audience.trouble = _trouble(fault)
        partly = any(change.partial for change in changes)
        number = changes[0].audience.id if changes else None
        return _reply({}, advertiser, number, len(wanted["batch_data"]), partly=partly)


def _reply(
    found: Any,
    advertiser: str | None = None,
    audience: str | None = None,
    rows: int = 0,
    *,
    partly: bool = False,
) -> Reply:
    code, message = (errors.PARTIAL, "Partial success.") if partly else (errors.OK, "OK")
    return Reply(
        content=envelope(code, message, found),
        account=advertiser,
        list_id=audience,
        rows=rows,
        outcome=str(code) if partly else "ok",
    )


def _trouble(fault: Fault | None) -> str | None:
    failed = fault is not None and fault.kind == "final-failure"
    return "The audience could not be matched." if failed else None


def _object(call: Call) -> dict[str, Any]:
    if not call.headers.get("content-type", "").startswith("application/json"):
        raise wrong("The body must be application/json.")
    if "object" not in call.memory:
        try:
            call.memory["object"] = orjson.loads(call.body)
        except orjson.JSONDecodeError:
            call.memory["object"] = None
    wanted = call.memory["object"]
    if not isinstance(wanted, dict):
        raise wrong("The body must be a JSON object.")
    return wanted


def _granted(wanted: dict[str, Any]) -> Reply:
    only(wanted, "app_id", "secret", "auth_code")
    if not all(wanted.get(name) for name in ("app_id", "secret", "auth_code")):
        raise wrong("app_id, secret and auth_code are needed.")
    if str(wanted["auth_code"]).startswith(("expired", "invalid")):
        raise TikTokError(errors.BAD_CODE, "The auth_code is expired or was used.")
    token = secrets.token_hex(20)
    return _reply({"access_token": token, "advertiser_ids": ["1234567890"], "scope": [4, 10]})
