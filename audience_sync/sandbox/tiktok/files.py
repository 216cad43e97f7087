"""Uploaded files: a form with a signature, one kind of hash, one a line, good for some time."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from audience_sync.sandbox.tiktok.errors import (
    EMPTY_FILE,
    FILE_EXPIRED,
    FILE_KIND,
    LARGE_FILE,
    NO_FILE,
    NOT_HASHED,
    SIGNATURE,
    TikTokError,
    only,
    wrong,
)
from audience_sync.sandbox.world import Call, Clock

LARGEST_FILE = 50_000_000  # bytes
FILE_LIFE = 86_400.0  # seconds
HASH_OF_NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
# What one file holds, and the kind that it is shown as.
KINDS = {
    "EMAIL_SHA256": "email",
    "PHONE_SHA256": "phone",
    "IDFA_SHA256": "idfa",
    "IDFA_MD5": "idfa",
    "GAID_SHA256": "gaid",
    "GAID_MD5": "gaid",
    "MAID_SHA256": "maid",
    "MAID_MD5": "maid",
}

_PARTS = ("advertiser_id", "calculate_type", "file_signature", "file", "file_name")
_HEX = b"0123456789abcdef"
_NAME = re.compile(rb'content-disposition:[^\r\n]*?[; ]name="([^"]*)"', re.IGNORECASE)
_BOUNDARY = re.compile(r'boundary="?([^";]+)"?', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class File:
    """A file that arrived whole."""

    advertiser: str
    kind: str  # its calculate_type
    lines: list[str] = field(repr=False)
    at: float


class Files:
    """Every file that was uploaded."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_path: dict[str, File] = {}

    def upload(self, call: Call, advertiser: str) -> str:
        """Take a file; its path, or the refusal of it."""
        parts = form(call)
        only(parts, *_PARTS)
        kind = parts.get("calculate_type", b"").decode("ascii", "replace")
        if kind not in KINDS:
            raise TikTokError(FILE_KIND, "calculate_type is not one of the known types.")
        if "file" not in parts:
            raise TikTokError(NO_FILE, "The file is missing.")
        content = parts["file"]
        if len(content) > LARGEST_FILE:
            raise TikTokError(LARGE_FILE, "The file is larger than 50 MB.")
        signature = hashlib.md5(content, usedforsecurity=False).hexdigest().encode()
        if parts.get("file_signature") != signature:
            raise TikTokError(SIGNATURE, "The file signature does not match the file.")
        path = f"{secrets.token_hex(16)}/members.csv"
        self._by_path[path] = File(advertiser, kind, _lines(content, kind), self._clock.now())
        return path

    def get(self, path: object, advertiser: str) -> File:
        """A file that is still there."""
        found = self._by_path.get(path) if isinstance(path, str) else None
        if found is None or found.advertiser != advertiser:
            raise TikTokError(NO_FILE, "The file does not exist.")
        if self._clock.now() >= found.at + FILE_LIFE:
            raise TikTokError(FILE_EXPIRED, "The uploaded file has expired.")
        return found


def form(call: Call) -> dict[str, bytes]:
    """The parts of a multipart form, to the byte."""
    if "form" in call.memory:
        read: dict[str, bytes] = call.memory["form"]
        return read
    boundary = _BOUNDARY.search(call.headers.get("content-type", ""))
    if not call.headers.get("content-type", "").startswith("multipart/form-data") or not boundary:
        raise wrong("The body must be multipart/form-data.")
    found: dict[str, bytes] = {}
    for section in call.body.split(b"--" + boundary.group(1).encode())[1:-1]:
        head, _, content = section.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        name = _NAME.search(head)
        if name is not None:
            found[name.group(1).decode("ascii", "replace")] = content.removesuffix(b"\r\n")
    call.memory["form"] = found
    return found


def hashes(values: Sequence[object], length: int) -> bool:
    """Whether all values are lower-case hex of this length, and none the hash of nothing."""
    if set(map(type, values)) - {str} or set(map(len, values)) - {length}:  # type: ignore[arg-type] # all are text by then
        return False
    joined = "".join(map(str, values))
    return (
        joined.isascii()
        and not joined.encode().translate(None, _HEX)
        and HASH_OF_NOTHING not in values
    )


def width(kind: str) -> int:
    """The characters of a hash of this kind."""
    return 32 if kind.endswith("_MD5") else 64


def _lines(content: bytes, kind: str) -> list[str]:
    lines = content.decode("utf-8", "replace").removesuffix("\n").split("\n")
    if lines == [""]:
        raise TikTokError(EMPTY_FILE, "The file is empty.")
    if not hashes(lines, width(kind)):
        raise TikTokError(NOT_HASHED, "The file holds lines that are not hashed.")
    return lines
