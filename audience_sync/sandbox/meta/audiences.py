"""Custom audiences: made, found, changed and read back."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

from audience_sync.sandbox.membership import MemberList
from audience_sync.sandbox.meta.errors import invalid, unknown_object
from audience_sync.sandbox.meta.rows import Accepted
from audience_sync.sandbox.world import World

FIRST_ID = 23851000000000000
MAXIMUM_LISTS = 500  # per ad account
MAXIMUM_RETENTION = 180  # days
SMALLEST_LIST = 100  # matched people
SOURCES = {"USER_PROVIDED_ONLY", "PARTNER_PROVIDED_ONLY", "BOTH_USER_AND_PARTNER_PROVIDED"}
NORMAL, NOTHING_UPLOADED, REPLACING, REPLACE_FAILED, POPULATING, FLAGGED = (
    200,
    410,
    414,
    415,
    441,
    471,
)
DESCRIPTIONS = {
    NORMAL: "Normal",
    NOTHING_UPLOADED: "No users were uploaded.",
    REPLACING: "The audience is being replaced.",
    REPLACE_FAILED: "The replacement failed.",
    POPULATING: "The audience is being populated.",
    FLAGGED: "The audience is flagged by policy.",
}
DEFINITION = ("name", "subtype", "description", "customer_file_source", "retention_days")


@dataclass(slots=True)
class Audience:
    """One custom audience."""

    id: str
    account: str
    definition: dict[str, Any]
    members: MemberList
    made: int
    changed: float | None = None
    trouble: int | None = None  # a status that stays until the next success
    replaced_by: int | None = None  # the session of a running replacement
    replacement: list[Accepted] = field(default_factory=list, repr=False)
    busy_until: float = 0.0  # when a replacement that takes its time is done

    @property
    def value_based(self) -> bool:
        """Whether every upload must carry a value."""
        return bool(self.definition.get("is_value_based"))


class Audiences:
    """Every audience of every ad account."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._by_id: dict[str, Audience] = {}
        self._last = FIRST_ID + world.options.seed - 1

    def __iter__(self) -> Any:
        return iter(self._by_id.values())

    def get(self, audience_id: str) -> Audience:
        """An audience, or Meta's refusal."""
        if audience_id not in self._by_id:
            raise unknown_object(audience_id)
        return self._by_id[audience_id]

    def find(self, audience_id: str) -> Audience | None:
        """An audience, or None."""
        return self._by_id.get(audience_id)

    def of(self, account: str) -> list[Audience]:
        """The audiences of one ad account, oldest first."""
        return [audience for audience in self._by_id.values() if audience.account == account]

    def create(self, account: str, params: dict[str, Any]) -> Audience:
        """A new audience, or the twin that `enable_fetch_or_create` asks for."""
        definition = _definition(params)
        mine = self.of(account)
        if _true(params.get("enable_fetch_or_create")):
            for audience in mine:
                if all(audience.definition.get(k) == definition.get(k) for k in DEFINITION):
                    return audience
        if len(mine) >= MAXIMUM_LISTS:
            raise invalid(f"The ad account has {MAXIMUM_LISTS} customer file audiences already.")
        self._last += 1
        audience = Audience(
            str(self._last),
            account,
            definition,
            MemberList(keep=not self._world.options.discard),
            int(self._world.clock.now()),
        )
        self._by_id[audience.id] = audience
        return audience

    def update(self, audience: Audience, params: dict[str, Any]) -> None:
        """Change the name, the description or the retention of an audience."""
        changes = {key: params[key] for key in (*DEFINITION, "opt_out_link") if key in params}
        if {"subtype", "customer_file_source"} & set(changes):
            raise invalid("The subtype and the source of an audience cannot be changed.")
        audience.definition = _definition(audience.definition | changes)

    def delete(self, audience: Audience) -> None:
        """Remove an audience with all it holds."""
        del self._by_id[audience.id]

    def status(self, audience: Audience) -> int:
        """The operation status of an audience."""
        if self.is_busy(audience):
            return REPLACING
        if audience.trouble is not None:
            return audience.trouble
        if audience.changed is None:
            return NOTHING_UPLOADED
        wait = self._world.options.meta_matching_seconds
        return POPULATING if self._world.clock.now() < audience.changed + wait else NORMAL

    def is_busy(self, audience: Audience) -> bool:
        """Whether a replacement is under way."""
        now = self._world.clock.now()
        return audience.replaced_by is not None or now < audience.busy_until

    def view(self, audience: Audience, fields: str | None) -> dict[str, Any]:
        """The fields of an audience that were asked for; the id always."""
        wanted = [name.strip() for name in (fields or "id").split(",") if name.strip()]
        known = self._fields(audience, wanted)
        strange = sorted(set(wanted) - set(known))
        if strange:
            raise invalid(f"Tried accessing nonexisting field ({strange[0]}) on node type")
        chosen = {name: known[name] for name in wanted if known[name] is not None}
        return {"id": audience.id} | chosen

    def page(self, account: str, params: dict[str, Any], url: str) -> dict[str, Any]:
        """One page of the audiences of an account, with cursors."""
        mine = self.of(account)
        limit = _number(params.get("limit", 25), "limit")
        start = _cursor(params.get("after"))
        shown = mine[start : start + limit]
        fields = params.get("fields")
        answer: dict[str, Any] = {"data": [self.view(audience, fields) for audience in shown]}
        if shown:
            end = _write_cursor(start + len(shown))
            answer["paging"] = {"cursors": {"before": _write_cursor(start), "after": end}}
            if start + len(shown) < len(mine):
                answer["paging"]["next"] = f"{url}?limit={limit}&after={end}" + (
                    f"&fields={fields}" if fields else ""
                )
        return answer

    def _fields(self, audience: Audience, wanted: list[str]) -> dict[str, Any]:
        status = self.status(audience)
        lower = upper = -1
        if status in (NORMAL, REPLACING, REPLACE_FAILED, FLAGGED) and any(
            name.startswith(("approximate", "delivery")) for name in wanted
        ):
            lower, upper = bounds(audience.members.people() * self._world.options.match_share)
        ready = lower >= SMALLEST_LIST
        changed = int(audience.changed or audience.made)
        return {
            **dict.fromkeys((*DEFINITION, "opt_out_link", "is_value_based")),
            **audience.definition,
            "id": audience.id,
            "account_id": audience.account,
            "approximate_count_lower_bound": lower,
            "approximate_count_upper_bound": upper,
            "operation_status": {"code": status, "description": DESCRIPTIONS[status]},
            "delivery_status": {
                "code": 200 if ready else 300,
                "description": "This audience is ready for use."
                if ready
                else "This audience is too small.",
            },
            "time_created": audience.made,
            "time_updated": changed,
            "time_content_updated": changed,
            "permission_for_actions": {"can_edit": True, "can_see_insight": "true"},
        }


def bounds(matched: float) -> tuple[int, int]:
    """A size as Meta shows it: two round numbers around the real one."""
    size = int(matched)
    step = max(10 ** (len(str(size)) - 2), 1)
    return size // step * step, -(-size // step) * step + step


def _definition(params: dict[str, Any]) -> dict[str, Any]:
    wanted = ("name", "subtype", "customer_file_source")
    missing = [name for name in wanted if not params.get(name)]
    if missing:
        raise invalid(f"Missing parameter(s): {', '.join(missing)}")
    if params["subtype"] != "CUSTOM":
        raise invalid("Param subtype must be CUSTOM for a customer file.")
    if params["customer_file_source"] not in SOURCES:
        raise invalid(f"Param customer_file_source must be one of {{{', '.join(sorted(SOURCES))}}}")
    found = {k: params[k] for k in (*DEFINITION, "opt_out_link", "is_value_based") if k in params}
    if found.get("retention_days") is not None:
        days = _number(found["retention_days"], "retention_days")
        if days > MAXIMUM_RETENTION:
            raise invalid(f"Param retention_days must be at most {MAXIMUM_RETENTION}.")
        found["retention_days"] = days
    if "is_value_based" in found:
        found["is_value_based"] = _true(found["is_value_based"])
    return found


def _true(value: Any) -> bool:
    return value in (True, 1, "1", "true")


def _number(value: Any, name: str) -> int:
    if isinstance(value, bool) or not str(value).isdigit() or int(value) < 1:
        raise invalid(f"Param {name} must be a positive integer.")
    return int(value)


def _write_cursor(position: int) -> str:
    return base64.urlsafe_b64encode(str(position).encode()).decode().rstrip("=")


def _cursor(text: Any) -> int:
    if not text:
        return 0
    try:
        return int(base64.urlsafe_b64decode(str(text) + "=" * (-len(str(text)) % 4)))
    except ValueError:
        raise invalid("Invalid cursors values") from None
