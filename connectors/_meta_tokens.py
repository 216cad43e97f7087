"""The access token for Meta: as it was set, or the newest one that it was exchanged for.

Meta's pages on tokens: one of 60 days is exchanged for another while it is still good, and stays
good itself until its own end. So nothing is lost where a new one is: it is asked for again.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

from audience_sync.connector import (
    AudienceSyncError,
    PartnerClient,
    TemporaryPartnerError,
)
from connectors._meta_settings import MetaSettings

DAY = 86_400.0  # seconds
LIFE = 60 * DAY  # of a token whose answer names no end
SPARE = 30 * DAY  # a token that ends so soon is exchanged
PAUSE = 3_600.0  # seconds between attempts while the token at hand is good

_log = logging.getLogger("connectors.meta")


@dataclass(frozen=True, repr=False)
class _Token:
    """A token and its end, in seconds since 1970; that of the settings names none."""

    text: str
    ends: float = 0.0

    def fresh(self, now: float) -> bool:
        return now < self.ends - SPARE


class Tokens:
    """Gives the token to send; a copy of this starts with what is kept."""

    _lock: threading.Lock
    _token: _Token | None
    _again: float

    def __init__(self, settings: MetaSettings) -> None:
        self._settings = settings
        self._clear()

    def current(self, client: PartnerClient, *, strict: bool = False) -> str:
        """A token that is good, as far as we know.

        One that cannot be exchanged is used until its end; `strict` raises what stood in the way.
        """
        if self._settings.exchange is None:
            return self._set.text
        with self._lock:
            now = time.time()
            known = self._token
            if known is None or not (known.fresh(now) or (now < self._again and not strict)):
                self._token = self._newest(client, now, strict=strict)
            return (self._token or self._set).text

    def after(self, refused: str, client: PartnerClient) -> str | None:
        """Another token than one that Meta refused: another process may have a newer one."""
        if self._settings.exchange is None:
            return None
        with self._lock:
            with client.kept(self._name) as kept:
                known = _read(kept.value)
                if known is None or known.text == refused:
                    return None  # a token that is over cannot be exchanged any more
            self._token = known
            return known.text

    def _newest(self, client: PartnerClient, now: float, *, strict: bool) -> _Token:
        with client.kept(self._name) as kept:
            known = _read(kept.value) or self._set
            if known.fresh(now):
                return known  # another process was faster
            self._again = now + PAUSE
            try:
                found = self._exchanged(client, known, now)
                kept.keep(json.dumps(asdict(found)))
            except AudienceSyncError as error:
                if strict or 0 < known.ends <= now:
                    raise
                _log.warning("Meta's access token is used until it ends: %s", error)
                return known
            return found

    def _exchanged(self, client: PartnerClient, known: _Token, now: float) -> _Token:
        settings = self._settings
        secret = "" if settings.app_secret is None else settings.app_secret.get_secret_value()
        params = {
            "grant_type": "fb_exchange_token",
            "client_id": settings.app_id or "",
            "client_secret": secret,
            "fb_exchange_token": known.text,
        }
        if settings.exchange == "system-user":
            params |= {"set_token_expires_in_60_days": "true"}
        url = f"{settings.api_version}/oauth/access_token"
        found = client.request("GET", url, params=params, anonymous=True).json()
        text = found.get("access_token") if isinstance(found, dict) else None
        if not isinstance(text, str) or not text:
            raise TemporaryPartnerError("Meta answered without a token; try again")
        life = found.get("expires_in")
        return _Token(text, now + (life if isinstance(life, int | float) and life > 0 else LIFE))

    @property
    def _set(self) -> _Token:
        return _Token(self._settings.access_token.get_secret_value())

    @property
    def _name(self) -> str:
        """What the tokens are kept under; a token that is set anew has another name."""
        seed = f"{self._settings.app_id} {self._set.text}"
        return f"tokens-{sha256(seed.encode()).hexdigest()[:16]}"

    def _clear(self) -> None:
        self._lock = threading.Lock()
        self._token = None
        self._again = 0.0

    def __getstate__(self) -> dict[str, Any]:
        return {"_settings": self._settings}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._settings = state["_settings"]
        self._clear()


def _read(value: str | None) -> _Token | None:
    return None if value is None else _Token(**json.loads(value))
