"""Google's token endpoint: refresh tokens, and assertions signed by a service account."""

from __future__ import annotations

import base64
import binascii
import secrets
import time
from typing import Any
from urllib.parse import parse_qsl

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from audience_sync.sandbox.google.errors import denied, unauthenticated
from audience_sync.sandbox.options import GOOGLE_TOKEN
from audience_sync.sandbox.world import Call, Clock, Reply

SCOPE = "https://www.googleapis.com/auth/datamanager"
TOKEN_LIFE = 3599  # seconds
ASSERTION_LIFE = 3600  # seconds; Google takes no longer one
LEEWAY = 300  # seconds of difference between two clocks
CLIENT_ID = "sandbox-client"
CLIENT_SECRET = "sandbox-secret"  # noqa: S105 - the documented secret of a simulated partner
REFRESH_TOKEN = "sandbox-refresh-token"  # noqa: S105 - the same
SERVICE_ACCOUNT = "audience-sync@sandbox.iam.gserviceaccount.com"
REAL_AUDIENCE = "https://oauth2.googleapis.com/token"
_JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class OAuth:
    """Who may call: tokens that were issued here and are not over, and one for people's tries."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tokens: dict[str, tuple[float, str]] = {GOOGLE_TOKEN: (float("inf"), SCOPE)}
        self._key: rsa.RSAPrivateKey | None = None

    def check(self, call: Call) -> None:
        """Refuse a call without a good bearer token of the right scope."""
        scheme, _, token = call.headers.get("authorization", "").partition(" ")
        end, scope = self._tokens.get(token, (0.0, ""))
        if scheme.lower() != "bearer" or self._clock.now() >= end:
            raise unauthenticated()
        if SCOPE not in scope.split():
            raise denied("ACCESS_TOKEN_SCOPE_INSUFFICIENT")

    def token(self, call: Call) -> Reply:
        """An access token for a grant, or OAuth's refusal."""
        form = dict(parse_qsl(call.body.decode("utf-8", "replace")))
        grant = form.get("grant_type")
        if grant == "refresh_token":
            return self._refresh(form)
        if grant == _JWT_GRANT:
            return self._assert(form.get("assertion", ""), call)
        return _refusal("unsupported_grant_type", f"Invalid grant_type: {grant}")

    def service_account(self, url: str) -> dict[str, Any]:
        """The contents of a service-account file whose key this sandbox knows."""
        private = self._signing_key().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return {
            "type": "service_account",
            "project_id": "sandbox",
            "private_key_id": "sandbox-key",
            "private_key": private.decode(),
            "client_email": SERVICE_ACCOUNT,
            "client_id": "1",
            "token_uri": f"{url}/google/token",
        }

    @staticmethod
    def refresh_token(url: str) -> dict[str, Any]:
        """The contents of a user-credentials file that this sandbox takes."""
        return {
            "type": "authorized_user",
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "refresh_token": REFRESH_TOKEN,
            "token_uri": f"{url}/google/token",
        }

    def _refresh(self, form: dict[str, str]) -> Reply:
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
            return _refusal("invalid_client", "The OAuth client was not found.", 401)
        if form.get("refresh_token") != REFRESH_TOKEN:
            return _refusal("invalid_grant", "Token has been expired or revoked.")
        return self._issue(SCOPE)

    def _assert(self, assertion: str, call: Call) -> Reply:
        claims = self._verify(assertion)
        if claims is None:
            return _refusal("invalid_grant", "Invalid JWT Signature.")
        trouble = _claims_trouble(claims, f"{call.base}/token")
        if trouble is not None:
            return _refusal("invalid_grant", trouble)
        if not claims.get("scope"):
            return _refusal("invalid_scope", "Empty or missing scope not allowed.")
        return self._issue(str(claims["scope"]))

    def _verify(self, assertion: str) -> dict[str, Any] | None:
        signed, _, signature = assertion.rpartition(".")
        try:
            header, claims = (orjson.loads(_decode(part)) for part in signed.split("."))
            if header.get("alg") != "RS256":
                return None
            self._signing_key().public_key().verify(
                _decode(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256()
            )
        except (ValueError, binascii.Error, AttributeError, InvalidSignature):
            return None
        return claims if isinstance(claims, dict) else None

    def _issue(self, scope: str) -> Reply:
        token = f"ya29.sandbox-{secrets.token_urlsafe(24)}"
        self._tokens[token] = (self._clock.now() + TOKEN_LIFE, scope)
        return Reply(
            content={
                "access_token": token,
                "expires_in": TOKEN_LIFE,
                "scope": scope,
                "token_type": "Bearer",
            }
        )

    def _signing_key(self) -> rsa.RSAPrivateKey:
        if self._key is None:
            self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        return self._key


def _claims_trouble(claims: dict[str, Any], endpoint: str) -> str | None:
    if claims.get("iss") != SERVICE_ACCOUNT:
        return "Invalid grant: account not found"
    if claims.get("aud") not in (endpoint, REAL_AUDIENCE):
        return "Invalid JWT: Failed audience check."
    made, end = claims.get("iat"), claims.get("exp")
    if not isinstance(made, int) or not isinstance(end, int):
        return "Invalid JWT: iat and exp are needed."
    now = time.time()  # the signer's clock is the real one
    if end > made + ASSERTION_LIFE or made > now + LEEWAY or end < now - LEEWAY:
        return "Invalid JWT: Token must be a short-lived token."
    return None


def _decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _refusal(error: str, description: str, status: int = 400) -> Reply:
    return Reply(
        status=status,
        content={"error": error, "error_description": description},
        outcome=error,
    )
