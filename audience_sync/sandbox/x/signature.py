"""OAuth 1.0a as X verifies it: HMAC-SHA1 over method, address and parameters, never over JSON."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, unquote

from audience_sync.sandbox.options import X_CREDENTIALS
from audience_sync.sandbox.world import Call
from audience_sync.sandbox.x.errors import unauthorized

LEEWAY = 300  # seconds of difference between two clocks
FORM = "application/x-www-form-urlencoded"

_PAIR = re.compile(r'\s*([a-z_]+)="([^"]*)"\s*')
_NEEDED = {"consumer_key", "nonce", "signature", "signature_method", "timestamp", "token"}


class Signatures:
    """Who may call: whoever signs with the four known secrets, each nonce once."""

    def __init__(self) -> None:
        self._seen: dict[str, float] = {}

    def check(self, call: Call) -> None:
        """Refuse a request that is not signed, signed wrongly, late, or a copy of another."""
        said = _header(call.headers.get("authorization", ""))
        if not said.keys() >= {f"oauth_{name}" for name in _NEEDED}:
            raise unauthorized()
        given = (said["oauth_consumer_key"], said["oauth_token"])
        known = (X_CREDENTIALS["consumer_key"], X_CREDENTIALS["access_token"])
        if given != known or said["oauth_signature_method"] != "HMAC-SHA1":
            raise unauthorized()
        wanted = sign(call.method, f"{call.base}/{call.path}", {**parameters(call), **said})
        if not hmac.compare_digest(wanted.encode(), said["oauth_signature"].encode()):
            raise unauthorized()
        self._spend(said["oauth_nonce"], said["oauth_timestamp"])

    def _spend(self, nonce: str, stamp: str) -> None:
        now = time.time()  # the signer's clock is the real one
        if (
            not stamp.isdigit()
            or abs(now - int(stamp)) > LEEWAY
            or f"{stamp}/{nonce}" in self._seen
        ):
            raise unauthorized()
        if len(self._seen) > 100_000:  # noqa: PLR2004 - no need to remember what is too old anyhow
            oldest = now - 2 * LEEWAY
            self._seen = {one: at for one, at in self._seen.items() if at > oldest}
        self._seen[f"{stamp}/{nonce}"] = now


def parameters(call: Call) -> dict[str, str]:
    """The parameters of a request, from its query and from a form; JSON is none."""
    form = call.body.decode("utf-8", "replace") if _is_form(call) else ""
    return {**call.query, **dict(parse_qsl(form, keep_blank_values=True))}


def sign(method: str, url: str, params: Mapping[str, str]) -> str:
    """The signature with the known secrets."""
    pairs = sorted(
        (_quoted(name), _quoted(value))
        for name, value in params.items()
        if name not in ("oauth_signature", "realm")
    )
    joined = "&".join(f"{name}={value}" for name, value in pairs)
    base = "&".join((method.upper(), _quoted(url), _quoted(joined)))
    secrets = (X_CREDENTIALS["consumer_secret"], X_CREDENTIALS["access_token_secret"])
    key = "&".join(map(_quoted, secrets))
    digest = hmac.new(key.encode(), base.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


def _is_form(call: Call) -> bool:
    return call.headers.get("content-type", "").startswith(FORM)


def _header(text: str) -> dict[str, str]:
    scheme, _, rest = text.partition(" ")
    if scheme != "OAuth":
        return {}
    found = (_PAIR.fullmatch(part) for part in rest.split(","))
    return {pair[1]: unquote(pair[2]) for pair in found if pair is not None}


def _quoted(text: str) -> str:
    return quote(text, safe="~")
