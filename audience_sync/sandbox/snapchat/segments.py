"""Segments: made, found, changed and read back; their members are forgotten in time."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from audience_sync.sandbox.membership import MemberList
from audience_sync.sandbox.snapchat.errors import missing, only, wrong
from audience_sync.sandbox.world import World

FIRST_ID = 5_677_923_948_298_240
LONGEST_NAME = 375  # characters
LIFETIME = 9_999  # days
LARGEST_PAGE = 1_000
SMALLEST_SEGMENT = 1_000  # matched people, to be used
DAY = 86_400.0  # seconds
FIELDS = ("id", "name", "description", "source_type", "retention_in_days", "ad_account_id")


@dataclass(slots=True)
class Segment:
    """One segment; `definition` is what it was made with."""

    id: str
    account: str
    definition: dict[str, Any]
    members: MemberList
    made: float
    changed: float | None = None  # the last upload

    @property
    def days(self) -> int:
        """How long a member stays."""
        return int(self.definition.get("retention_in_days", LIFETIME))


class Segments:
    """The segments of every ad account."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._by_id: dict[str, Segment] = {}
        self._last = FIRST_ID + world.options.seed - 1

    def __iter__(self) -> Iterator[Segment]:
        return iter(self._by_id.values())

    def find(self, number: str) -> Segment | None:
        """A segment without those whose time is over, or None."""
        found = self._by_id.get(number)
        if found is not None and found.days < LIFETIME:
            found.members.remove_added_before(self._world.clock.now() - found.days * DAY)
        return found

    def get(self, number: str) -> Segment:
        """A segment, or 404."""
        found = self.find(number)
        if found is None:
            raise missing()
        return found

    def create(self, account: str, wanted: Any) -> Segment:
        """A new segment."""
        definition = _definition(account, only(wanted, *FIELDS[1:]))
        if definition.get("source_type") != "FIRST_PARTY":
            raise wrong("source_type must be FIRST_PARTY")
        self._last += 1
        members = MemberList(keep=not self._world.options.discard)
        made = Segment(str(self._last), account, definition, members, self._world.clock.now())
        self._by_id[made.id] = made
        return made

    def update(self, account: str, wanted: Any) -> Segment:
        """Change a segment's name, description or retention."""
        found = self.get(str(only(wanted, *FIELDS).get("id")))
        if found.account != account:
            raise missing()
        changes = {key: value for key, value in wanted.items() if key != "id"}
        found.definition = _definition(account, found.definition | changes)
        return found

    def delete(self, found: Segment) -> None:
        """Remove a segment with all it holds."""
        del self._by_id[found.id]

    def page(self, account: str, query: dict[str, str], url: str) -> dict[str, Any]:
        """The segments of an ad account, and where more are."""
        limit, start = query.get("limit", str(LARGEST_PAGE)), _start(query.get("cursor"))
        if not limit.isdigit() or not 1 <= int(limit) <= LARGEST_PAGE:
            raise wrong("limit must be between 1 and 1000")
        mine = [self.view(one) for one in self if one.account == account]
        end = start + int(limit)
        paging = {}
        if end < len(mine):
            cursor = base64.urlsafe_b64encode(str(end).encode()).decode()
            paging = {"next_link": f"{url}?cursor={cursor}&limit={limit}"}
        return {"found": mine[start:end], "paging": paging}

    def view(self, found: Segment) -> dict[str, Any]:
        """A segment as Snapchat shows it; its size is known some time after an upload."""
        options, now = self._world.options, self._world.clock.now()
        busy = found.changed is None or now < found.changed + options.snapchat_matching_seconds
        # A row is one identifier, so that people are the most of one kind.
        held = max(found.members.counts().values(), default=0) or found.members.people()
        size = 0 if busy else int(held * options.match_share)
        target = "READY" if size >= SMALLEST_SEGMENT else "TOO_FEW_USERS"
        upload = "PROCESSING" if busy else "COMPLETE"
        return {
            "id": found.id,
            "created_at": _moment(found.made),
            "updated_at": _moment(found.changed or found.made),
            "description": "",
            "retention_in_days": LIFETIME,
            **found.definition,
            "ad_account_id": found.account,
            "organization_id": "00000000-0000-4000-8000-000000000000",
            "status": "PENDING" if busy else "ACTIVE",
            "targetable_status": "NOT_READY" if busy else target,
            "upload_status": "NO_UPLOAD" if found.changed is None else upload,
            "visible_to": ["422ef6f5-0000-4000-8000-000000000001"],
            "approximate_number_users": size,
        }


def _definition(account: str, wanted: dict[str, Any]) -> dict[str, Any]:
    name, days = wanted.get("name"), wanted.get("retention_in_days", LIFETIME)
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
        raise wrong(f"name must have 1 to {LONGEST_NAME} characters")
    if type(days) is not int or not 1 <= days <= LIFETIME:
        raise wrong(f"retention_in_days must be between 1 and {LIFETIME}")
    if not isinstance(wanted.get("description", ""), str):
        raise wrong("description must be text")
    if wanted.get("ad_account_id", account) != account:
        raise wrong("ad_account_id does not match the path")
    return dict(wanted)


def _start(cursor: str | None) -> int:
    if cursor is None:
        return 0
    try:
        return int(base64.urlsafe_b64decode(cursor))
    except ValueError:
        raise wrong("The cursor cannot be read") from None


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S.000Z}"
