"""Users put on a list and taken off it: the whole request, or nothing of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from audience_sync.sandbox.faults import Fault
from audience_sync.sandbox.membership import Column, Columns
from audience_sync.sandbox.world import Call, Reply, World
from audience_sync.sandbox.x.errors import OperationsError, XError, invalid, missing
from audience_sync.sandbox.x.lists import UNREACHED, Audience

MOST_OPERATIONS, MOST_BYTES = 2_500, 5_000_000
DEFAULT_LIFE = 396 * 86_400  # seconds, about thirteen months
SHORTEST_13_MONTHS = 393 * 86_400  # seconds
HASH_OF_NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
KINDS = {
    "email": "email",
    "phone_number": "phone",
    "device_id": "device",
    "handle": "handle",
    "twitter_id": "twitter_id",
    "partner_user_id": "external_id",
}
_HASH = re.compile("[0-9a-f]{64}")


@dataclass(slots=True)
class Operation:
    """One operation that was understood."""

    verb: str
    until: float
    rows: int
    columns: Columns = field(repr=False)


class Users:
    """What the users endpoint does."""

    def __init__(self, world: World) -> None:
        self._world = world

    def change(self, audience: Audience, call: Call, fault: Fault | None) -> Reply:
        """Do all operations of a request, in their order."""
        operations = self._read(audience, call, fault)
        total = sum(operation.rows for operation in operations)
        missed = len(fault.rejected(total)) if fault and fault.kind == "reject-share" else 0
        now = self._world.clock.now()
        for operation in operations if not missed else ():
            if operation.verb == "Update":
                audience.add(operation.columns, operation.rows, now, operation.until)
            else:
                audience.remove(operation.columns, operation.rows)
        audience.changed = now
        counts: Any = {"success_count": total - missed, "total_count": total}
        params = {"account_id": audience.account, f"{audience.kind[:-1]}_id": audience.id}
        content = {
            "request": {"params": params},
            "data": [counts] if audience.kind == UNREACHED else counts,
        }
        return Reply(content=content, account=audience.account, list_id=audience.id, rows=total)

    def _read(self, audience: Audience, call: Call, fault: Fault | None) -> list[Operation]:
        if len(call.body) > MOST_BYTES:
            raise XError("REQUEST_TOO_COMPLEX", f"At most {MOST_BYTES} bytes")
        if not call.headers.get("content-type", "").startswith("application/json"):
            raise invalid("content-type", call.headers.get("content-type"), "application/json")
        try:
            wanted = orjson.loads(call.body)
        except orjson.JSONDecodeError:
            raise invalid("body", "", "JSON") from None
        if not isinstance(wanted, list) or not wanted:
            raise invalid("body", type(wanted).__name__, "an array of operations")
        if len(wanted) > MOST_OPERATIONS:
            raise XError("REQUEST_TOO_COMPLEX", f"At most {MOST_OPERATIONS} operations")
        found, wrong = [], list[list[dict[str, Any]]]()
        for one in wanted:
            try:
                found.append(self._operation(audience, one, fault))
                wrong.append([])
            except XError as error:
                wrong.append([error.entry])
        if any(wrong):
            raise OperationsError(wrong)
        return found

    def _operation(self, audience: Audience, wanted: Any, fault: Fault | None) -> Operation:
        one = _known(wanted, {"operation_type", "params"}, "operation")
        if one.get("operation_type") not in ("Update", "Delete"):
            raise invalid("operation_type", one.get("operation_type"), "Update or Delete")
        allowed = {"users", "expires_at", "effective_at"}
        allowed -= {"effective_at"} if audience.kind == UNREACHED else set()
        params = _known(one.get("params"), allowed, "params")
        users = params.get("users")
        if not isinstance(users, list) or not users:
            raise missing("users")
        leaves = one["operation_type"] == "Delete"
        until = 0.0 if leaves else self._until(audience, params)
        columns = _columns(
            users, ("email", "phone_number") if audience.kind == UNREACHED else KINDS
        )
        _reject(columns, len(users), fault)
        return Operation(one["operation_type"], until, len(users), columns)

    def _until(self, audience: Audience, params: dict[str, Any]) -> float:
        now = self._world.clock.now()
        begins = _moment(params, "effective_at") or now
        until = _moment(params, "expires_at") or now + DEFAULT_LIFE
        if until <= max(begins, now):
            raise invalid("expires_at", params.get("expires_at"), "a time after effective_at")
        if audience.kind == UNREACHED and until >= now + SHORTEST_13_MONTHS:
            raise invalid("expires_at", params.get("expires_at"), "a time within 13 months")
        return until


def _known(value: Any, names: set[str], what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise missing(what)
    for name in value:
        if name not in names:
            raise invalid(name, "", "no such parameter")
    return value


def _moment(params: dict[str, Any], name: str) -> float | None:
    text = params.get(name)
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        raise invalid(name, text, "a time in ISO 8601") from None
    return found.replace(tzinfo=found.tzinfo or UTC).timestamp()


def _columns(users: list[Any], keys: Any) -> Columns:
    found: dict[str, tuple[list[str], list[int]]] = {}
    for row, user in enumerate(users):
        if not isinstance(user, dict) or not user:
            raise invalid("users", "", "users with an identifier")
        for key, listed in user.items():
            if key not in keys:
                raise invalid(key, "", "a key that this list takes")
            if not isinstance(listed, list) or not listed:
                raise invalid(key, "", "an array of identifiers")
            values, rows = found.setdefault(KINDS[key], ([], []))
            for value in listed:
                _check(key, value)
                values.append(value)
                rows.append(row)
    return {kind: Column(*pair) for kind, pair in found.items()}


def _check(key: str, value: Any) -> None:
    if not isinstance(value, str) or not value:
        raise invalid(key, value, "text")
    if key != "partner_user_id" and (not _HASH.fullmatch(value) or value == HASH_OF_NOTHING):
        raise invalid(key, value, "a SHA-256 hash in lower-case hex")


def _reject(columns: Columns, rows: int, fault: Fault | None) -> None:
    """A fault that finds fault with some users; X then takes nobody of the request."""
    if fault is None or fault.kind != "reject-values":
        return
    bad = {value for column in columns.values() for value in column.values} & set(fault.values)
    if bad or fault.rejected(rows):
        raise invalid("email", "", "another identifier")
