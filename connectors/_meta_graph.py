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
    AuthenticationError,
    ConfigurationError,
    PartnerClient,
    TemporaryPartnerError,
)
from connectors._meta_settings import MetaSettings
from connectors._meta_tokens import Tokens

REFUSED_TOKENS = frozenset(("102", "190"))  # Meta's codes for a token that is over or unknown


@dataclass(frozen=True, slots=True, repr=False)
class Graph:
    """The Graph API of a destination, through its client."""

    client: PartnerClient
    settings: MetaSettings
    tokens: Tokens

    def get(self, path: str, **params: str) -> dict[str, Any]:
        """Read an object or an edge."""
        return self._answered("GET", path, None, params, repeatable=True)

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
        return self._answered(method, path, body, params or {}, repeatable=repeatable)

    def delete(self, path: str, body: bytes) -> dict[str, Any]:
        """Send a body with DELETE, or with the POST that stands for it."""
        if self.settings.remove_with == "delete":
            return self.send("DELETE", path, body)
        return self.send("POST", path, body, {"method": "DELETE"})

    def _answered(
        self,
        method: str,
        path: str,
        body: bytes | None,
        params: Mapping[str, str],
        *,
        repeatable: bool,
    ) -> dict[str, Any]:
        """Ask with the newest token; once more where Meta refuses it and there is another.

        Not by `Connector.refresh`: the proof is of one token, so that both change together.
        """
        token = self.tokens.current(self.client)
        while True:
            try:
                answer = self.client.request(
                    method,
                    f"{self.settings.api_version}/{path}",
                    body=body,
                    params={**params, **self._proof(token)},
                    headers={"Authorization": f"Bearer {token}"},
                    repeatable=repeatable,
                )
            except AuthenticationError as error:
                newer = self.tokens.after(token, self.client) if _of_token(error) else None
                if newer is None:
                    raise
                token = newer
            else:
                return _object(answer)

    def _proof(self, token: str) -> dict[str, str]:
        """The proof that we know the app's secret; the timestamped one is good for five minutes."""
        if self.settings.app_secret is None:
            return {}
        message, stamp = token, {}
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


def _of_token(error: AuthenticationError) -> bool:
    return error.code is not None and error.code.partition("/")[0] in REFUSED_TOKENS


def _object(answer: Answer) -> dict[str, Any]:
    found = answer.json()
    if not isinstance(found, dict):
        raise TemporaryPartnerError("Meta's answer cannot be read; try again", answer.status)
    return found
