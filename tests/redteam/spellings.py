"""Every way in which a value could be written down: raw, folded, quoted, encoded, hashed."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import struct
from collections.abc import Iterator
from functools import cache
from urllib.parse import quote, quote_plus

SHORTEST = 8  # bytes; what is shorter would be found by chance
DIGESTS = ("sha256", "sha1", "md5", "sha512")
_HALF = 16  # bytes of a digest that was cut; in hex, 16 characters of it
_DEVICE = re.compile(r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}")


@cache
def spelled(value: str) -> frozenset[bytes]:
    """What to look for when nobody may find the value."""
    found: set[bytes] = set()
    for text in _forms(value):
        found.update(_written(text))
        for name in DIGESTS:
            found.update(_digest(hashlib.new(name, text.encode()).digest()))
    found.update(_binary(value))
    return frozenset(one for one in found if len(one) >= SHORTEST)


def spelled_bytes(value: bytes) -> set[bytes]:
    """The same of a key: as it is, in hex, and in base64 wherever that begins."""
    return {value, value.hex().encode(), *_base64(value)} | set(
        _digest(hashlib.sha256(value).digest())
    )


def _forms(value: str) -> set[str]:
    """As people type it, as partners want it, and what is left of it after any normalising."""
    stripped = value.strip()
    found = {value, stripped, stripped.lower(), stripped.upper(), stripped.casefold()}
    found.add(re.sub(r"\s+", "", stripped))
    local, at, domain = stripped.lower().partition("@")
    if at:
        folded = local.partition("+")[0].replace(".", "")
        found |= {local, f"{folded}@{domain}", f"{local.partition('+')[0]}@{domain}", folded}
        found |= {f"{folded}@gmail.com", f"{local}@gmail.com"}
    digits = re.sub(r"\D", "", stripped)
    if len(digits) >= SHORTEST and re.fullmatch(r"[+\d][\d\s()/-]+", stripped):
        national = digits.removeprefix("46").lstrip("0")
        found |= {digits, national, f"0{national}", f"46{national}", f"+46{national}"}
        found |= {f"0046{national}"}
    if _DEVICE.fullmatch(stripped):
        found |= {stripped.replace("-", "").lower(), stripped.replace("-", "").upper()}
    return {one for one in found if one}


def _written(text: str) -> Iterator[bytes]:
    raw = text.encode()
    yield raw
    yield text.encode("utf-16-le")
    yield text.encode("utf-16-be")
    yield quote(text, safe="").encode()
    yield quote_plus(text).encode()
    yield json.dumps(text)[1:-1].encode()
    yield repr(text)[1:-1].encode()
    yield raw.hex().encode()
    yield from _base64(raw)


def _digest(digest: bytes) -> Iterator[bytes]:
    """Whole or cut, as bytes, in hex and in base64; as text that shows bytes, too."""
    cut = digest[:_HALF]
    yield cut
    yield cut.hex()[:_HALF].encode()
    yield base64.b64encode(digest)[:_HALF]
    yield base64.urlsafe_b64encode(digest)[:_HALF]
    yield repr(cut)[2:-1].encode()


def _base64(raw: bytes) -> Iterator[bytes]:
    """The part that stays the same wherever the value stands in a longer text."""
    for before in range(3):
        whole = base64.b64encode(bytes(before) + raw)
        end = len(whole) - (4 if (before + len(raw)) % 3 else 0)
        kept = whole[4 if before else 0 : end]
        yield kept
        yield kept.translate(bytes.maketrans(b"+/", b"-_"))


def _binary(value: str) -> Iterator[bytes]:
    """A number as computers keep it; a device ID as its sixteen bytes."""
    text = value.strip()
    if re.fullmatch(r"-?\d+\.\d+", text):
        for order in "<>":
            yield struct.pack(f"{order}d", float(text))
    if _DEVICE.fullmatch(text):
        yield bytes.fromhex(text.replace("-", ""))
