"""Custom audiences: made from files or for streaming, changed, listed, and read back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import orjson

from audience_sync.sandbox.faults import Fault
from audience_sync.sandbox.membership import Column, MemberList
from audience_sync.sandbox.tiktok.errors import FILE_KIND, UNKNOWN, TikTokError, only, wrong
from audience_sync.sandbox.tiktok.files import KINDS, File, Files
from audience_sync.sandbox.world import World

FIRST_ID = 7_100_000_000_000_000_000
MAXIMUM_AUDIENCES = 400  # per advertiser
MAXIMUM_FILES = 500  # per audience
LONGEST_NAME = 128  # characters
LARGEST_PAGE = 100
SMALLEST_AUDIENCE = 1_000  # matched people, to be used
SMALLEST_LIST = 1_000  # people, under which no list from files may fall
STREAMING = "MULTIPLE_TYPES"
DAY = 86_400.0  # seconds


@dataclass(slots=True)
class Audience:
    """One custom audience; `kind` is its calculate_type."""

    id: str
    advertiser: str
    name: str
    kind: str
    members: MemberList
    made: float
    ends: float
    changed: float
    files: int = 0
    trouble: str | None = None

    @property
    def streaming(self) -> bool:
        """Whether it takes people by the segment endpoints, and not from files."""
        return self.kind == STREAMING


class Audiences:
    """The audiences of every advertiser."""

    def __init__(self, world: World, files: Files) -> None:
        self._world, self._files = world, files
        self._by_id: dict[str, Audience] = {}
        self._last = FIRST_ID + world.options.seed - 1

    def __iter__(self) -> Iterator[Audience]:
        return iter(self._by_id.values())

    def find(self, number: str) -> Audience | None:
        """An audience, or None."""
        return self._by_id.get(number)

    def get(self, number: object, advertiser: str) -> Audience:
        """An audience of this advertiser, or the refusal of it."""
        found = self._by_id.get(number) if isinstance(number, str) else None
        if found is None or found.advertiser != advertiser:
            raise TikTokError(UNKNOWN, "The custom audience does not exist.")
        return found

    def make(self, advertiser: str, name: Any, kind: str, days: Any = None) -> Audience:
        """A new audience that holds nobody."""
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
            raise wrong(f"custom_audience_name: 1 to {LONGEST_NAME} characters.")
        if days is not None and (type(days) is not int or not 1 <= days <= 365):  # noqa: PLR2004 - TikTok's own limit
            raise wrong("retention_in_days: 1 to 365.")
        if sum(one.advertiser == advertiser for one in self) >= MAXIMUM_AUDIENCES:
            raise wrong(f"The advertiser has {MAXIMUM_AUDIENCES} custom audiences already.")
        self._last += 1
        now = self._world.clock.now()
        members = MemberList(keep=not self._world.options.discard)
        made = Audience(
            str(self._last), advertiser, name, kind, members, now, now + (days or 365) * DAY, now
        )
        self._by_id[made.id] = made
        return made

    def create(self, advertiser: str, wanted: dict[str, Any]) -> Audience:
        """An audience from files."""
        only(wanted, *_CREATE)
        kind = wanted.get("calculate_type")
        if kind not in KINDS:
            raise TikTokError(FILE_KIND, "calculate_type is not one of the known types.")
        if wanted.get("audience_sub_type", "NORMAL") not in ("NORMAL", "REACH_FREQUENCY"):
            raise wrong("audience_sub_type: NORMAL or REACH_FREQUENCY.")
        found = self._read(advertiser, wanted, str(kind))
        name, days = wanted.get("custom_audience_name"), wanted.get("retention_in_days")
        made = self.make(advertiser, name, str(kind), days)
        self._append(made, found)
        return made

    def update(
        self, advertiser: str, wanted: dict[str, Any], fault: Fault | None
    ) -> tuple[Audience, int]:
        """Append, remove or replace by files, or rename; the audience and how many lines."""
        only(wanted, *_UPDATE)
        audience = self.get(wanted.get("custom_audience_id"), advertiser)
        name, action = wanted.get("custom_audience_name"), wanted.get("action", "REPLACE")
        if name is None and "file_paths" not in wanted:
            raise wrong("One of custom_audience_name and file_paths is needed.")
        if action not in ("APPEND", "REMOVE", "REPLACE"):
            raise wrong("action: APPEND, REMOVE or REPLACE.")
        if audience.streaming:
            raise wrong("This audience is not made from files.")
        found = self._read(advertiser, wanted, audience.kind) if "file_paths" in wanted else []
        if found:
            self._apply(audience, str(action), [_let_through(file, fault) for file in found])
        audience.name = str(name or audience.name)
        return audience, sum(len(file.lines) for file in found)

    def delete(self, advertiser: str, numbers: Any) -> None:
        """Remove audiences with all they hold."""
        if not isinstance(numbers, list) or not 1 <= len(numbers) <= LARGEST_PAGE:
            raise wrong("custom_audience_ids: 1 to 100 ids.")
        for audience in [self.get(number, advertiser) for number in numbers]:
            self._by_id.pop(audience.id, None)

    def page(self, advertiser: str, query: dict[str, str]) -> dict[str, Any]:
        """One page of the audiences of an advertiser."""
        page, size = query.get("page", "1"), query.get("page_size", "10")
        if not (page.isdigit() and size.isdigit() and int(page) and 1 <= int(size) <= LARGEST_PAGE):
            raise wrong("page_size: 1 to 100.")
        mine = [self.view(one) for one in self if one.advertiser == advertiser]
        start = (int(page) - 1) * int(size)
        info = {
            "page": int(page),
            "page_size": int(size),
            "total_number": len(mine),
            "total_page": -(-len(mine) // int(size)),
        }
        return {"list": mine[start : start + int(size)], "page_info": info}

    def details(self, advertiser: str, query: dict[str, str]) -> dict[str, Any]:
        """What is known of some audiences."""
        try:
            numbers = orjson.loads(query.get("custom_audience_ids", ""))
        except orjson.JSONDecodeError:
            numbers = None
        if not isinstance(numbers, list) or not 1 <= len(numbers) <= LARGEST_PAGE:
            raise wrong("custom_audience_ids: a JSON array of 1 to 100 ids.")
        return {
            "list": [
                {"audience_history": [], "audience_details": self.view(one, detailed=True)}
                for one in (self.get(number, advertiser) for number in numbers)
            ]
        }

    def view(self, audience: Audience, *, detailed: bool = False) -> dict[str, Any]:
        """An audience as TikTok shows it; its size is known some time after a change."""
        options, now = self._world.options, self._world.clock.now()
        ready = now >= audience.changed + options.tiktok_matching_seconds
        size = int(audience.members.people() * options.match_share) if ready else 0
        shown = {
            "audience_id": audience.id,
            "name": audience.name,
            "cover_num": size,
            "is_valid": size >= SMALLEST_AUDIENCE and audience.trouble is None,
            "is_expiring": audience.ends - now < 7 * DAY,
            "shared": False,
            "calculate_type": audience.kind,
            "create_time": _moment(audience.made),
            "expired_time": _moment(audience.ends),
        }
        if not detailed:
            return shown | {"audience_type": "Partner" if audience.streaming else "Customer File"}
        return shown | {
            "type": "Partner" if audience.streaming else "Customer File",
            "audience_sub_type": "NORMAL",
            "is_creator": True,
            "is_auto_refresh": False,
            "msg": None,
            "error_msg": audience.trouble,
            "rule": None,
        }

    def _read(self, advertiser: str, wanted: dict[str, Any], kind: str) -> list[File]:
        paths = wanted.get("file_paths")
        if not isinstance(paths, list) or not paths:
            raise wrong("file_paths: A list of files is needed.")
        found = [self._files.get(path, advertiser) for path in paths]
        if any(file.kind != kind for file in found):
            raise TikTokError(FILE_KIND, "The files are not of the calculate_type of the audience.")
        return found

    def _apply(self, audience: Audience, action: str, found: list[File]) -> None:
        if action != "APPEND" and self._world.options.tiktok_strict_minimum:
            _keep_minimum(audience, action, found)
        if action == "REMOVE":
            for file in found:
                audience.members.remove(_columns(file), len(file.lines))
        else:
            if action == "REPLACE":
                audience.members.remove_added_before(self._world.clock.now() + 1)
                audience.files = 0
            self._append(audience, found)
        audience.changed = self._world.clock.now()

    def _append(self, audience: Audience, found: list[File]) -> None:
        if audience.files + len(found) > MAXIMUM_FILES:
            raise wrong(f"An audience takes {MAXIMUM_FILES} files.")
        audience.files += len(found)
        for file in found:
            audience.members.add(_columns(file), len(file.lines), self._world.clock.now())


_CREATE = (
    "advertiser_id",
    "custom_audience_name",
    "file_paths",
    "calculate_type",
    "audience_sub_type",
    "retention_in_days",
    "audience_enhancement",
)
_UPDATE = (
    "advertiser_id",
    "custom_audience_id",
    "custom_audience_name",
    "action",
    "file_paths",
    "audience_sub_type",
)


def _keep_minimum(audience: Audience, action: str, found: list[File]) -> None:
    named = {line for file in found for line in file.lines}
    held = set(audience.members.identifiers().get(KINDS[audience.kind], ()))
    left = named if action == "REPLACE" else held - named
    if len(left) < SMALLEST_LIST:
        raise wrong(f"The audience would fall below {SMALLEST_LIST}.")


def _let_through(file: File, fault: Fault | None) -> File:
    """The file without the lines that a fault leaves out."""
    if fault is None:
        return file
    bad = set(fault.values) | {file.lines[at] for at in fault.rejected(len(file.lines))}
    return replace(file, lines=[line for line in file.lines if line not in bad])


def _columns(file: File) -> dict[str, Column]:
    return {KINDS[file.kind]: Column(file.lines, range(len(file.lines)))}


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"
