"""How a Graph request is read: query, form and JSON are one."""

from __future__ import annotations

from collections.abc import Mapping
from email.parser import BytesParser
from typing import Any
from urllib.parse import parse_qsl

import orjson

from audience_sync.sandbox.meta.errors import invalid
from audience_sync.sandbox.world import Call


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
