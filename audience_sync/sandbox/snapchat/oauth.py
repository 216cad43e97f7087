"""Snapchat's token endpoint: a code once, a refresh token ever after."""

from __future__ import annotations

import secrets
from urllib.parse import parse_qsl

from audience_sync.sandbox.options import SNAPCHAT_TOKEN
from audience_sync.sandbox.world import Call, Clock, Reply

TOKEN_LIFE = 1_800  # seconds
CLIENT_ID = "sandbox-client"
CLIENT_SECRET = "sandbox-secret"  # noqa: S105 - the documented secret of a simulated partner
REFRESH_TOKEN = "sandbox-refresh-token"  # noqa: S105 - the same
CODE = "sandbox-code"


class OAuth:
    """Which access tokens are good, and until when."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tokens: dict[str, float] = {}

    def token(self, call: Call) -> Reply:
        """An access token for a good grant."""
        if not call.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            return refusal("invalid_request")
        form = dict(parse_qsl(call.body.decode("utf-8", "replace")))
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
            return refusal("invalid_client", 401)
        grant = form.get("grant_type")
        if grant not in ("refresh_token", "authorization_code"):
            return refusal("unsupported_grant_type")
        if grant == "authorization_code" and not form.get("redirect_uri"):
            return refusal("invalid_request")
        given = form.get("refresh_token") if grant == "refresh_token" else form.get("code")
        if given != (REFRESH_TOKEN if grant == "refresh_token" else CODE):
            return refusal("invalid_grant")
        token = f"snap-{secrets.token_urlsafe(24)}"
        self._tokens[token] = self._clock.now() + TOKEN_LIFE
        return Reply(
            content={
                "access_token": token,
                "token_type": "Bearer",
                "expires_in": TOKEN_LIFE,
                "refresh_token": REFRESH_TOKEN,
                "scope": "snapchat-marketing-api",
            }
        )

    def takes(self, call: Call) -> bool:
        """Whether the request's token is good."""
        scheme, _, token = call.headers.get("authorization", "").partition(" ")
        end = self._tokens.get(token, float("inf") if token == SNAPCHAT_TOKEN else 0.0)
        return scheme == "Bearer" and self._clock.now() < end


def refusal(error: str, status: int = 400) -> Reply:
    """What the token endpoint says no with."""
    return Reply(status=status, content={"error": error}, outcome=error)
