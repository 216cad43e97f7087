"""`/_control`: what tests and people read from the sandbox, and how they make it misbehave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from audience_sync.sandbox.faults import KINDS
from audience_sync.sandbox.world import Partner, World


class ControlError(Exception):
    """The request to `/_control` is wrong; the message says what would be right."""


class Control:
    """The endpoints below `/_control`."""

    def __init__(
        self, world: World, partners: dict[str, Partner], reset: Callable[[], None]
    ) -> None:
        self._world, self._partners, self._reset = world, partners, reset

    def state(self, _: Request, __: dict[str, Any]) -> Any:
        """Lists with names, descriptions and counts per partner, and the faults that wait."""
        return {
            "time": self._world.clock.iso(),
            "advanced_seconds": self._world.clock.advanced,
            "latency_milliseconds": self._world.latency * 1000,
            "faults": self._world.faults.waiting(),
            **{name: {"lists": partner.lists()} for name, partner in self._partners.items()},
        }

    def members(self, request: Request, _: dict[str, Any]) -> Any:
        """The identifiers that one list holds."""
        partner = self._partner(request.query_params.get("partner"))
        list_id = request.query_params.get("list", "")
        reading = request.query_params.get("reading", "identifiers")
        if reading not in ("identifiers", "people"):
            raise ControlError("reading is identifiers or people")
        found = partner.members(list_id, people=reading == "people")
        if found is None:
            raise ControlError("there is no such list; see /_control/state")
        counts = {kind: len(values) for kind, values in found.items()}
        return {"list": list_id, "reading": reading, "counts": counts, "identifiers": found}

    def journal(self, request: Request, _: dict[str, Any]) -> Any:
        """The requests so far, oldest first; `partner` and `operation` choose some."""
        wanted = {key: request.query_params.get(key) for key in ("partner", "operation")}
        return {
            "requests": [
                entry
                for entry in self._world.journal
                if all(value is None or entry[key] == value for key, value in wanted.items())
            ]
        }

    def show_faults(self, _: Request, __: dict[str, Any]) -> Any:
        """The faults that wait, and the kinds there are."""
        return {"faults": self._world.faults.waiting(), "kinds": KINDS}

    def add_fault(self, _: Request, wish: dict[str, Any]) -> Any:
        """Switch a fault on."""
        try:
            self._world.faults.add(wish)
        except (ValueError, TypeError) as wrong:
            raise ControlError(str(wrong)) from None
        return {"faults": self._world.faults.waiting()}

    def clear_faults(self, _: Request, __: dict[str, Any]) -> Any:
        """Switch all faults off."""
        self._world.faults.clear()
        return {"faults": []}

    def clock(self, _: Request, wish: dict[str, Any]) -> Any:
        """Move the partners' clock forward."""
        self._world.clock.advanced += _number(wish, "advance_seconds")
        return {"time": self._world.clock.iso()}

    def latency(self, _: Request, wish: dict[str, Any]) -> Any:
        """Make every answer wait."""
        self._world.latency = _number(wish, "milliseconds") / 1000
        return {"milliseconds": self._world.latency * 1000}

    def terms(self, _: Request, wish: dict[str, Any]) -> Any:
        """Accept or withdraw the terms of an account."""
        partner = self._partner(wish.get("partner"))
        accepted = bool(wish.get("accepted", True))
        partner.accept_terms(str(wish.get("account", "")), accepted=accepted)
        return {"accepted": accepted}

    def reset(self, _: Request, __: dict[str, Any]) -> Any:
        """Forget lists, journal, faults, latency and the clock's advance."""
        self._world.faults.clear()
        self._world.journal.clear()
        self._world.latency = self._world.clock.advanced = 0.0
        self._reset()
        return {"reset": True}

    def token(self, _: Request, wish: dict[str, Any]) -> Any:
        """Make a Meta token that ends after some seconds of the sandbox's clock."""
        meta: Any = self._partners["meta"]
        meta.issue(str(wish["token"]), _number(wish, "expires_in"))
        return {"token": wish["token"]}

    def flag(self, _: Request, wish: dict[str, Any]) -> Any:
        """Give a Meta audience a status that stays, e.g. 471; none takes it away."""
        meta: Any = self._partners["meta"]
        if not meta.flag(str(wish.get("list", "")), wish.get("status")):
            raise ControlError("there is no such list; see /_control/state")
        return {"status": wish.get("status")}

    def google_credentials(self, request: Request, _: dict[str, Any]) -> Any:
        """A service-account file, or with `?kind=refresh` a refresh token, for this sandbox."""
        google: Any = self._partners["google"]
        url = f"{request.url.scheme}://{request.url.netloc}"
        refresh = request.query_params.get("kind") == "refresh"
        return google.refresh_token(url) if refresh else google.service_account(url)

    def _partner(self, name: Any) -> Partner:
        if name not in self._partners:
            raise ControlError(f"partner is one of {', '.join(self._partners)}")
        return self._partners[name]


def control_routes(
    world: World, partners: dict[str, Partner], reset: Callable[[], None]
) -> list[Route]:
    """The routes below `/_control`."""
    control = Control(world, partners, reset)
    table = [
        ("GET", "state", control.state),
        ("GET", "members", control.members),
        ("GET", "journal", control.journal),
        ("GET", "faults", control.show_faults),
        ("POST", "faults", control.add_fault),
        ("DELETE", "faults", control.clear_faults),
        ("POST", "clock", control.clock),
        ("POST", "latency", control.latency),
        ("POST", "terms", control.terms),
        ("POST", "reset", control.reset),
        ("POST", "meta/tokens", control.token),
        ("POST", "meta/status", control.flag),
        ("GET", "google/credentials", control.google_credentials),
    ]
    return [Route(f"/_control/{path}", _endpoint(f), methods=[m]) for m, path, f in table]


def _endpoint(serve: Callable[[Request, dict[str, Any]], Any]) -> Any:
    async def endpoint(request: Request) -> Response:
        try:
            content, status = serve(request, _wish(await request.body())), 200
        except ControlError as wrong:
            content, status = {"error": str(wrong)}, 400
        return Response(orjson.dumps(content), status, media_type="application/json")

    return endpoint


def _wish(body: bytes) -> dict[str, Any]:
    try:
        wish = orjson.loads(body) if body else {}
    except orjson.JSONDecodeError:
        raise ControlError("the body must be JSON") from None
    if not isinstance(wish, dict):
        raise ControlError("the body must be a JSON object")
    return wish


def _number(wish: dict[str, Any], name: str) -> float:
    value = wish.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise ControlError(f"{name} must be a number that is not negative")
    return float(value)
