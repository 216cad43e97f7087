"""Requests to Meta's Graph API: versioned paths, proofs, and answers that are objects."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from audience_sync.connector import (
    Answer,
    ConfigurationError,
    PartnerClient,
    TemporaryPartnerError,
)
from connectors._meta_settings import MetaSettings


@dataclass(frozen=True, slots=True, repr=False)
class Graph:
    """The Graph API of a destination, through its client."""

    client: PartnerClient
    settings: MetaSettings

    def get(self, path: str, **params: str) -> dict[str, Any]:
        """Read an object or an edge."""
        url = f"{self.settings.api_version}/{path}"
        return _object(self.client.request("GET", url, params=params | self._proof()))

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        params: Mapping[str, str] | None = None,
        *,
        repeatable: bool = True,
    ) -> dict[str, Any]:
        """Change an object or an edge; what is sent stands in the body, whatever the method."""
        url = f"{self.settings.api_version}/{path}"
        proof = self._proof() | dict(params or {})
        return _object(
            self.client.request(method, url, body=body, params=proof, repeatable=repeatable)
        )

    def delete(self, path: str, body: bytes) -> dict[str, Any]:
        """Send a body with DELETE, or with the POST that stands for it."""
        if self.settings.remove_with == "delete":
            return self.send("DELETE", path, body)
        return self.send("POST", path, body, {"method": "DELETE"})

    def _proof(self) -> dict[str, str]:
        """The proof that we know the app's secret; the timestamped one is good for five minutes."""
        if self.settings.app_secret is None:
            return {}
        message, stamp = self.settings.access_token.get_secret_value(), {}
        if self.settings.timestamped_proof:
            now = str(int(time.time()))
            message, stamp = f"{message}|{now}", {"appsecret_time": now}
        key = self.settings.app_secret.get_secret_value().encode()
        proof = hmac.new(key, message.encode(), hashlib.sha256).hexdigest()
        return {"appsecret_proof": proof, **stamp}


def numeric(remote_id: str) -> str:
    """A remote id, which is digits at Meta."""
    if not (remote_id.isascii() and remote_id.isdigit()):
        raise ConfigurationError("an audience at Meta is named by digits; check remote_id")
    return remote_id


def _object(answer: Answer) -> dict[str, Any]:
    found = answer.json()
    if not isinstance(found, dict):
        raise TemporaryPartnerError("Meta's answer cannot be read; try again", answer.status)
    return found
