"""What the partners of a sandbox hold of our lists and orders, read from its `/_control`."""

from __future__ import annotations

import hashlib
import http.client
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import numpy as np
import orjson
from numpy.typing import NDArray

PATIENCE = 60.0  # seconds
WIDTH = 32  # bytes of a SHA-256; raw device IDs are filled up with zeros
DEVICE = "device"  # every kind of device ID; most partners do not tell them apart

# TikTok makes no list from an empty file, so each of those begins with a line that is nobody's.
_NOBODY = {"tiktok": hashlib.sha256(b"audience-sync").digest()}
_DEVICES = ("idfa", "gaid")

Values = NDArray[np.void]


class Place(NamedTuple):
    """One account of a destination, and the lists there that make an audience together."""

    account: str  # empty for the only or the first one
    lists: tuple[str, ...]


def places(partner: str, base_url: str, remote_id: str) -> list[Place]:
    """Where the sandbox keeps what a remote id names."""
    if partner == "webhook":  # a path is an endpoint there, with lists of its own
        endpoint = urlsplit(base_url).path.removeprefix("/webhook/")
        return [Place("", (f"{endpoint}/{remote_id}",))]
    found: dict[str, list[str]] = {}
    for piece in remote_id.split(","):
        kind, _, number = piece.strip().rpartition(":")
        found.setdefault(kind.partition("@")[2], []).append(number)
    return [Place(account, tuple(lists)) for account, lists in found.items()]


def held(sandbox: str, partner: str, lists: Sequence[str]) -> dict[str, Values]:
    """The identifiers on these lists together, by kind, sorted, each once; devices as one kind."""
    found: dict[str, list[Values]] = {}
    for kind, values in _each(sandbox, partner, lists):
        digests = [bytes.fromhex(value.replace("-", "")) for value in values]
        known = [digest for digest in digests if digest != _NOBODY.get(partner)]
        rows = np.frombuffer(b"".join(known), np.uint8).reshape(len(known), -1)
        found.setdefault(kind_of(kind), []).append(comparable(rows))
    return united(found)


def order_lines(sandbox: str, merchant: str) -> list[list[str]]:
    """The lines that count for a merchant: order, article, quantity, amount, currency."""
    return [line.split("|") for _, lines in _each(sandbox, "rakuten", [merchant]) for line in lines]


def kind_of(name: str) -> str:
    """The kind that is compared."""
    return DEVICE if name in _DEVICES else name


def comparable(rows: NDArray[np.uint8]) -> Values:
    """Identifiers as one opaque column."""
    filled = np.pad(rows, ((0, 0), (0, WIDTH - rows.shape[1])))
    return np.ascontiguousarray(filled).view(f"V{WIDTH}").reshape(-1)


def united(found: Mapping[str, Sequence[Values]]) -> dict[str, Values]:
    """Each value of a kind once; kinds without any are left out."""
    merged = {kind: np.unique(np.concatenate(parts)) for kind, parts in found.items()}
    return {kind: values for kind, values in merged.items() if len(values)}


def _each(sandbox: str, partner: str, lists: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    connection = http.client.HTTPConnection(urlsplit(sandbox).netloc, timeout=PATIENCE)
    try:
        for number in lists:
            path = f"/_control/members?partner={partner}&list={quote(number)}"
            connection.request("GET", path)
            told: dict[str, Any] = orjson.loads(connection.getresponse().read())
            yield from ((kind, values) for kind, values in told.get("identifiers", {}).items())
    finally:
        connection.close()
