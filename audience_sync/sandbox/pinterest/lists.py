"""Customer lists and the audiences on top of them: made, changed and read back."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from audience_sync.sandbox.faults import Fault
from audience_sync.sandbox.membership import Column, MemberList
from audience_sync.sandbox.pinterest.errors import PinterestError, invalid, missing
from audience_sync.sandbox.world import World

TYPES = {"EMAIL", "IDFA", "MAID", "LR_ID", "DLX_ID", "HASHED_PINNER_ID"}
SMALLEST = 100  # matched people
LONGEST_PAGE, USUAL_PAGE = 250, 25
HASH_OF_NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

_RECORD = re.compile(r"[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}|[^@\s]+@[^@\s]+")
_HEX = frozenset("0123456789abcdef")


@dataclass(slots=True, kw_only=True)
class CustomerList:
    """One list; the counters rise with each record, known or not."""

    id: str
    account: str
    name: str
    type: str
    made: int
    changed: float
    members: MemberList
    batches: int = 0
    added: int = 0
    removed: int = 0

    def change(self, operation: str, records: list[str], now: float) -> None:
        """Put records on the list or take them off; one record is one person."""
        kind = "email" if self.type == "EMAIL" else "device"
        columns = {kind: Column(records, range(len(records)))}
        if operation == "ADD":
            self.members.add(columns, len(records), now)
            self.added += len(records)
        else:
            self.members.remove(columns, len(records))
            self.removed += len(records)
        self.batches += 1
        self.changed = now


@dataclass(slots=True, kw_only=True)
class Audience:
    """What ads can use: a name for one list."""

    id: str
    account: str
    definition: dict[str, Any]
    made: int


class Lists:
    """All lists and audiences of all ad accounts."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._lists: dict[str, CustomerList] = {}
        self._audiences: dict[str, Audience] = {}

    def __iter__(self) -> Iterator[CustomerList]:
        return iter(self._lists.values())

    def find(self, list_id: str) -> CustomerList | None:
        """A list, whoever's it is."""
        return self._lists.get(list_id)

    def get(self, account: str, list_id: str) -> CustomerList:
        """A list of an account, or Pinterest's refusal."""
        found = self.find(list_id)
        if found is None or found.account != account:
            raise missing("Customer list")
        return found

    def create(self, account: str, wanted: Mapping[str, Any], fault: Fault | None) -> CustomerList:
        """A new list, which needs records from the beginning; names need not differ."""
        name, kind = wanted.get("name"), wanted.get("list_type", "EMAIL")
        if not isinstance(name, str) or not name:
            raise invalid("name is required.")
        if kind not in TYPES:
            raise invalid(f"list_type must be one of {', '.join(sorted(TYPES))}.")
        records = _records(wanted, fault)
        now = self._world.clock.now()
        made = CustomerList(
            id=str(642 + self._world.options.seed + len(self._lists)),
            account=account,
            name=name,
            type=kind,
            made=int(now),
            changed=now,
            members=MemberList(keep=not self._world.options.discard),
        )
        made.change("ADD", records, now)
        self._lists[made.id] = made
        return made

    def change(self, one: CustomerList, wanted: Mapping[str, Any], fault: Fault | None) -> int:
        """Add records or remove them; how many were sent."""
        operation = wanted.get("operation_type")
        if operation not in ("ADD", "REMOVE"):
            raise invalid("operation_type must be ADD or REMOVE.")
        one.change(operation, _records(wanted, fault), self._world.clock.now())
        return int(str(wanted["records"]).count(",") + 1)

    def put_on_top(self, account: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """An audience of a list; refused while the list is too small, where that is strict."""
        if wanted.get("audience_type") != "CUSTOMER_LIST":
            raise invalid("audience_type must be CUSTOMER_LIST here.")
        if not wanted.get("name"):
            raise invalid("name is required.")
        rule = wanted.get("rule")
        if not isinstance(rule, dict) or not rule.get("customer_list_id"):
            raise invalid("rule.customer_list_id is required.")
        one = self.get(account, str(rule["customer_list_id"]))
        if self._world.options.pinterest_strict_minimum and self.status(one) != "READY":
            raise PinterestError(400, 1, "The customer list is not ready or too small.")
        made = Audience(
            id=str(2_542_620_905_473 + len(self._audiences)),
            account=account,
            definition={"name": wanted["name"], "description": wanted.get("description", "")}
            | {"rule": {"customer_list_id": one.id}, "audience_type": "CUSTOMER_LIST"},
            made=int(self._world.clock.now()),
        )
        self._audiences[made.id] = made
        return self.view_audience(made)

    def audience(self, account: str, audience_id: str) -> Audience:
        """An audience of an account, or Pinterest's refusal."""
        found = self._audiences.get(audience_id)
        if found is None or found.account != account:
            raise missing("Audience")
        return found

    def change_audience(self, one: Audience, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Rename an audience, or remove it."""
        operation = wanted.get("operation_type")
        if operation not in ("UPDATE", "REMOVE"):
            raise invalid("operation_type must be UPDATE or REMOVE.")
        if operation == "REMOVE":
            del self._audiences[one.id]
        else:
            one.definition |= {k: wanted[k] for k in ("name", "description") if k in wanted}
        return self.view_audience(one)

    def on_top(self, list_id: str) -> list[str]:
        """The audiences that rest on a list."""
        return [
            one.id
            for one in self._audiences.values()
            if one.definition["rule"]["customer_list_id"] == list_id
        ]

    def page(self, what: str, account: str, params: Mapping[str, str]) -> dict[str, Any]:
        """One page of an account's lists or audiences, and where the next one begins."""
        size = _number(params.get("page_size", str(USUAL_PAGE)), "page_size")
        start = _number(params.get("bookmark", "0"), "bookmark")
        if not 1 <= size <= LONGEST_PAGE:
            raise invalid(f"page_size must be 1 to {LONGEST_PAGE}.")
        mine: list[Any]
        if what == "audiences":
            mine = [self.view_audience(one) for one in self._audiences.values()
                    if one.account == account]  # fmt: skip
        else:
            mine = [self.view(one) for one in self if one.account == account]
        end = start + size
        return {"items": mine[start:end], "bookmark": str(end) if end < len(mine) else None}

    def view(self, one: CustomerList) -> dict[str, Any]:
        """A list as Pinterest shows it."""
        return {
            "ad_account_id": one.account,
            "id": one.id,
            "name": one.name,
            "type": "customerlist",
            "status": self.status(one),
            "num_batches": one.batches,
            "num_uploaded_user_records": one.added,
            "num_removed_user_records": one.removed,
            "exceptions": {},
            "created_time": one.made,
            "updated_time": int(one.changed),
        }

    def view_audience(self, one: Audience) -> dict[str, Any]:
        """An audience as Pinterest shows it."""
        listed = self._lists[one.definition["rule"]["customer_list_id"]]
        status = self.status(listed)
        return {
            "id": one.id,
            "ad_account_id": one.account,
            **one.definition,
            "size": self._matched(listed) if status == "READY" else 0,
            "status": "INITIALIZING" if status == "PROCESSING" else status,
            "type": "audience",
            "created_timestamp": one.made,
            "updated_timestamp": int(listed.changed),
        }

    def status(self, one: CustomerList) -> str:
        """What Pinterest says of a list: at work, too small, or ready."""
        if self._world.clock.now() < one.changed + self._world.options.pinterest_processing_seconds:
            return "PROCESSING"
        return "READY" if self._matched(one) >= SMALLEST else "TOO_SMALL"

    def _matched(self, one: CustomerList) -> int:
        return int(one.members.people() * self._world.options.match_share)


def _records(wanted: Mapping[str, Any], fault: Fault | None) -> list[str]:
    """The records that Pinterest takes; it skips the others and tells by its counters alone."""
    text = wanted.get("records")
    if not isinstance(text, str) or not text:
        raise invalid("records must be one string with commas.")
    found = text.split(",")
    if len("".join(found)) != 64 * len(found) or not _HEX.issuperset(text.replace(",", "")):
        found = [record for record in found if _RECORD.fullmatch(record)]
    bad = {HASH_OF_NOTHING, *(fault.values if fault is not None else ())}
    by_place = set(fault.rejected(len(found))) if fault is not None else set()
    if by_place or not bad.isdisjoint(found):
        found = [r for place, r in enumerate(found) if r not in bad and place not in by_place]
    return found


def _number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise invalid(f"{name} cannot be read.")
    return int(text)
