"""OAuth 2 access tokens from a refresh token that its partner may replace with each renewal.

A replaced refresh token is good for nothing any more, and nobody but the partner can make another.
So each new one is kept, encrypted, before it is used, and one process at a time asks for one.
"""

from __future__ import annotations

import json
import threading
import time
from base64 import b64encode
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Protocol
from urllib.parse import urlencode

from pydantic import SecretStr

from audience_sync.errors import (
    AuthenticationError,
    PartnerError,
    RefusedError,
    TemporaryPartnerError,
)

SPARE = 300.0  # seconds; a token that ends so soon is renewed first
SHORT_LIFE = 1_800  # seconds; the life of a token whose partner names none


class Kept(Protocol):
    """A credential that outlives this process, in the hands of one thread until the block ends."""

    @property
    def value(self) -> str | None:
        """What was kept last; None when nothing was."""
        ...

    def keep(self, value: str) -> None:
        """Keep this from now on; it survives a power cut when this returns."""
        ...


class TokenClient(Protocol):
    """As much of a `PartnerClient` as a renewal needs."""

    def request(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
        anonymous: bool = False,
    ) -> Any:
        """See `PartnerClient.request`."""
        ...

    def kept(self, name: str) -> AbstractContextManager[Kept]:
        """See `PartnerClient.kept`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Grant:
    """What a person granted to an app once, and how the partner is asked to renew it."""

    partner: str  # as messages call it
    url: str  # of the token endpoint, absolute or below the destination's base_url
    client_id: str
    client_secret: SecretStr
    refresh_token: SecretStr  # as it was granted; those that follow are kept
    basic: bool = False  # the app names itself by HTTP Basic and not in the form
    form: Mapping[str, str] = field(default_factory=dict)  # further fields, such as a scope

    @property
    def name(self) -> str:
        """What the tokens of this grant are kept under; another grant has another name."""
        seed = f"{self.client_id} {self.refresh_token.get_secret_value()}"
        return f"tokens-{sha256(seed.encode()).hexdigest()[:16]}"

    @property
    def mark(self) -> str:
        """By which a token tells the secret that it was got with; rests encrypted beside it."""
        seed = f"{self.name} {self.client_secret.get_secret_value()}"
        return sha256(seed.encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True, repr=False)
class _Record:
    """What is kept; `begun` is when a renewal began of which no end is known."""

    refresh_token: str
    access_token: str = ""
    ends: float = 0.0
    begun: float | None = None
    mark: str = ""  # of the secret; records of old have none

    @property
    def written(self) -> str:
        return json.dumps(asdict(self))

    def good(self, now: float) -> bool:
        return bool(self.access_token) and now < self.ends - SPARE


class Tokens:
    """The access token of a grant; a copy of this starts without one and finds what is kept."""

    _lock: threading.Lock
    _record: _Record | None
    _unsaved: _Record | None

    def __init__(self, grant: Grant) -> None:
        self._grant = grant
        self._clear()

    def current(self, client: TokenClient) -> str:
        """A token that is good for some minutes yet; AuthenticationError says what to do."""
        with self._lock:
            if self._record is None or not self._record.good(time.time()):
                self._record = self._renewed(client)
            return self._record.access_token

    def renew(self, client: TokenClient) -> None:
        """Take another token in place of the one that was just refused."""
        with self._lock:
            refused = self._record.access_token if self._record is not None else None
            self._record = self._renewed(client, refused)

    def prove(self, client: TokenClient) -> None:
        """See that the partner takes the app and its secret, while a token is good: for a check.

        No renewal replaces a refresh token for it, since an answer that is lost would lose that;
        unless the secret is another one than the token was got with.
        """
        with self._lock:
            self._record = self._renewed(client, proving=True)

    def _renewed(
        self, client: TokenClient, refused: str | None = None, *, proving: bool = False
    ) -> _Record:
        with client.kept(self._grant.name) as kept:
            known = self._known(kept)
            doubted = proving and self._doubts(known)
            if known.good(time.time()) and known.access_token != refused and not doubted:
                return known  # another process was faster
            # Written first: a full disk is found while the old token is good, and whoever comes
            # after a crash knows that the old one may be used up.
            kept.keep(replace(known, begun=known.begun or time.time()).written)
            found = self._asked(client, known, kept)
            followed = _followed(known, found, self._grant.partner)
            self._unsaved = replace(followed, mark=self._grant.mark)
            return self._saved(kept, self._unsaved)

    def _doubts(self, known: _Record) -> bool:
        granted = self._grant.refresh_token.get_secret_value()
        return known.mark != self._grant.mark or known.refresh_token == granted

    def _known(self, kept: Kept) -> _Record:
        unsaved, self._unsaved = self._unsaved, None
        known = None if kept.value is None else _Record(**json.loads(kept.value))
        ended = known is not None and known.begun is None
        if unsaved is not None and not ended:  # the state could not be written when it came
            self._unsaved = unsaved
            return self._saved(kept, unsaved)
        return known or _Record(refresh_token=self._grant.refresh_token.get_secret_value())

    def _saved(self, kept: Kept, record: _Record) -> _Record:
        kept.keep(record.written)
        self._unsaved = None
        return record

    def _asked(self, client: TokenClient, known: _Record, kept: Kept) -> Any:
        form, headers = self._request(known.refresh_token)
        try:
            return client.request(
                "POST",
                self._grant.url,
                body=urlencode(form).encode(),
                content_type="application/x-www-form-urlencoded",
                headers=headers,
                anonymous=True,
            ).json()
        except (RefusedError, AuthenticationError) as error:
            refusal = self._refusal(error, known.begun)
        kept.keep(known.written)  # nothing was renewed
        raise refusal

    def _request(self, refresh_token: str) -> tuple[dict[str, str], dict[str, str]]:
        grant, secret = self._grant, self._grant.client_secret.get_secret_value()
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token, **grant.form}
        if not grant.basic:
            return form | {"client_id": grant.client_id, "client_secret": secret}, {}
        pair = b64encode(f"{grant.client_id}:{secret}".encode()).decode()
        return form, {"Authorization": f"Basic {pair}"}

    def _refusal(self, error: PartnerError, begun: float | None) -> AuthenticationError:
        partner, remedy = self._grant.partner, "authorise the app again and set its refresh_token"
        if begun is None:
            sentence = (
                f"{partner} gave no token for this app, its secret and refresh token; correct the "
                f"secret, or {remedy}"
            )
        else:
            since = datetime.fromtimestamp(begun, UTC)
            sentence = (
                f"the renewal of {partner}'s refresh token was interrupted on {since:%Y-%m-%d} at "
                f"{since:%H:%M} UTC, and the token before is used up; {remedy}"
            )
        return AuthenticationError(sentence, error.status, error.code)

    def _clear(self) -> None:
        self._lock = threading.Lock()
        self._record = None
        self._unsaved = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_grant": self._grant}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._grant = state["_grant"]
        self._clear()


def _followed(known: _Record, found: Any, partner: str) -> _Record:
    """The tokens of an answer; partners that do not replace the refresh token name none."""
    answer = found if isinstance(found, dict) else {}
    token, life = answer.get("access_token"), answer.get("expires_in")
    if not isinstance(token, str) or not token:
        raise TemporaryPartnerError(f"{partner} answered without a token; try again")
    seconds = life if isinstance(life, int | float) and life > 0 else SHORT_LIFE
    return _Record(
        refresh_token=str(answer.get("refresh_token") or known.refresh_token),
        access_token=token,
        ends=time.time() + seconds,
    )
