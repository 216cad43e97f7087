"""How a Graph request is read: query, form and JSON are one; the token may come by any of them."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from email.parser import BytesParser
from typing import Any
from urllib.parse import parse_qsl

import orjson

from audience_sync.sandbox.meta.errors import MetaError, expired, invalid
from audience_sync.sandbox.options import SandboxOptions
from audience_sync.sandbox.world import Call, Clock

PROOF_LIFE = 300  # seconds that a timestamped proof is good for
SIXTY_DAYS = 60 * 86_400  # seconds


def read(call: Call) -> dict[str, Any]:
    """All parameters of a request; the body wins over the query."""
    if "params" not in call.memory:
        call.memory["params"] = _read(call)
    found: dict[str, Any] = call.memory["params"]
    return found


def _read(call: Call) -> dict[str, Any]:
    params: dict[str, Any] = dict(call.query)
    if not call.body:
        return params
    content_type = call.headers.get("content-type", "")
    if content_type.startswith("application/json"):
        params.update(_object(call.body))
    elif content_type.startswith("multipart/form-data"):
        params.update(_multipart(content_type, call.body))
    else:
        params.update(parse_qsl(call.body.decode("utf-8", "replace"), keep_blank_values=True))
    return params


def member(params: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """A parameter that is an object, given as such or as JSON text; None when it is absent."""
    value = params.get(name)
    if value is None:
        return None
    if isinstance(value, str):
        value = _loads(value.encode(), name)
    if not isinstance(value, dict):
        raise invalid(f"Param {name} must be a JSON object.")
    return value


def _object(body: bytes) -> dict[str, Any]:
    value = _loads(body, "body")
    if not isinstance(value, dict):
        raise invalid("The request body must be a JSON object.")
    return value


def _loads(text: bytes, name: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise invalid(f"Param {name} is not valid JSON.") from None


def _multipart(content_type: str, body: bytes) -> dict[str, str]:
    message = BytesParser().parsebytes(
        b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body
    )
    found: dict[str, str] = {}
    for part in message.walk():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes):
            found[name] = content.decode("utf-8", "replace")
    return found


class Tokens:
    """Which access tokens are good, and until when.

    Any token is, unless the options name the good ones; a token that begins with "invalid" or
    "expired" never is, so that both refusals can be tried.
    """

    def __init__(self, options: SandboxOptions, clock: Clock) -> None:
        self._options, self._clock = options, clock
        self._expires: dict[str, float] = {}

    def issue(self, token: str, seconds: float = SIXTY_DAYS) -> None:
        """Make a token good for some time."""
        self._expires[token] = self._clock.now() + seconds

    def expires_at(self, token: str) -> int:
        """When a token ends; 0 for never."""
        return int(self._expires.get(token, 0))

    def check(self, call: Call, params: Mapping[str, Any]) -> str:
        """The token of a request, or the refusal of it."""
        token = self.read(call, params)
        self.check_token(token)
        if self._options.meta_app_secret is not None:
            self._check_proof(token, params, self._options.meta_app_secret)
        return token

    @staticmethod
    def read(call: Call, params: Mapping[str, Any]) -> str:
        """The token of a request, good or not."""
        token = params.get("access_token")
        scheme, _, credential = call.headers.get("authorization", "").partition(" ")
        if token is None and scheme.lower() in ("bearer", "oauth"):
            token = credential
        if not token or not isinstance(token, str):
            raise MetaError(104, "An access token is required to request this resource.")
        return token

    def check_token(self, token: str) -> None:
        """Refuse a token that is unknown or over."""
        end = self._expires.get(token)
        if token.startswith("expired") or (end is not None and self._clock.now() >= end):
            raise expired()
        known = self._options.meta_tokens
        if token.startswith("invalid") or (known and end is None and token not in known):
            raise MetaError(190, "Invalid OAuth access token - Cannot parse access token.")

    def _check_proof(self, token: str, params: Mapping[str, Any], secret: str) -> None:
        proof, moment = params.get("appsecret_proof"), params.get("appsecret_time")
        if not proof:
            raise _proof("API calls from the server require an appsecret_proof argument")
        message = token if moment is None else f"{token}|{moment}"
        wanted = hmac.new(secret.encode(), message.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(str(proof).encode(), wanted.encode()):
            raise _proof("Invalid appsecret_proof provided in the API argument")
        if moment is None:
            return
        if not str(moment).isdigit() or abs(self._clock.now() - int(moment)) > PROOF_LIFE:
            raise _proof("Invalid appsecret_proof provided in the API argument")


def _proof(message: str) -> MetaError:
    return MetaError(100, message, kind="GraphMethodException")
