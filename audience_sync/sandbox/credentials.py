"""Credentials for a running sandbox, for tests and the demo; worth nothing anywhere else."""

from __future__ import annotations

import http.client
from typing import Any
from urllib.parse import urlsplit

import orjson

PATIENCE = 10.0  # seconds


def demo_service_account(url: str) -> dict[str, Any]:
    """A Google service-account file for the sandbox at `url`, which made its key."""
    return _fetch(url, "/_control/google/credentials")


def demo_refresh_token(url: str) -> dict[str, Any]:
    """A Google user-credentials file (refresh token) for the sandbox at `url`."""
    return _fetch(url, "/_control/google/credentials?kind=refresh")


def _fetch(url: str, path: str) -> dict[str, Any]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        found: dict[str, Any] = orjson.loads(connection.getresponse().read())
    finally:
        connection.close()
    return found
