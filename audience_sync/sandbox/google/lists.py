"""User lists: made, found, changed and read back."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from audience_sync.sandbox.google import fields
from audience_sync.sandbox.google.errors import GoogleError, missing, wrong
from audience_sync.sandbox.membership import MemberList
from audience_sync.sandbox.world import World

FIRST_ID = 9876000000
DAY = 86_400  # seconds
LONGEST_MEMBERSHIP = 540 * DAY
SMALLEST_LIST = 100  # matched people
PAGE, LARGEST_PAGE = 50, 1000
INFO = {"CONTACT_ID": "contactIdInfo", "MOBILE_ID": "mobileIdInfo", "USER_ID": "userIdInfo"}
CHANGEABLE = (
    "displayName",
    "description",
    "integrationCode",
    "membershipStatus",
    "membershipDuration",
)
_TERM = re.compile(r'\s*([\w.]+)\s*(!=|>=|<=|=|>|<|:)\s*("(?:[^"\\]|\\.)*"|[^\s"]+)\s*')
_IN = re.compile(r"\s*IN\(\s*([\w.]+)\s*,(.*)\)\s*", re.IGNORECASE | re.DOTALL)


@dataclass(slots=True)
class UserList:
    """One user list; `account` is `GOOGLE_ADS/1234567890`."""

    id: str
    account: tuple[str, str]
    definition: dict[str, Any]
    members: MemberList

    @property
    def key_type(self) -> str:
        """The one kind of members that it takes."""
        return str(self.definition["ingestedUserListInfo"]["uploadKeyTypes"][0])


class UserLists:
    """The user lists of every account."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._by_id: dict[str, UserList] = {}
        self._last = FIRST_ID + world.options.seed - 1

    def __iter__(self) -> Any:
        return iter([self._current(one) for one in self._by_id.values()])

    def find(self, list_id: str) -> UserList | None:
        """A list without the members whose time is over, or None."""
        found = self._by_id.get(list_id)
        return None if found is None else self._current(found)

    def _current(self, found: UserList) -> UserList:
        seconds = int(str(found.definition["membershipDuration"]).removesuffix("s"))
        found.members.expire(self._world.clock.now() - seconds)
        return found

    def get(self, account: tuple[str, str], list_id: str) -> UserList:
        """A list of an account, or 404."""
        found = self.find(list_id)
        if found is None or found.account != account:
            raise GoogleError("NOT_FOUND", "Requested entity was not found.", "NOT_FOUND")
        return found

    def create(
        self, account: tuple[str, str], wanted: dict[str, Any], *, validate_only: bool
    ) -> dict[str, Any]:
        """A new list, or the refusal of it."""
        fields.check(wanted, fields.USER_LIST)
        definition = {key: wanted[key] for key in CHANGEABLE if key in wanted}
        definition["ingestedUserListInfo"] = _info(wanted)
        definition.setdefault("membershipStatus", "OPEN")
        definition.setdefault("membershipDuration", f"{LONGEST_MEMBERSHIP}s")
        self._check(account, definition, None)
        if validate_only:
            return {}
        self._last += 1
        made = UserList(
            str(self._last), account, definition, MemberList(keep=not self._world.options.discard)
        )
        self._by_id[made.id] = made
        return self.view(made)

    def update(
        self, found: UserList, wanted: dict[str, Any], mask: str, *, validate_only: bool
    ) -> dict[str, Any]:
        """Change the fields that the mask names."""
        fields.check(wanted, fields.USER_LIST)
        names = [_camel(name.strip()) for name in mask.split(",") if name.strip()] or [*wanted]
        for name in names:
            if name not in CHANGEABLE:
                raise wrong("INVALID_FIELD_MASK", "update_mask", "The mask names a fixed field.")
        definition = found.definition | {name: wanted.get(name, "") for name in names}
        self._check(found.account, definition, found.id)
        if not validate_only:
            found.definition = definition
        return self.view(found)

    def delete(self, found: UserList) -> None:
        """Remove a list with all it holds."""
        del self._by_id[found.id]

    def page(self, account: tuple[str, str], query: dict[str, str]) -> dict[str, Any]:
        """One page of the lists of an account that the filter lets through."""
        size = query.get("pageSize", str(PAGE))
        if not size.isdigit():
            raise wrong("INVALID_PAGE_SIZE", "page_size", "The page size is a number.")
        limit = min(int(size) or PAGE, LARGEST_PAGE)
        wanted = query.get("filter", "")
        start = _start(query.get("pageToken"), wanted)
        fits = _filter(wanted)
        mine = [one for one in self._by_id.values() if one.account == account and fits(one)]
        shown = mine[start : start + limit]
        answer: dict[str, Any] = {}
        if shown:
            answer["userLists"] = [self.view(one) for one in shown]
        if start + limit < len(mine):
            answer["nextPageToken"] = _page_token(start + limit, wanted)
        return answer

    def view(self, found: UserList) -> dict[str, Any]:
        """A list as Google shows it; sizes are there once it is large enough."""
        kind, number = found.account
        share = self._world.options.match_share
        matched = int(found.members.people() * share)
        shown: dict[str, Any] = {
            "name": f"accountTypes/{kind}/accounts/{number}/userLists/{found.id}",
            "id": found.id,
            "readOnly": False,
            **found.definition,
            "accessReason": "OWNED",
            "accountAccessStatus": "ENABLED",
        }
        if matched >= SMALLEST_LIST:
            shown["targetNetworkInfo"] = {"eligibleForSearch": True, "eligibleForDisplay": True}
            shown["sizeInfo"] = {
                "displayNetworkMembersCount": str(matched // 100 * 100),
                "searchNetworkMembersCount": str(matched // 100 * 100),
                "youtubeMembersCount": str(matched // 100 * 100),
                "gmailMembersCount": str(matched // 100 * 100),
            }
            if found.key_type == "CONTACT_ID":
                info = dict(found.definition["ingestedUserListInfo"])
                info["contactIdInfo"] = info["contactIdInfo"] | {
                    "matchRatePercentage": round(share * 100)
                }
                shown["ingestedUserListInfo"] = info
        return shown

    def _check(self, account: tuple[str, str], definition: dict[str, Any], own: str | None) -> None:
        name = definition.get("displayName", "")
        if not name.strip():
            raise missing("user_list.display_name")
        if definition["membershipStatus"] not in ("OPEN", "CLOSED"):
            raise wrong("INVALID_ENUM_VALUE", "user_list.membership_status", "OPEN or CLOSED.")
        _check_duration(definition["membershipDuration"])
        for other in self._by_id.values():
            if (
                other.account == account
                and other.id != own
                and (other.definition["displayName"] == name)
            ):
                raise GoogleError(
                    "ALREADY_EXISTS",
                    "The display name is used by another list.",
                    "DISPLAY_NAME_ALREADY_USED",
                )


def _info(wanted: dict[str, Any]) -> dict[str, Any]:
    info: dict[str, Any] = wanted.get("ingestedUserListInfo", {})
    types = info.get("uploadKeyTypes", [])
    where = "user_list.ingested_user_list_info"
    if len(types) != 1:
        raise wrong("REQUIRED_FIELD_MISSING", f"{where}.upload_key_types", "Exactly one is needed.")
    if types[0] not in INFO:
        text = "This kind of list is not supported."
        raise wrong("UNSUPPORTED_USER_LIST_UPLOAD_KEY_TYPES", f"{where}.upload_key_types", text)
    name = INFO[types[0]]
    if name not in info or set(info) != {"uploadKeyTypes", name}:
        raise missing(f"{where}.{fields.snake(name)}")
    if info[name].get("dataSourceType") != "DATA_SOURCE_TYPE_FIRST_PARTY":
        path = f"{where}.{fields.snake(name)}.data_source_type"
        raise wrong("INVALID_ENUM_VALUE", path, "Only first-party lists are simulated.")
    if types[0] == "MOBILE_ID" and not (
        info[name].get("keySpace") in ("IOS", "ANDROID") and info[name].get("appId")
    ):
        raise missing(f"{where}.mobile_id_info.app_id")
    return info


def _check_duration(duration: str) -> None:
    where = "user_list.membership_duration"
    seconds = duration.removesuffix("s")
    if not duration.endswith("s") or not seconds.isdigit() or int(seconds) % DAY:
        raise wrong("INVALID_ARGUMENT", where, "The duration is whole days, in seconds.")
    if int(seconds) > LONGEST_MEMBERSHIP:
        raise wrong("MEMBERSHIP_DURATION_TOO_LONG", where, "At most 540 days.")


def _filter(text: str) -> Callable[[UserList], bool]:
    tests = [_test(term) for term in re.split(r"\s+AND\s+", text)] if text.strip() else []
    return lambda one: all(test(one) for test in tests)


def _test(term: str) -> Callable[[UserList], bool]:
    among = _IN.fullmatch(term)
    if among:
        name, wanted = among.group(1), [_plain(v) for v in among.group(2).split(",")]
        return lambda one: _value(one, name) in wanted
    found = _TERM.fullmatch(term)
    if found is None:
        raise wrong("INVALID_FILTER", "filter", "The filter cannot be read.")
    name, sign, value = found.group(1), found.group(2), _plain(found.group(3))
    compare: dict[str, Callable[[str], bool]] = {
        "=": lambda held: held == value,
        "!=": lambda held: held != value,
        ":": lambda held: value in held,
        ">": lambda held: held > value,
        "<": lambda held: held < value,
        ">=": lambda held: held >= value,
        "<=": lambda held: held <= value,
    }
    return lambda one: compare[sign](_value(one, name))


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text.strip().strip('"'))


def _value(one: UserList, name: str) -> str:
    known = {
        "id": one.id,
        "displayName": one.definition["displayName"],
        "description": one.definition.get("description", ""),
        "membershipStatus": one.definition["membershipStatus"],
        "integrationCode": one.definition.get("integrationCode", ""),
        "accessReason": "OWNED",
        "ingestedUserListInfo.uploadKeyTypes": one.key_type,
    }
    if _camel(name) not in known:
        raise wrong("INVALID_FILTER", "filter", "The filter names an unknown field.")
    return str(known[_camel(name)])


def _camel(name: str) -> str:
    return re.sub("_([a-z])", lambda found: found.group(1).upper(), name)


def _page_token(start: int, wanted: str) -> str:
    return base64.urlsafe_b64encode(f"{start}|{wanted}".encode()).decode()


def _start(token: str | None, wanted: str) -> int:
    if not token:
        return 0
    try:
        start, _, before = base64.urlsafe_b64decode(token).decode().partition("|")
    except ValueError:
        start, before = "", ""
    if not start.isdigit() or before != wanted:
        raise wrong("INVALID_PAGE_TOKEN", "page_token", "The page token does not fit the request.")
    return int(start)
