"""Pinterest's token endpoint: each renewal replaces the refresh token."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from urllib.parse import parse_qsl

from audience_sync.sandbox.options import PINTEREST_CREDENTIALS
from audience_sync.sandbox.pinterest.errors import PinterestError, invalid, unauthorized
from audience_sync.sandbox.world import Call, Reply, World

ACCESS_LIFE = 2_592_000  # seconds, thirty days
REFRESH_LIFE = 5_184_000  # seconds, sixty days
SCOPES = {"ads:read", "ads:write"}

_KEY = b"the simulated Pinterest's own key"


class PinterestTokens:
    """Who may call, and the one refresh token that is good.

    A sandbox that was started anew takes any refresh token that an earlier one gave, since it
    remembers none; from then on each is good once.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._access: dict[str, float] = {}
        self._good: dict[str, float] = {}  # refresh tokens and their ends
        self._begun = False

    def check(self, call: Call) -> None:
        """Refuse a call without a good bearer token."""
        scheme, _, token = call.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or token not in self._access:
            raise unauthorized()
        if self._world.clock.now() >= self._access[token]:
            raise unauthorized(expired=True)

    def renew(self, call: Call) -> Reply:
        """A new pair of tokens for a refresh token, or the refusal."""
        self._check_app(call)
        form = dict(parse_qsl(call.body.decode("utf-8", "replace")))
        if form.get("grant_type") != "refresh_token":
            raise invalid("grant_type must be refresh_token here.")
        if not set(form.get("scope", "").split(",")) >= SCOPES:
            raise invalid("scope must hold ads:read and ads:write.")
        now = self._world.clock.now()
        token = form.get("refresh_token", "")
        if not self._takes(token, now):
            raise PinterestError(400, 283, "Your refresh token is invalid, expired or was used.")
        self._begun = True
        grace = self._world.options.pinterest_previous_token_seconds
        self._good = {token: now + grace} if grace else {}
        return self._issue(now)

    def _takes(self, token: str, now: float) -> bool:
        if self._begun:
            return now < self._good.get(token, 0.0)
        return token == PINTEREST_CREDENTIALS["refresh_token"] or _ours(token)

    def _issue(self, now: float) -> Reply:
        refresh, access = _signed(secrets.token_hex(12)), f"pina.{secrets.token_hex(16)}"
        self._good[refresh] = now + REFRESH_LIFE
        self._access[access] = now + ACCESS_LIFE
        return Reply(
            content={
                "access_token": access,
                "token_type": "bearer",
                "expires_in": ACCESS_LIFE,
                "scope": "ads:read,ads:write",
                "refresh_token": refresh,
                "refresh_token_expires_in": REFRESH_LIFE,
                "refresh_token_expires_at": int(now + REFRESH_LIFE),
            }
        )

    @staticmethod
    def _check_app(call: Call) -> None:
        scheme, _, pair = call.headers.get("authorization", "").partition(" ")
        try:
            given = base64.b64decode(pair, validate=True).decode()
        except (ValueError, binascii.Error):
            given = ""
        wanted = "{app_id}:{app_secret}".format(**PINTEREST_CREDENTIALS)
        if scheme != "Basic" or not hmac.compare_digest(given.encode(), wanted.encode()):
            raise unauthorized()


def _signed(word: str) -> str:
    proof = hmac.new(_KEY, word.encode(), hashlib.sha256).hexdigest()[:24]
    return f"pinr.{word}.{proof}"


def _ours(token: str) -> bool:
    word = token.removeprefix("pinr.").partition(".")[0]
    return hmac.compare_digest(token.encode(), _signed(word).encode())
