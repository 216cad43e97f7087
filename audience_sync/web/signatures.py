"""Who sends a request: an HMAC over time and body, or a whole Authorization header.

The signature is the one that the connector `webhook` sends: `t=<epoch seconds>,v1=<hex>` where v1
is HMAC-SHA256 over the time as it stands there, a dot, and the body byte for byte.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import SecretStr

from audience_sync.web.answers import Refusal

SIGNATURE = "X-Audience-Sync-Signature"
UNAUTHORIZED = 401  # HTTP

_LONGEST = 1_000  # characters of a header
_FORM = re.compile(r"t=([0-9]{1,12})((?:,v1=[0-9a-f]{64}){1,4})")
_UNSIGNED = (
    f"sign the request: {SIGNATURE}: t=<epoch seconds>,v1=<HMAC-SHA256 of time, dot, body in hex>"
)
_FORGED = (
    "the signature is not of this body, time and key; check the key, and sign the bytes that leave"
)
_STRANGER = "the Authorization header is not one that the project file names"


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature header as it was read, not yet verified."""

    time: str
    proofs: tuple[str, ...]

    @classmethod
    def read(cls, header: str | None, now: float, tolerance: float) -> Signature:
        """The header's parts; a Refusal when there is none, or when its time is not now."""
        found = _FORM.fullmatch(header) if header and len(header) <= _LONGEST else None
        if found is None:
            raise Refusal(UNAUTHORIZED, "unsigned", _UNSIGNED)
        if abs(now - int(found[1])) > tolerance:
            raise Refusal(
                UNAUTHORIZED,
                "not-now",
                f"the signature's time is more than {tolerance:.0f} seconds from ours; "
                "set both clocks, and sign each attempt anew",
            )
        return cls(found[1], tuple(part.removeprefix("v1=") for part in found[2].split(",")[1:]))

    def verify(self, keys: Iterable[SecretStr], signed: bytes) -> bytes:
        """What names this very signature, to know it again; a Refusal when no key made it.

        Every key and proof is compared, in constant time, so that nothing shows which was close.
        """
        message = self.time.encode() + b"." + signed
        right = False
        for key in keys:
            wanted = hmac.new(_bytes(key), message, hashlib.sha256).hexdigest()
            for proof in self.proofs:
                right |= hmac.compare_digest(wanted, proof)
        if not right:
            raise Refusal(UNAUTHORIZED, "forged", _FORGED)
        return hashlib.sha256(message).digest()


def verify_authorization(header: str | None, allowed: Sequence[SecretStr]) -> None:
    """A Refusal unless the whole Authorization header is one of these; in constant time."""
    given = hashlib.sha256((header or "").encode("utf-8", "surrogateescape")).digest()
    right = False
    for secret in allowed:
        right |= hmac.compare_digest(hashlib.sha256(_bytes(secret)).digest(), given)
    if not right or not header:
        raise Refusal(UNAUTHORIZED, "forged", _STRANGER)


def _bytes(secret: SecretStr) -> bytes:
    return secret.get_secret_value().encode()
