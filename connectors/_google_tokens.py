"""Access tokens for Google, made by google-auth and fetched through the partner client."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

import google.auth.exceptions
import google.oauth2.credentials
import google.oauth2.service_account
import orjson

from audience_sync.connector import (
    AudienceSyncError,
    AuthenticationError,
    ConfigurationError,
    PartnerClient,
    SecretStr,
)

SCOPE = "https://www.googleapis.com/auth/datamanager"
TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address, not a secret


class Tokens:
    """The access token, fetched through the partner client; a copy of this starts without one."""

    def __init__(self, credentials: SecretStr, token_url: str | None) -> None:
        self._secret, self._token_url = credentials, token_url
        self._lock = threading.Lock()
        self._credentials: Any = None

    @property
    def project(self) -> str:
        """The Cloud project that the credentials belong to, as far as they tell."""
        try:
            found = orjson.loads(self._secret.get_secret_value())
            client = str(found.get("client_id", "")).partition("-")[0]
            return str(found.get("project_id") or client)
        except (ValueError, AttributeError):
            return ""

    def current(self, client: PartnerClient) -> str:
        """A token that is good for some minutes yet."""
        refusal: AudienceSyncError
        with self._lock:
            try:
                if self._credentials is None:
                    self._credentials = _credentials(self._secret, self._token_url)
                if not self._credentials.valid:
                    # Not `before_request`: it would also look up things that we do not need.
                    self._credentials.refresh(_Transport(client))
                return str(self._credentials.token)
            except google.auth.exceptions.RefreshError:
                refusal = AuthenticationError("Google gave no token for these credentials")
            except (google.auth.exceptions.GoogleAuthError, ValueError, KeyError, TypeError):
                refusal = ConfigurationError(
                    "the credentials are not the JSON of a service account or an authorised user; "
                    "download them again"
                )
        raise refusal

    def forget(self) -> None:
        """Fetch a new token next time."""
        with self._lock:
            self._credentials = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_secret": self._secret, "_token_url": self._token_url}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(  # type: ignore[misc] # starts afresh on purpose
            state["_secret"], state["_token_url"]
        )


def _credentials(secret: SecretStr, token_url: str | None) -> Any:
    info = orjson.loads(secret.get_secret_value())
    if token_url is not None:
        info["token_uri"] = token_url
    if info["type"] == "service_account":
        account: Any = google.oauth2.service_account.Credentials
        return account.from_service_account_info(info, scopes=[SCOPE])
    if info["type"] != "authorized_user":
        raise ValueError
    user: Any = google.oauth2.credentials.Credentials
    return user(
        None,
        refresh_token=info["refresh_token"],
        token_uri=info.get("token_uri", TOKEN_URL),
        client_id=info["client_id"],
        client_secret=info["client_secret"],
    )


class _Transport:
    """The way google-auth fetches tokens: through the partner client, which retries."""

    def __init__(self, client: PartnerClient) -> None:
        self._client = client

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        **_: Any,
    ) -> _Token:
        answer = self._client.request(
            method,
            url,
            body=body,
            content_type="application/x-www-form-urlencoded",
            headers=headers,
            anonymous=True,
        )
        return _Token(answer.status, answer.headers, answer.body)


class _Token(NamedTuple):
    """An answer as google-auth reads it."""

    status: int
    headers: Mapping[str, str]
    data: bytes
