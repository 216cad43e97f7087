"""Access tokens: by query, form or bearer, with or without a proof, until they end."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Any

from audience_sync.sandbox.meta.errors import MetaError, expired, invalid
from audience_sync.sandbox.options import SandboxOptions
from audience_sync.sandbox.world import Call, Clock, Reply

PROOF_LIFE = 300  # seconds that a timestamped proof is good for
SIXTY_DAYS = 60 * 86_400  # seconds


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

    def exchange(self, params: dict[str, Any]) -> Reply:
        """A fresh token for a good one."""
        current = params.get("fb_exchange_token")
        if params.get("grant_type") != "fb_exchange_token" or not current:
            raise invalid("Missing parameter(s): grant_type, fb_exchange_token")
        if not params.get("client_id") or not params.get("client_secret"):
            raise MetaError(1, "Error validating application. Missing client_id or client_secret.")
        secret = self._options.meta_app_secret
        if secret is not None and params["client_secret"] != secret:
            raise MetaError(1, "Error validating client secret.")
        self.check_token(str(current))
        token = f"EAAB{secrets.token_hex(16)}"
        self.issue(token)
        return Reply(
            content={"access_token": token, "token_type": "bearer", "expires_in": SIXTY_DAYS}
        )

    def inspect(self, params: dict[str, Any], token: str) -> Reply:
        """What is known of a token."""
        wanted = str(params.get("input_token", token))
        try:
            self.check_token(wanted)
            valid = True
        except MetaError:
            valid = False
        found = {
            "app_id": "1",
            "type": "SYSTEM_USER",
            "is_valid": valid,
            "expires_at": self.expires_at(wanted),
            "scopes": ["ads_management", "ads_read", "business_management"],
        }
        return Reply(content={"data": found})


def _proof(message: str) -> MetaError:
    return MetaError(100, message, kind="GraphMethodException")
