"""Custom audiences and Do Not Reach Lists: made, found, changed and read back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from audience_sync.sandbox.membership import Column, Columns, MemberList
from audience_sync.sandbox.world import World
from audience_sync.sandbox.x.errors import XError, invalid, missing

CUSTOM, UNREACHED = "custom_audiences", "do_not_reach_lists"
SMALLEST = 100  # matched members
LONGEST_PAGE, USUAL_PAGE, MOST_IDS = 1_000, 200, 200
FIRST_ID = 3_500_000
_ASKED = (
    "count",
    "cursor",
    "custom_audience_ids",
    "permission_scope",
    "q",
    "with_deleted",
    "with_total_count",
)
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(slots=True, kw_only=True)
class Audience:
    """One list of an account; `until` says when each identifier is forgotten."""

    id: str
    account: str
    kind: str
    definition: dict[str, str]
    made: float
    changed: float
    members: MemberList
    until: dict[str, dict[str, float]] = field(default_factory=dict, repr=False)
    soonest: float = float("inf")
    deleted: bool = False

    def add(self, columns: Columns, rows: int, now: float, until: float) -> None:
        """Put users on the list for some time."""
        self.members.add(columns, rows, now)
        for kind, column in columns.items():
            self.until.setdefault(kind, {}).update(dict.fromkeys(column.values, until))
        self.soonest = min(self.soonest, until)

    def remove(self, columns: Columns, rows: int) -> None:
        """Take users off."""
        self.members.remove(columns, rows)
        for kind, column in columns.items():
            for value in column.values:
                self.until.get(kind, {}).pop(value, None)

    def forget(self, now: float) -> None:
        """Take off whoever's time is over; X tells nobody."""
        if now < self.soonest:
            return
        over = {
            kind: [value for value, until in held.items() if until <= now]
            for kind, held in self.until.items()
        }
        self.remove({kind: Column(v, range(len(v))) for kind, v in over.items() if v}, 0)
        left = (until for held in self.until.values() for until in held.values())
        self.soonest = min(left, default=float("inf"))


class Lists:
    """All lists of all accounts, by id."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._lists: dict[str, Audience] = {}

    def __iter__(self) -> Iterator[Audience]:
        for one in self._lists.values():
            one.forget(self._world.clock.now())
            yield one

    def find(self, list_id: str) -> Audience | None:
        """A list that was not deleted, as it is now."""
        found = self._lists.get(list_id)
        if found is None or found.deleted:
            return None
        found.forget(self._world.clock.now())
        return found

    def get(self, account: str, kind: str, list_id: str) -> Audience:
        """A list of an account, or X's refusal."""
        found = self.find(list_id)
        if found is None or (found.account, found.kind) != (account, kind):
            raise XError("NOT_FOUND", "The list was not found", f"{kind[:-1]}_id", list_id)
        return found

    def create(self, account: str, kind: str, params: Mapping[str, str]) -> Audience:
        """A new list; a name is there once, and one Do Not Reach List an account."""
        _only(params, "name", "description")
        name = params.get("name", "")
        if not name:
            raise missing("name")
        mine = [one for one in self if (one.account, one.deleted) == (account, False)]
        if kind == UNREACHED and any(one.kind == UNREACHED for one in mine):
            raise invalid("account_id", account, "an account without a Do Not Reach List")
        if any(one.kind == kind and one.definition["name"] == name for one in mine):
            raise invalid("name", name, "a name that is not in use")
        now = self._world.clock.now()
        made = Audience(
            id=_base36(FIRST_ID + self._world.options.seed + len(self._lists)),
            account=account,
            kind=kind,
            definition={"name": name, "description": params.get("description", "")},
            made=now,
            changed=now,
            members=MemberList(keep=not self._world.options.discard),
        )
        self._lists[made.id] = made
        return made

    def page(self, account: str, kind: str, params: Mapping[str, str]) -> dict[str, Any]:
        """One page of an account's lists, and where the next one begins."""
        _only(params, *_ASKED)
        count = _number(params.get("count", str(USUAL_PAGE)), "count")
        if not 1 <= count <= LONGEST_PAGE:
            raise invalid("count", count, f"a number from 1 to {LONGEST_PAGE}")
        if params.get("permission_scope", "OWNER") not in ("OWNER", "SHARED"):
            raise invalid("permission_scope", params["permission_scope"], "OWNER or SHARED")
        prefix, start = params.get("q", ""), _number(params.get("cursor", "0"), "cursor")
        ids = params.get("custom_audience_ids", "").split(",")
        if len(ids) > MOST_IDS:
            raise invalid("custom_audience_ids", len(ids), f"at most {MOST_IDS} ids")
        found = [
            one
            for one in self
            if (one.account, one.kind) == (account, kind)
            and (not one.deleted or params.get("with_deleted") == "true")
            and one.definition["name"].startswith(prefix)
            and (ids == [""] or one.id in ids)
        ]
        if params.get("permission_scope") == "SHARED":
            found = []
        end = start + count
        return {
            "data": [self.view(one) for one in found[start:end]],
            "next_cursor": str(end) if end < len(found) else None,
        }

    def view(self, one: Audience) -> dict[str, Any]:
        """A list as X shows it; its size comes some time after a change."""
        options = self._world.options
        ready = self._world.clock.now() >= one.changed + options.x_processing_seconds
        size = int(one.members.people() * options.match_share) if ready else None
        reasons = [] if ready else ["PROCESSING"]
        if (size or 0) < SMALLEST:
            reasons.append("TOO_SMALL")
        return {
            "id": one.id,
            **one.definition,
            "audience_type": "CRM",
            "audience_size": size,
            "targetable": not reasons,
            "targetable_types": ["CRM", "EXCLUDED_CRM"],
            "reasons_not_targetable": reasons,
            "permission_level": "READ_WRITE",
            "owner_account_id": one.account,
            "partner_source": "OTHER",
            "deleted": one.deleted,
            "created_at": _iso(one.made),
            "updated_at": _iso(one.changed),
        }


def _only(params: Mapping[str, str], *names: str) -> None:
    for name in params:
        if name not in names:
            raise invalid(name, "", "no such parameter")


def _number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise invalid(name, text, "a number")
    return int(text)


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(int(moment), UTC).isoformat().replace("+00:00", "Z")


def _base36(number: int) -> str:
    text = ""
    while number:
        number, digit = divmod(number, 36)
        text = _DIGITS[digit] + text
    return text
